/** Faults of the stack that IRET and far transfers of a 64-bit program meet (Intel SDM vol. 2). */
import { hypercall, MMUEXT } from '@paravane/abi-xen';
import { Flag, Gpr } from '@paravane/engine-api';
import { createMmu } from '@paravane/mmu';
import { CORE_BYTES, CORE_FEATURES, createX86Engine } from '@paravane/x86';
import { beforeAll, describe, expect, it } from 'vitest';
import { createTestGuest, createTestHypervisor, type TestGuest } from '../testing/test-machine.js';

const [SS, GP, PF, AC] = [12, 13, 14, 17] as const;
const READ = 4;
const WRITE = 6;
const IRETD = [0xcf];
const IRETQ = [0x48, 0xcf];
const RETF = [0xcb];
const RETFQ = [0x48, 0xcb];
/** Through the pointer behind it. */
const CALL_FAR = [0xff, 0x1d, 0, 0, 0, 0];

let guest: TestGuest;
let code: bigint;
let handlers: bigint;
let kernelStack: bigint;
/** A page with none behind it, and one with none before it. */
let [low, high] = [0n, 0n];

beforeAll(() => {
  const mmu = createMmu({ frames: 4096, coreBytes: CORE_BYTES });
  const engine = createX86Engine({ mmu });
  guest = createTestGuest({ features: CORE_FEATURES }, createTestHypervisor({ mmu, engine }));
  [code, handlers] = [guest.page().address, guest.page().address];
  kernelStack = guest.page().address + 4096n;
  const pages = [guest.page(), guest.page(), guest.page()].map(({ address }) => address).sort();
  expect(pages[2]! - pages[0]!).toBe(8192n);
  [low, high] = [pages[0]!, pages[2]!];
  expect(guest.call(hypercall.update_va_mapping, pages[1]!, 0, 2)).toBe(0n);
  const table = [SS, GP, PF, AC].flatMap((vector) => [
    BigInt(vector) | (0xe033n << 16n),
    handlers + BigInt(vector * 16),
  ]);
  expect(guest.call(hypercall.set_trap_table, guest.put(...table, 0, 0))).toBe(0n);
  const operation = guest.put(MMUEXT.NEW_USER_BASEPTR, guest.vcpu.kernelRoot, 0);
  expect(guest.call(hypercall.mmuext_op, operation, 1, 0, 0x7ff0n)).toBe(0n);
  expect(guest.call(hypercall.stack_switch, 0xe02b, kernelStack)).toBe(0n);
});

/** Runs one instruction of a program with this stack pointer; the fault that its kernel sees: vector, error code, CR2. */
function fault(instruction: readonly number[], rsp: bigint, flags = 0): unknown[] {
  const { core, vcpu, personality } = guest;
  const pointer = [0, 0, 0, 0, 0x33, 0xe0];
  expect(guest.hypervisor.mmu.writeVirtual(core.space, code, Uint8Array.from([...instruction, ...pointer]))).toBe(true);
  core.regs[Gpr.rsp] = guest.put(0, 0, 0, 0, code, 0xe033, Flag.IF | flags | 2, rsp, 0xe02b);
  guest.call(hypercall.iret);
  expect([vcpu.guestKernel, core.rip, core.regs[Gpr.rsp]]).toEqual([false, code, rsp]);
  const exit = core.run(1);
  if (exit.reason !== 'budget') personality.handleExit(vcpu.hv, exit);
  const vector = Number(core.rip - handlers) / 16;
  const [errorCode, rip] = [guest.peek(core.regs[Gpr.rsp]! + 16n), guest.peek(core.regs[Gpr.rsp]! + 24n)];
  expect([vcpu.guestKernel, rip]).toEqual([true, code]);
  return vector === PF ? [vector, Number(errorCode), vcpu.cr2] : [vector, Number(errorCode)];
}

describe('a page fault is told where it is', () => {
  it('of what is popped: at the last word, or where within it the page begins', () => {
    const beyond = low + 4096n;
    for (const [instruction, rsp, address] of [
      [IRETD, beyond - 4n, beyond + 4n],
      [IRETD, beyond - 8n, beyond],
      [IRETD, beyond - 11n, beyond],
      [IRETQ, beyond - 8n, beyond + 8n],
      [IRETQ, beyond - 16n, beyond],
      [IRETQ, beyond - 20n, beyond],
      [RETF, beyond - 4n, beyond],
      [RETFQ, beyond - 8n, beyond],
      [RETFQ, beyond - 9n, beyond],
    ] as const) {
      expect([rsp, ...fault(instruction, rsp)]).toEqual([rsp, PF, READ, address]);
    }
    expect(fault(IRETQ, beyond + 16n)).toEqual([PF, READ, beyond + 32n]);
    expect(fault(RETF, beyond + 16n)).toEqual([PF, READ, beyond + 20n]);
  });
  it('and not of what lies behind a selector', () => {
    const beyond = low + 4096n;
    for (const [instruction, rsp] of [
      [RETF, beyond - 6n],
      [RETFQ, beyond - 10n],
    ] as const) {
      expect(guest.hypervisor.mmu.writeVirtual(guest.core.space, rsp, new Uint8Array(Number(beyond - rsp)))).toBe(true);
      // The selector is null.
      expect(fault(instruction, rsp)).toEqual([GP, 0]);
    }
  });
  it('of what is pushed: at the first word below', () => {
    expect(fault(CALL_FAR, high + 4n)).toEqual([PF, WRITE, high - 4n]);
    expect(fault(CALL_FAR, high)).toEqual([PF, WRITE, high - 4n]);
    expect(fault(CALL_FAR, high + 6n)).toEqual([PF, WRITE, high - 2n]);
  });
});

it('a stack pointer that is not canonical is #SS', () => {
  const rsp = 1n << 62n;
  for (const instruction of [IRETD, IRETQ, RETF, RETFQ, CALL_FAR]) {
    expect(fault(instruction, rsp)).toEqual([SS, 0]);
  }
  expect(fault(IRETQ, (1n << 47n) - 16n)).toEqual([SS, 0]);
});

it('words of the stack have to be aligned where RFLAGS.AC says so', () => {
  for (const [instruction, size] of [
    [IRETD, 4n],
    [IRETQ, 8n],
    [RETF, 4n],
    [RETFQ, 8n],
    [CALL_FAR, 4n],
  ] as const) {
    expect(fault(instruction, high + 2048n + size / 2n, Flag.AC)).toEqual([AC, 0]);
    expect(fault(instruction, low + 8192n + size / 2n, Flag.AC)).toEqual([AC, 0]);
  }
  expect(fault(RETF, low, Flag.AC)).toEqual([GP, 0]);
  // The selector comes first, which needs less.
  expect(fault(RETF, low + 4094n, Flag.AC)).toEqual([PF, READ, low + 4098n]);
});
