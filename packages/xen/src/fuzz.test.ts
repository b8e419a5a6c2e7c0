import { hasSubOps, hypercall } from '@paravane/abi-xen';
import type { PrivilegedInstruction, PrivilegedMnemonic } from '@paravane/engine-api';
import { describe, expect, it } from 'vitest';
import { randomNumbers, seedsFrom } from './testing/fuzz.js';
import { createTestGuest, createTestHypervisor, type TestGuest } from './testing/test-machine.js';

/** Arguments as a hostile kernel would choose them: small, huge, and pointing at its own memory. */
function argument(guest: TestGuest, scratch: bigint, random: (below: number) => number): bigint {
  switch (random(10)) {
    case 0:
      return 0n;
    case 1:
    case 2:
      return BigInt(random(40));
    case 3:
      return BigInt.asUintN(64, -BigInt(random(5000)));
    case 4:
      return BigInt(random(0x7fffffff)) * BigInt(random(0x7fffffff));
    case 5:
      return 0xffff800000000000n + BigInt(random(0x10000));
    case 6:
      return BigInt(guest.vcpu.kernelRoot + random(64)) << (random(2) ? 12n : 0n);
    case 7:
      return 0x7ff0n;
    default:
      return scratch + BigInt(random(4096 - 64));
  }
}

function scramble(guest: TestGuest, scratch: bigint, random: (below: number) => number): void {
  const bytes = new Uint8Array(4096);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < 4096; at += 8) {
    const value = random(2) === 0 ? argument(guest, scratch, random) : BigInt(random(16)) | (BigInt(random(16)) << 32n);
    view.setBigUint64(at, BigInt.asUintN(64, value), true);
  }
  guest.hypervisor.mmu.writeVirtual(guest.core.space, scratch, bytes);
}

/** Makes the arguments such that the call gets past its first checks more often. */
function shape(guest: TestGuest, number: number, scratch: bigint, random: (below: number) => number): void {
  const { regs } = guest.core;
  const pointer = (): bigint => scratch + BigInt(random(500) * 8);
  if (hasSubOps(number)) {
    regs[7] = BigInt(random(34));
    regs[6] = number === hypercall.vcpu_op ? BigInt(random(3)) : pointer();
    regs[2] = number === hypercall.vcpu_op ? pointer() : BigInt(random(3));
  } else if (number === hypercall.mmu_update || number === hypercall.mmuext_op) {
    regs[7] = pointer();
    regs[6] = BigInt(random(6));
    regs[2] = random(2) ? 0n : pointer();
    regs[10] = 0x7ff0n;
  } else if (number === hypercall.update_va_mapping) {
    regs[7] = scratch + BigInt(random(16) * 4096);
    regs[6] = (BigInt(guest.vcpu.kernelRoot + random(64)) << 12n) | BigInt(random(256));
    regs[2] = BigInt(random(8));
  } else {
    regs[7] = pointer();
    regs[6] = BigInt(random(4));
  }
}

describe('hypercalls with arguments from a hostile kernel', () => {
  // Calls that end the domain are ended here by a new one; iret is a way to end it too.
  it.each(seedsFrom(0x2545f491))('never throw, and never touch another domain (seed %i)', (seed) => {
    const random = randomNumbers(seed);
    const on = createTestHypervisor();
    const canary = createTestGuest({ name: 'canary', memoryPages: 1024, maxPages: 1024 }, on);
    const before = on.hypervisor.stateHash(canary.pv.domain);
    let guest = createTestGuest({ memoryPages: 1024, maxPages: 1100, vcpus: 2 }, on);
    let scratch = guest.page().address;
    const free = new Set([on.hypervisor.mmu.frames.freeCount]);
    for (let turn = 0; turn < 60_000; turn++) {
      if (turn % 16 === 0) scramble(guest, scratch, random);
      const number = random(64);
      const { core } = guest;
      core.regs[0] = BigInt(number);
      for (const register of [7, 6, 2, 10, 8, 9]) core.regs[register] = argument(guest, scratch, random);
      if (random(4) !== 0) shape(guest, number, scratch, random);
      guest.exit({ reason: 'syscall' });
      const { hv } = guest.vcpu;
      if (hv.state === 'blocked') hv.wake();
      const broken = guest.pv.domain.state !== 'running' || hv.state !== 'runnable' || !guest.vcpu.guestKernel;
      if (broken || on.hypervisor.mmu.translate(core.space, scratch, 'write') === null) {
        guest.pv.destroy();
        guest = createTestGuest({ memoryPages: 1024, maxPages: 1100, vcpus: 2 }, on);
        scratch = guest.page().address;
        free.add(on.hypervisor.mmu.frames.freeCount);
      }
    }
    // Each domain gave back all that it had.
    expect(free.size).toBe(1);
    expect(on.hypervisor.stateHash(canary.pv.domain)).toBe(before);
  });
});

