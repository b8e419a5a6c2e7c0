import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decode } from './decode.js';
import { disassemble } from './disassemble.js';

/** Random bytes, with prefixes, escapes and whole-instruction lengths more often than chance has them. */
const byte = fc.oneof(
  fc.integer({ min: 0, max: 255 }),
  fc.constantFrom(0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x64, 0x48, 0x41, 0x0f, 0x38, 0x3a, 0xc4, 0xc5, 0x90, 0xff, 0xc0),
);
const bytes = fc.array(byte, { minLength: 15, maxLength: 20 }).map((list) => Uint8Array.from(list));
const mode = fc.constantFrom(64 as const, 32 as const);
const options = { numRuns: 20_000 };

describe('the decoder', () => {
  it('takes any bytes, and gives an instruction of 1 to 15 of them that has a text', () => {
    fc.assert(
      fc.property(bytes, mode, (code, m) => {
        const insn = decode(code, 0, code.length, m);
        expect(insn).not.toBe('short');
        if (insn === null || typeof insn === 'string') return;
        expect(insn.length).toBeGreaterThanOrEqual(1);
        expect(insn.length).toBeLessThanOrEqual(15);
        expect(insn.operands.length).toBe(insn.entry.operands.length);
        expect(disassemble(insn, 0n)).not.toMatch(/undefined|NaN/);
      }),
      options,
    );
  });
  it('is prefix-stable: "short" exactly as long as bytes are missing, and never another instruction', () => {
    fc.assert(
      fc.property(bytes, mode, (code, m) => {
        const whole = decode(code, 0, 15, m);
        const length = whole !== null && typeof whole === 'object' ? whole.length : 15;
        let invalid = false;
        for (let end = 0; end < 15; end++) {
          const part = decode(code, 0, end, m);
          if (part === null) invalid = true;
          // An invalid opcode may be known before all of its bytes are there, and stays invalid.
          const short = whole === null ? !invalid : end < length;
          expect(part).toEqual(short ? 'short' : whole);
        }
      }),
      options,
    );
  });
  it('does not look at bytes behind the instruction, nor at where it lies', () => {
    fc.assert(
      fc.property(bytes, mode, fc.nat(5), (code, m, at) => {
        const first = decode(code, 0, 15, m);
        const moved = new Uint8Array(40).fill(0xcc);
        const length = first !== null && typeof first === 'object' ? first.length : 15;
        moved.set(code.subarray(0, length), at);
        expect(decode(moved, at, 40, m)).toEqual(first);
      }),
      options,
    );
  });
  it('calls sixteen bytes too long', () => {
    const prefixes = new Uint8Array(20).fill(0x66);
    expect(decode(prefixes, 0, 20, 64)).toBe('long');
    expect(decode(prefixes, 0, 14, 64)).toBe('short');
    prefixes[14] = 0x90;
    expect(decode(prefixes, 0, 20, 64)).toMatchObject({ mnemonic: 'NOP', length: 15 });
  });
  it('knows SYSCALL in both modes, as AMD has it', () => {
    for (const m of [64, 32] as const) {
      const insn = decode(
        Uint8Array.from({ length: 15 }, (_, i) => [0x0f, 0x05][i] ?? 0x90),
        0,
        15,
        m,
      );
      expect(typeof insn === 'object' && insn !== null && disassemble(insn, 0n)).toMatch(/syscall/i);
    }
  });
});
