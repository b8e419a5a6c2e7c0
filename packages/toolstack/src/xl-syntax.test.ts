import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseNumber, parseXlConfig, type Value } from './xl-syntax.js';

const plain = (value: Value): unknown => (value.kind === 'list' ? value.items.map(plain) : value.text);

function valuesOf(text: string): Record<string, unknown> {
  const { settings, diagnostics } = parseXlConfig(text);
  expect(diagnostics).toEqual([]);
  return Object.fromEntries([...settings.values()].map(({ key, value }) => [key, plain(value)]));
}

const complaintsOf = (text: string): string[] =>
  parseXlConfig(text).diagnostics.map(({ line, column, message }) => `${line}:${column}: ${message}`);

describe('parseXlConfig', () => {
  it('reads strings in both quotes, numbers and comments, separated by newlines or semicolons', () => {
    expect(
      valuesOf(`# a guest
name = "h0"; type='pv'   # the old line
memory=0x40
vcpus = 2;;
extra = "a # b 'c'"`),
    ).toEqual({ name: 'h0', type: 'pv', memory: '0x40', vcpus: '2', extra: "a # b 'c'" });
  });

  it('reads lists that nest, span lines, hold comments and end in a comma', () => {
    expect(
      valuesOf(`disk = [ 'phy:/dev/vg/a,xvda,w', # first
  "file:/b,xvdb,r",
]
vnuma = [ [ "pnode=0", "size=1" ], [], [ [ 3 ] ] ]
vif = []`),
    ).toEqual({
      disk: ['phy:/dev/vg/a,xvda,w', 'file:/b,xvdb,r'],
      vnuma: [['pnode=0', 'size=1'], [], [['3']]],
      vif: [],
    });
  });

  it('reads the escapes of C in strings', () => {
    expect(valuesOf(String.raw`a = "q\"\'\\ \n\t\x41\101"`)).toEqual({ a: 'q"\'\\ \n\tAA' });
  });

  it('lets a later assignment win, and joins with +=', () => {
    expect(valuesOf('a = 1\na = 2\nextra = "x"\nextra += " y"\ndisk = ["d"]\ndisk += ["e"]\nnew += "z"')).toEqual({
      a: '2',
      extra: 'x y',
      disk: ['d', 'e'],
      new: 'z',
    });
  });

  it('takes the line ends of other systems', () => {
    expect(valuesOf('\uFEFFname = "a"\r\nmemory = 64\r\n')).toEqual({ name: 'a', memory: '64' });
  });

  it.each([
    ['name', '1:5: expected "=" after "name", found the end of the file'],
    ['name = \n', '1:8: expected a string, a number or a list, found the end of the line'],
    ['= 3', '1:1: expected a key, found "="'],
    ['\n  name = pv', '2:10: put quotes around the text: "pv"'],
    ['memory = 12MB', '1:10: "12MB" is not a number; text needs quotes around it'],
    ['memory = 09', '1:10: "09" is not a number; text needs quotes around it'],
    ['name = "a', '1:8: this string has no closing "'],
    ["name = 'a\n'", "1:8: this string has no closing '"],
    ['name = "a\\q"', '1:10: unknown escape "\\q" in a string; write "\\\\" for a backslash'],
    ['name = "a\\\n', '1:10: a string has to end on its line; join strings by +='],
    ['\u{1f600} = 1', '1:1: expected a key, found "\u{1f600}"'],
    ['name = "a" "b"', '1:12: expected a new line or ";" after the value of "name", found """'],
    ['disk = [ "a"\n', '1:8: this list has no closing "]"'],
    ['disk = [ "a" "b" ]', '1:14: expected "," or "]" in the list, found """'],
    ['a = 1\na += [2]', '2:1: "+=" cannot join a list and a single value: "a" was set on line 1'],
    [`a = ${'['.repeat(100)}`, '1:69: lists are nested more than 64 deep'],
  ])('says where and what is wrong in %j', (text, complaint) => {
    expect(complaintsOf(text)[0]).toBe(complaint);
  });

  it('complains once of a file that is not text', () => {
    expect(complaintsOf('\x7fELF\x02\x01\0\0\n\0\n')).toEqual([
      '1:1: this is not text, so no configuration; a kernel is named in one (kernel = "FILE") or by --kernel',
    ]);
  });

  it('ends after twenty mistakes, and says so', () => {
    const complaints = complaintsOf('?\n'.repeat(1000));
    expect(complaints).toHaveLength(21);
    expect(complaints[20]).toBe('21:1: there are more than 20 mistakes; nothing is read from here on');
  });

  it('goes on after a mistake, so that one reading finds all', () => {
    const { settings, diagnostics } = parseXlConfig('name = pv\nmemory = 64\nvcpus == 2\n');
    expect(diagnostics.map(({ line }) => line)).toEqual([1, 3]);
    expect(settings.get('memory')?.value).toMatchObject({ text: '64', at: { line: 2, column: 10 } });
  });

  it('never throws, and places every complaint inside the text', () => {
    const scrap = fc.constantFrom(
      'a',
      'key',
      ' ',
      '=',
      '+=',
      '"',
      "'",
      '[',
      ']',
      ',',
      ';',
      '\n',
      '#',
      '\\',
      '0x1',
      '9',
      '\u00e9',
    );
    fc.assert(
      fc.property(
        fc.array(scrap).map((parts) => parts.join('')),
        (text) => {
          const lines = text.split('\n');
          for (const { line, column } of parseXlConfig(text).diagnostics) {
            expect(line).toBeLessThanOrEqual(lines.length);
            expect(column).toBeLessThanOrEqual((lines[line - 1] ?? '').length + 1);
          }
        },
      ),
    );
  });

  it('reads back every value that is written in its syntax', () => {
    const quoted = fc.string().map((text) => text.replace(/[^\x20-\x7e]/g, '?'));
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof({ maxDepth: 4 }, quoted, fc.array(tie('value'), { maxLength: 4 })),
    }));
    const write = (item: unknown): string =>
      Array.isArray(item) ? `[ ${item.map(write).join(',\n ')} ]` : `"${String(item).replace(/["\\]/g, '\\$&')}"`;
    fc.assert(
      fc.property(fc.dictionary(fc.stringMatching(/^[a-z][a-z0-9_]{0,8}$/), value), (settings) => {
        const text = Object.entries(settings).map(([key, item]) => `${key} = ${write(item)}`);
        expect(valuesOf(text.join('\n'))).toEqual({ ...settings });
        expect(valuesOf(text.join(';'))).toEqual({ ...settings });
      }),
    );
  });
});

describe('parseNumber', () => {
  it('reads decimal, octal and hexadecimal, and nothing else', () => {
    expect(['10', '010', '0x10', '0', '08', '1a', '', '-1'].map(parseNumber)).toEqual([
      10,
      8,
      16,
      0,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
});
