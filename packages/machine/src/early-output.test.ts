import { expect, it } from 'vitest';
import { createEarlyOutput } from './early-output.js';

const text = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
const bytes = (value: string): Uint8Array => Uint8Array.from(value, (character) => character.charCodeAt(0));

it('is shown while the console ring is unused, the last piece at the end', () => {
  const page = new Uint8Array(4096);
  let shown = '';
  const early = createEarlyOutput(
    () => page,
    (piece) => {
      shown += text(piece);
    },
  );
  early.write(bytes('a'));
  expect(shown).toBe('');
  early.write(bytes('b'));
  expect(shown).toBe('a');
  early.end();
  expect(shown).toBe('ab');
});

it('is not shown by a guest that writes the same to its ring', () => {
  const page = new Uint8Array(4096);
  let shown = '';
  const early = createEarlyOutput(
    () => page,
    (piece) => {
      shown += text(piece);
    },
  );
  early.write(bytes('line 1'));
  page[0xc0c] = 6;
  early.write(bytes('line 2'));
  early.end();
  expect(shown).toBe('');
});
