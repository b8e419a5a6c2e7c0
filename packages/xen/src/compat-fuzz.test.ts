/** A 32-bit guest that means harm: nothing throws, the books balance, and a guest beside it keeps what it has. */
import { hypercall, MMUEXT } from '@paravane/abi-xen';
import { type ExitReason, Flag } from '@paravane/engine-api';
import type { Mfn } from '@paravane/types';
import { describe, expect, it } from 'vitest';
import { audit } from './mm/test-domain.js';
import { COMPAT_BASE, compatImage } from './testing/compat-image.js';
import { randomNumbers, seedsFrom } from './testing/fuzz.js';
import { createTestGuest, createTestHypervisor, type TestGuest } from './testing/test-machine.js';

const ARGUMENTS = [3, 1, 2, 6, 7, 5] as const;
const setup = { image: compatImage(), memoryPages: 1024, maxPages: 1100 };

function createWorld(): { on: ReturnType<typeof createTestHypervisor>; canaryOk: () => boolean } {
  const on = createTestHypervisor();
  const canary = createTestGuest({ name: 'canary', memoryPages: 1024, maxPages: 1024 }, on);
  const before = on.hypervisor.stateHash(canary.pv.domain);
  return { on, canaryOk: () => on.hypervisor.stateHash(canary.pv.domain) === before };
}

describe('tables of a hostile 32-bit kernel', () => {
  it.each(seedsFrom(0x6b8b4567))('keep the books, whatever it asks for (seed %i)', (seed) => {
    const random = randomNumbers(seed);
    const { on, canaryOk } = createWorld();
    const { mmu } = on.hypervisor;
    let guest = createTestGuest(setup, on);
    let pages: { address: bigint; frame: number }[] = [];
    let scratch = 0n;
    const renew = (): void => {
      guest = createTestGuest(setup, on);
      scratch = guest.page().address;
      pages = Array.from({ length: 40 }, () => guest.page());
      // Half of them are mapped nowhere, so that they can become tables.
      for (const { address } of pages.slice(20)) guest.call(hypercall.update_va_mapping, address, 0, 0, 2);
    };
    renew();
    const someFrame = (): number =>
      random(3) ? pages[random(40)].frame : random(4) ? guest.vcpu.kernelRoot + random(12) : random(4096);
    const entry = (): bigint => {
      const flags = [1, 3, 5, 7, 0x61, 0x67, 0, 0x81, 0x107, 0xe01][random(10)];
      const high = random(8) ? 0n : (1n << 63n) | (BigInt(random(16)) << 52n);
      return high | (BigInt(someFrame()) << 12n) | BigInt(flags);
    };
    const put = (...values: bigint[]): bigint => {
      const bytes = new Uint8Array(BigUint64Array.from(values).buffer);
      return mmu.writeVirtual(guest.core.space, scratch, bytes) ? scratch : 0n;
    };
    const put32 = (...values: number[]): bigint => {
      const bytes = new Uint8Array(Uint32Array.from(values).buffer);
      return mmu.writeVirtual(guest.core.space, scratch, bytes) ? scratch : 0n;
    };
    const slot = (): number => [0, 1, 2, 3, 4, 427, 428, 511, random(512)][random(9)];
    const faults: string[] = [];
    for (let turn = 0; turn < 12_000; turn++) {
      switch (random(8)) {
        case 0:
        case 1:
        case 2: {
          const at = BigInt(someFrame() * 4096 + slot() * 8 + random(3));
          guest.call(hypercall.mmu_update, put(at, entry(), at + 8n, entry()), 1 + random(2), 0, 0x7ff0);
          break;
        }
        case 3: {
          const value = entry();
          const va = random(2) ? pages[random(40)].address : COMPAT_BASE + BigInt(random(1024) * 4096);
          guest.call(hypercall.update_va_mapping, va, value & 0xffffffffn, value >> 32n, random(8));
          break;
        }
        case 4:
        case 5: {
          const command = random(3) ? random(5) : [MMUEXT.NEW_BASEPTR, MMUEXT.SET_LDT, 16, 17][random(4)];
          const argument = command === MMUEXT.SET_LDT ? Number(pages[random(40)].address) : someFrame();
          guest.call(hypercall.mmuext_op, put32(command, argument, random(64)), 1, 0, 0x7ff0);
          break;
        }
        case 6:
          guest.call(hypercall.set_gdt, put32(someFrame(), someFrame()), random(1024));
          break;
        default: {
          // A table in the making, written while it is none.
          const { frame } = pages[20 + random(20)];
          if (mmu.frames.typeCount[frame] === 0) {
            const bytes = new Uint8Array(BigUint64Array.from([entry(), entry(), entry(), entry()]).buffer);
            mmu.write(frame as Mfn, slot() & 508 ? 427 * 8 : 0, bytes);
            // Now and then one that may well be an L3.
            const last = pages[20 + random(20)].frame;
            if (random(2) && mmu.frames.typeCount[last] === 0) {
              mmu.clear(frame as Mfn);
              mmu.clear(last as Mfn);
              mmu.write(frame as Mfn, 24, new Uint8Array(Uint32Array.of((last << 12) | 1, 0).buffer));
              if (random(2)) mmu.write(last as Mfn, slot() * 8, new Uint8Array(BigUint64Array.of(entry()).buffer));
              guest.call(hypercall.mmuext_op, put32(MMUEXT.PIN_L3_TABLE, frame, 0), 1, 0, 0x7ff0);
              if (random(8) === 0) guest.call(hypercall.mmuext_op, put32(MMUEXT.NEW_BASEPTR, frame, 0), 1, 0, 0x7ff0);
            }
          }
        }
      }
      const lost = guest.pv.domain.state !== 'running' || mmu.translate(guest.core.space, scratch, 'write') === null;
      if (turn % 150 === 149 || lost) faults.push(...audit(guest.personality.machine));
      if (lost || turn % 300 === 299) {
        guest.pv.destroy();
        renew();
      }
    }
    expect(faults).toEqual([]);
    expect(canaryOk()).toBe(true);
  });
});

