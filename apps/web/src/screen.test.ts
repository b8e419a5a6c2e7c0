import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytesOfKey } from './keys.js';
import { COLUMNS, createScreen, ROWS } from './screen.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function shown(...texts: string[]): { text: string; line: number; column: number; answers: string } {
  let answers = '';
  const screen = createScreen((answer) => {
    answers += new TextDecoder().decode(answer);
  });
  for (const text of texts) screen.write(bytes(text));
  return { text: screen.text(), ...screen.position(), answers };
}

describe('the screen', () => {
  it('writes over what is there, and goes back, on and down', () => {
    expect(shown('abc\rX\nY')).toMatchObject({ text: 'Xbc\n Y', line: 1, column: 2 });
    expect(shown('abc\b\bZ')).toMatchObject({ text: 'aZc', column: 2 });
    expect(shown('a\tb')).toMatchObject({ text: 'a       b' });
  });

  it('breaks lines at its width', () => {
    expect(shown('x'.repeat(COLUMNS), 'y').text).toBe(`${'x'.repeat(COLUMNS)}\ny`);
  });

  it('edits lines as a shell asks it to', () => {
    expect(shown('# helo\b\x1b[Plo\x1b[K').text).toBe('# hello');
    expect(shown('abcdef\x1b[3D\x1b[K').text).toBe('abc');
    expect(shown('abc\x1b[2Gx\x1b[1K').text).toBe('  c');
    expect(shown('one\r\ntwo\x1b[A\rX').text).toBe('Xne\ntwo');
  });

  it('reads over colours, titles of character sets and what it does not know', () => {
    expect(shown('\x1b[1;31mred\x1b[0m \x1b(Bplain\x1b[?25l\x1b=\x1bM!').text).toBe('red plain!');
  });

  it('says where its cursor is, counted from the top of the screen', () => {
    expect(shown('ab\x1b[6n').answers).toBe('\x1b[1;3R');
    expect(shown('\n'.repeat(100), '\x1b[6n').answers).toBe(`\x1b[${ROWS};1R`);
  });

  it('takes characters and sequences in pieces', () => {
    const screen = createScreen(() => undefined);
    for (const byte of bytes('é\x1b[31mü\x1b[2Gx')) screen.write(Uint8Array.of(byte));
    expect(screen.text()).toBe('éx');
  });

  it('clears', () => {
    expect(shown('one\ntwo\x1b[2J\x1b[Hthree').text).toBe('three\n');
    expect(shown('one\ntwo\x1b[H\x1b[J').text).toBe('');
  });

  it('takes anything, keeps a bounded history and its cursor on a line', () => {
    const piece = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('\x1b[', '\n', '\x1b[999;999H', '\x1b[99P', '\x1b[J', '\x1b[1J', '\r', '\b', '\x1b[9A', '\t'),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const { text, line, column } = shown(...pieces);
        const lines = text.split('\n');
        expect(line).toBeGreaterThanOrEqual(0);
        expect(line).toBeLessThan(lines.length);
        expect(column).toBeGreaterThanOrEqual(0);
        expect(column).toBeLessThanOrEqual(COLUMNS);
      }),
    );
    expect(shown('line\n'.repeat(5000)).text.split('\n').length).toBeLessThan(2100);
  });
});

describe('a key', () => {
  const key = (name: string, more = {}): string | null => {
    const sent = bytesOfKey({ key: name, ctrlKey: false, altKey: false, metaKey: false, ...more });
    return sent === null ? null : new TextDecoder().decode(sent);
  };
  it('sends what xterm sends', () => {
    expect([key('a'), key('é'), key('Enter'), key('Backspace'), key('ArrowUp')]).toEqual([
      'a',
      'é',
      '\r',
      '\x7f',
      '\x1b[A',
    ]);
    expect([key('c', { ctrlKey: true }), key(']', { ctrlKey: true }), key('b', { altKey: true })]).toEqual([
      '\x03',
      '\x1d',
      '\x1bb',
    ]);
  });
  it('of the browser or of no character sends nothing', () => {
    expect([key('Shift'), key('F5'), key('c', { metaKey: true }), key('+', { ctrlKey: true })]).toEqual([
      null,
      null,
      null,
      null,
    ]);
  });
});
