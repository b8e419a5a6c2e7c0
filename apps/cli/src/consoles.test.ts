import { describe, expect, it } from 'vitest';
import { switched } from './consoles.js';

const escape = 0x1d;
const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');

function start() {
  let shown = '';
  const typed: string[] = [];
  let left = 0;
  const face = switched(['one', 'two'], (piece) => (shown += Buffer.from(piece).toString('latin1')), escape);
  return {
    face,
    typed,
    type: (text: string) =>
      face.input(
        bytes(text),
        (guest, piece) => typed.push(`${guest}:${Buffer.from(piece).toString('latin1')}`),
        () => left++,
        () => 'a: 1\nb: 2\n',
      ),
    left: () => left,
    shown() {
      const before = shown;
      shown = '';
      return before;
    },
  };
}

describe('a terminal with several consoles', () => {
  it('shows one guest, and keeps what the others write', () => {
    const { face, type, shown } = start();
    face.output(0, bytes('a'));
    face.output(1, bytes('b'));
    expect(shown()).toBe('a');
    type('\x1d2');
    expect(shown()).toBe('\r\n[2 two]\r\nb');
    face.output(0, bytes('later'));
    face.output(1, bytes('c'));
    expect(shown()).toBe('c');
    type('\x1dn');
    expect(shown()).toBe('\r\n[1 one]\r\nlater');
  });

  it('keeps the latest of a long output', () => {
    const { face, type, shown } = start();
    for (let at = 0; at < 100; at++) face.output(1, bytes('x'.repeat(1000) + at));
    type('\x1dn');
    const all = shown();
    expect([all.length < 66_000, all.endsWith('x99')]).toEqual([true, true]);
  });

  it('types at the guest that is shown', () => {
    const { type, typed } = start();
    type('ab\x1d2cd');
    type('\x1d');
    type('1e');
    expect(typed).toEqual(['0:ab', '1:cd', '0:e']);
  });

  it('shows figures at s', () => {
    const { type, typed, shown } = start();
    type('x\x1dsy');
    expect([shown(), typed]).toEqual(['\r\na: 1\r\nb: 2\r\n', ['0:x', '0:y']]);
  });

  it('leaves at q and at the escape key twice, and lists the guests at other keys', () => {
    const { type, typed, left, shown } = start();
    type('\x1d?');
    expect(shown()).toContain('1 one, 2 two; n: the next, s: figures, q: end all');
    type('\x1dq');
    type('\x1d\x1d');
    expect([left(), typed]).toEqual([2, []]);
  });
});