describe('a hostile 32-bit guest', () => {
  it.each(seedsFrom(0x1f123bb5))('makes nothing throw by its calls and stops (seed %i)', (seed) => {
    const random = randomNumbers(seed);
    const { on, canaryOk } = createWorld();
    const { mmu } = on.hypervisor;
    let guest: TestGuest | null = null;
    let scratch = 0n;
    const value = (): number =>
      [0, random(40), -random(5000) >>> 0, 0xf5800000 + random(4096), 0x7ff0, Number(scratch) + random(4000)][
        random(6)
      ];
    const selector = (): number => [0xe019, 0xe021, 0xe02b, 0xe033, 8 + random(64), random(0x10000)][random(6)];
    for (let turn = 0; turn < 40_000; turn++) {
      if (guest === null || guest.pv.domain.state !== 'running') {
        guest?.pv.destroy();
        guest = createTestGuest({ ...setup, vcpus: 2 }, on);
        scratch = guest.page().address;
        const traps = [3, 6, 13, 14, 0x80].flatMap((vector) => [vector | 0x300 | (0xe019 << 16), 0xc0001000]);
        mmu.writeVirtual(guest.core.space, scratch, new Uint8Array(Uint32Array.from([...traps, 0, 0]).buffer));
        guest.call(hypercall.set_trap_table, scratch);
        guest.call(hypercall.set_callbacks, 0xe019, 0xc0001000, 0xe019, 0xc0001000);
        guest.call(hypercall.stack_switch, 0xe021, scratch + 4096n);
      }
      const { core, vcpu } = guest;
      if (turn % 8 === 0) {
        const bytes = Uint32Array.from({ length: 1024 }, () => (random(3) ? value() : selector()));
        mmu.writeVirtual(core.space, scratch, new Uint8Array(bytes.buffer));
      }
      for (const register of ARGUMENTS) core.regs[register] = BigInt(value());
      if (random(2)) core.regs[1] = scratch + BigInt(random(900) * 4);
      core.regs[4] = scratch + BigInt(random(4096));
      core.rip = random(4) ? COMPAT_BASE : BigInt(value());
      core.regs[0] = BigInt(random(66));
      core.rflags = 0x202 | (random(4) === 0 ? Flag.NT : 0);
      const reasons: ExitReason[] = [
        'interrupt',
        'interrupt',
        'interrupt',
        'exception',
        'privileged',
        'cpuid',
        'syscall',
      ];
      guest.exit({
        reason: reasons[random(reasons.length)],
        vector: [0x82, 0x82, 0x80, 3, 14, random(256)][random(6)],
        errorCode: random(32) - 1,
        address: BigInt(value()),
        length: 2,
        instruction: {
          mnemonic: (['IRET', 'FAR_TRANSFER', 'LOAD_SEGMENT', 'IN', 'MOV_TO_CR', 'WRMSR'] as const)[random(6)],
          length: 1 + random(7),
          width: [16, 32][random(2)],
          register: random(6),
          gpr: random(8),
          immediate: random(2) === 0,
          rep: random(2) === 0,
          selector: selector(),
          offset: BigInt(value()),
        },
      });
      if (vcpu.hv.state === 'blocked') vcpu.hv.wake();
      if (guest.pv.domain.state === 'running') guest.personality.beforeRun(vcpu.hv);
      if (vcpu.hv.state !== 'runnable') guest.pv.destroy();
      if (vcpu.hv.state !== 'runnable') guest = null;
    }
    expect(canaryOk()).toBe(true);
  });
});