const MNEMONICS: readonly PrivilegedMnemonic[] = [
  'IN',
  'OUT',
  'INS',
  'OUTS',
  'CLI',
  'STI',
  'CLTS',
  'HLT',
  'WBINVD',
  'INVLPG',
  'LMSW',
  'MOV_FROM_CR',
  'MOV_TO_CR',
  'MOV_FROM_DR',
  'MOV_TO_DR',
  'RDMSR',
  'WRMSR',
  'RDPMC',
  'XSETBV',
  'SYSRET',
  'IRET',
  'SWAPGS',
  'LGDT',
  'LTR',
  'FAR_TRANSFER',
  'LOAD_SEGMENT',
  'VMCALL',
];

describe('stops of a hostile guest', () => {
  it.each(seedsFrom(0x1234567))('never throw, whatever the guest was about to do (seed %i)', (seed) => {
    const random = randomNumbers(seed);
    const on = createTestHypervisor();
    let guest: TestGuest | null = null;
    let scratch = 0n;
    let made = 0;
    for (let turn = 0; turn < 40_000; turn++) {
      if (guest === null || guest.pv.domain.state !== 'running') {
        guest?.pv.destroy();
        guest = createTestGuest({ memoryPages: 1024 }, on);
        scratch = guest.page().address;
        made++;
        const table = guest.put(
          ...[3n, 6n, 13n, 14n, 0x80n].flatMap((vector) => [vector | 0x300n | (0xe033n << 16n), 0xffffffff80001000n]),
          0,
          0,
        );
        guest.call(hypercall.set_trap_table, table);
        guest.call(hypercall.set_callbacks, 0xffffffff80001000n, 0, 0xffffffff80001000n);
        guest.vcpu.userRoot = guest.vcpu.kernelRoot;
        on.hypervisor.mmu.frames.getRef(guest.vcpu.userRoot, guest.pv.domain.id);
        on.hypervisor.mmu.frames.typeCount[guest.vcpu.userRoot]++;
      }
      const { core, vcpu } = guest;
      if (turn % 16 === 0) scramble(guest, scratch, random);
      for (let register = 0; register < 16; register++) core.regs[register] = argument(guest, scratch, random);
      core.rip = argument(guest, scratch, random);
      core.regs[4] = scratch + BigInt(random(4096));
      vcpu.kernelSp = scratch + BigInt(random(4096));
      core.mode = random(8) === 0 ? 32 : 64;
      const instruction: PrivilegedInstruction = {
        mnemonic: MNEMONICS[random(MNEMONICS.length)],
        length: 1 + random(15),
        width: 8 << random(4),
        register: random(16),
        gpr: random(16),
        immediate: random(2) === 0,
        rep: random(2) === 0,
        selector: random(0x10000),
        offset: argument(guest, scratch, random),
      };
      const reasons = ['exception', 'interrupt', 'privileged', 'privileged', 'cpuid', 'syscall', 'halt'] as const;
      guest.exit({
        reason: reasons[random(reasons.length)],
        vector: random(4) === 0 ? random(256) : [3, 6, 7, 13, 14][random(5)],
        errorCode: random(32) - 1,
        address: argument(guest, scratch, random),
        length: 1 + random(3),
        instruction: random(50) === 0 ? null : instruction,
      });
      if (vcpu.hv.state === 'blocked') vcpu.hv.wake();
      if (guest.pv.domain.state === 'running') guest.personality.beforeRun(vcpu.hv);
    }
    expect(made).toBeGreaterThan(1);
  });
});
