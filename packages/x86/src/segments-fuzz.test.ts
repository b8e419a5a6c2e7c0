/** Random code with random segments, TF and breakpoints: nothing that a guest sets up makes the core throw or stand still. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { CODE, createCore, DATA } from './testing/core.js';

const core = createCore();
const vcpu = core.createVcpu();

const base = fc.oneof(
  fc.constantFrom(0n, CODE, DATA, DATA - 0xf000n, 0xfffff000n),
  fc.bigInt({ min: 0n, max: 0xffffffffn }),
);
const limit = fc.oneof(fc.constantFrom(0, 0xff, 0xfff, 0x1fff, 0xffff, 0xffffffff), fc.nat(0xffffffff));
const segment = fc.record({
  base,
  limit,
  rights: fc.constantFrom(0, 0xf1, 0xf3, 0xf5, 0xf7, 0xf9, 0xfb, 0x40f3, 0x40f7, 0xc0f3, 0x40fb),
});
const register = fc.oneof(
  fc.constantFrom(0n, 1n, CODE, DATA, DATA + 0xffcn, 0xffffn, 0xffffffffn, 1n << 63n),
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
);
const setup = fc.record({
  code: fc.uint8Array({ minLength: 64, maxLength: 64 }),
  segments: fc.array(segment, { minLength: 6, maxLength: 6 }),
  registers: fc.array(register, { minLength: 16, maxLength: 16 }),
  mode: fc.constantFrom(32 as const, 32 as const, 64 as const),
  rip: fc.oneof(fc.constantFrom(0n, CODE), fc.bigInt({ min: 0n, max: 0xffffffffn })),
  flags: fc.constantFrom(2, 0x102, 0x402, 0x10102, 0xad7),
  dr7: fc.oneof(fc.constantFrom(0n, 0x1n, 0xf0003n, 0x30303ffn), fc.bigInt({ min: 0n, max: 0xffffffffn })),
  breakpoints: fc.array(fc.constantFrom(CODE, CODE + 3n, DATA, DATA + 8n, 0n, (1n << 64n) - 1n), {
    minLength: 4,
    maxLength: 4,
  }),
});

it('random code in random segments', () => {
  fc.assert(
    fc.property(setup, ({ code, segments, registers, mode, rip, flags, dr7, breakpoints }) => {
      core.writeCode(code);
      segments.forEach((one, i) => vcpu.setSegment(i, i * 8 + 7, one));
      if (rip === CODE) vcpu.setSegment(1, 0xf, { base: 0n, limit: 0xffffffff, rights: 0x40fb });
      vcpu.mode = mode;
      vcpu.regs.set(registers);
      vcpu.rip = rip;
      vcpu.rflags = flags;
      breakpoints.forEach((address, i) => void (vcpu.debug[i] = address));
      vcpu.debug[7] = dr7;
      for (let turn = 0; turn < 12; turn++) {
        const before = vcpu.count;
        const { reason, instruction } = vcpu.run(5);
        expect(vcpu.count - before).toBeGreaterThan(0);
        expect(vcpu.count - before).toBeLessThanOrEqual(5);
        if (reason === 'privileged') vcpu.rip = BigInt.asUintN(vcpu.mode, vcpu.rip + BigInt(instruction!.length));
        vcpu.debugTrap(turn % 3 === 0);
        expect(vcpu.rip >> BigInt(vcpu.mode)).toBe(0n);
      }
    }),
    { numRuns: 3000 },
  );
});
