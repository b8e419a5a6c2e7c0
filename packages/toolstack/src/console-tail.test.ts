import { expect, it } from 'vitest';
import { createConsoleTail } from './console-tail.js';

it('keeps the last lines, without escape sequences', () => {
  const tail = createConsoleTail(2);
  for (const text of ['one\r\ntwo\r\n', '\x1b[30;47mth', 'ree\x1b[H\n', '/ # '])
    tail.add(new TextEncoder().encode(text));
  expect(tail.lines()).toEqual(['three', '/ # ']);
});

it('bounds what a guest that never ends its line can make it keep', () => {
  const tail = createConsoleTail(2, 10);
  tail.add(new Uint8Array(100).fill(65));
  expect(tail.lines()).toEqual(['A'.repeat(10)]);
});
