/**
 * What the PV tests of the Xen Test Framework look at and no other test here does, on the real core: docs/conformance.md
 * has the list. Each runs a few instructions of a guest kernel, or of its program, and looks at the trap that comes.
 */
import { DOMID_SELF, EVTCHNOP, hypercall, MMUEXT } from '@paravane/abi-xen';
import { type Engine, Flag, Gpr } from '@paravane/engine-api';
import { createMmu, type Mmu } from '@paravane/mmu';
import { CORE_BYTES, CORE_FEATURES, createX86Engine } from '@paravane/x86';
import { beforeAll, describe, expect, it } from 'vitest';
import { xenTransitions } from './index.js';
import { compatImage } from './testing/compat-image.js';
import { createTestGuest, createTestHypervisor, type TestGuest } from './testing/test-machine.js';

const SELF = BigInt(DOMID_SELF);
const [UD, SS, GP, PF] = [6, 12, 13, 14] as const;
const WITH_ERROR_CODE = new Set<number>([SS, GP, PF]);
const CR4_FSGSBASE = 0x10000;

let mmu: Mmu;
let guest: TestGuest;
let code: bigint;
let stack: bigint;
let handlers: bigint;

const entry = (frame: number, flags: bigint): bigint => (BigInt(frame) << 12n) | flags;
const remap = (address: bigint, to: bigint): bigint =>
  guest.pv.xen.is64
    ? guest.call(hypercall.update_va_mapping, address, to, 2)
    : guest.call(hypercall.update_va_mapping, address, to & 0xffffffffn, to >> 32n, 2);

function boot(bits: 64 | 32, engineOf: (memory: Mmu) => Engine): void {
  mmu = createMmu({ frames: 4096, coreBytes: CORE_BYTES });
  const on = createTestHypervisor({ mmu, engine: engineOf(mmu) });
  guest = createTestGuest({ features: CORE_FEATURES, ...(bits === 32 ? { image: compatImage() } : {}) }, on);
  [code, handlers] = [guest.page().address, guest.page().address];
  stack = guest.page().address + 4096n;
  const vectors = [1, 3, UD, SS, GP, PF];
  const cs = bits === 64 ? 0xe033n : 0xe019n;
  const table =
    bits === 64
      ? vectors.flatMap((vector) => [BigInt(vector) | (cs << 16n), handlers + BigInt(vector * 16)])
      : vectors.map((vector) => BigInt(vector) | (cs << 16n) | ((handlers + BigInt(vector * 16)) << 32n));
  guest.call(hypercall.set_trap_table, guest.put(...table, 0, 0));
}

interface Trap {
  readonly vector: number;
  readonly error: number;
  readonly rip: bigint;
  readonly flags: number;
}

/** Runs from there until a handler is entered; what its frame says, or undefined after 50 stops. */
function trap(): Trap | undefined {
  const { core, vcpu, personality } = guest;
  for (let turn = 0; turn < 50; turn++) {
    const exit = core.run(1);
    if (exit.reason !== 'budget') personality.handleExit(vcpu.hv, exit);
    if (core.rip < handlers || core.rip >= handlers + 4096n) continue;
    const vector = Number(core.rip - handlers) / 16;
    const size = guest.pv.xen.is64 ? 8 : 4;
    let at = core.regs[Gpr.rsp]! + (guest.pv.xen.is64 ? 16n : 0n);
    const word = (): bigint => {
      const value = guest.peek(at) & (size === 8 ? ~0n : 0xffffffffn);
      at += BigInt(size);
      return value;
    };
    const error = WITH_ERROR_CODE.has(vector) ? Number(word()) : -1;
    const rip = word();
    word();
    return { vector, error, rip, flags: Number(word()) };
  }
  return undefined;
}

function start(bytes: readonly number[], at = code): void {
  const { core } = guest;
  expect(mmu.writeVirtual(core.space, at, Uint8Array.from([...bytes, 0x0f, 0x0b]))).toBe(true);
  core.rip = at;
  core.regs[Gpr.rsp] = stack;
  core.rflags = Flag.IF | 2;
}
const run = (...bytes: number[]): Trap | undefined => {
  start(bytes);
  return trap();
};
/** Where UD2 is, behind so many bytes that ran without a trap. */
const through = (bytes: number): object => ({ vector: UD, rip: code + BigInt(bytes) });

describe.each([
  ['stopping at each call', undefined],
  ['with transitions', xenTransitions],
])('a 64-bit guest, %s', (_, transitions) => {
  beforeAll(() => boot(64, (memory) => createX86Engine({ mmu: memory, ...(transitions && { transitions }) })));

  it('XSA-7: a hypercall that ends where addresses end comes back to a general-protection fault there', () => {
    const { core, vcpu } = guest;
    const [page, ...tables] = [guest.page(), guest.page(), guest.page(), guest.page()];
    let below = page;
    for (const table of tables) {
      mmu.writeU64((table.frame * 4096 + 511 * 8) as never, entry(below.frame, 0x67n));
      expect(remap(table.address, entry(table.frame, 0x65n))).toBe(0n);
      below = table;
    }
    const last = guest.put(entry(vcpu.kernelRoot, 255n * 8n), entry(below.frame, 0x67n));
    expect(guest.call(hypercall.mmu_update, last, 1, 0, SELF)).toBe(0n);
    mmu.write(page.frame as never, 4094, Uint8Array.of(0x0f, 0x05));
    core.rip = 0x7fff_ffff_fffen;
    core.regs[Gpr.rsp] = 0x7fff_ffff_ff00n;
    core.rflags = Flag.IF | 2;
    core.regs[Gpr.rax] = BigInt(hypercall.xen_version);
    [core.regs[Gpr.rdi], core.regs[Gpr.rsi]] = [0n, 0n];
    // It is the fault of Xen's return, not of an instruction there: RF is not set.
    expect(trap()).toMatchObject({ vector: GP, error: 0, rip: 0x8000_0000_0000n, flags: 2 });
    expect(core.regs[Gpr.rax]).toBe(0x40011n);
  });

  it('pv-fsgsbase: the instructions are there when CR4 says so, and take canonical bases only', () => {
    const [rdfsbase, wrgsbase] = [
      [0xf3, 0x48, 0x0f, 0xae, 0xc0],
      [0xf3, 0x48, 0x0f, 0xae, 0xd8],
    ] as const;
    const wrfsbase = [0xf3, 0x48, 0x0f, 0xae, 0xd0];
    const cr4 = (value: number): Trap | undefined => {
      guest.core.regs[Gpr.rax] = BigInt(value);
      return run(0x0f, 0x22, 0xe0);
    };
    expect(guest.core.cr4 & CR4_FSGSBASE).toBe(0);
    expect([run(...rdfsbase), run(...wrgsbase)]).toMatchObject([through(0), through(0)]);
    expect(cr4(0x660 | CR4_FSGSBASE)).toMatchObject(through(3));
    expect(guest.core.cr4 & CR4_FSGSBASE).toBe(CR4_FSGSBASE);
    expect(run(...rdfsbase)).toMatchObject(through(5));
    for (const [base, ok] of [
      [0n, true],
      [0x7fff_ffff_ffffn, true],
      [0x8000_0000_0000n, false],
      [1n << 63n, false],
      [0xffff_7fff_ffff_ffffn, false],
      [0xffff_8000_0000_0000n, true],
    ] as const) {
      guest.core.regs[Gpr.rax] = base;
      expect(run(...wrfsbase)).toMatchObject(ok ? through(5) : { vector: GP, error: 0, rip: code });
    }
    expect(cr4(0x660)).toMatchObject(through(3));
    expect(run(...rdfsbase)).toMatchObject(through(0));
  });

  it('XSA-260: a breakpoint on what MOV SS read waits for the call behind it', () => {
    const { core } = guest;
    const operand = guest.put(0xe02bn);
    expect(guest.call(hypercall.set_debugreg, 0, operand)).toBe(0n);
    expect(guest.call(hypercall.set_debugreg, 7, 0x000f_0002)).toBe(0n);
    start([0x8e, 0x13, 0x0f, 0x05]); // mov ss, [rbx]; syscall
    core.regs[Gpr.rbx] = operand;
    core.regs[Gpr.rax] = BigInt(hypercall.xen_version);
    [core.regs[Gpr.rdi], core.regs[Gpr.rsi]] = [0n, 0n];
    // Xen, which the trap is on the way into, drops it.
    expect(trap()).toMatchObject(through(4));
    expect(guest.call(hypercall.set_debugreg, 7, 0)).toBe(0n);
    expect(guest.pv.domain.shutdownRecord).toBeNull();
  });

  it('memop-seg: the stack fault is that of RSP and RBP as a base, whatever prefix of DS, ES, CS or SS is before it', () => {
    const { core } = guest;
    const address = (1n << 63n) + (1n << 30n);
    for (const prefix of [0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]) {
      for (let base = 0; base < 16; base++) {
        const [low, rex] = [base & 7, base >= 8 ? [0x49] : [0x48]];
        // mov rax, [base + 0]: RSP and R12 need a SIB byte.
        const operand = low === 4 ? [0x44, 0x24, 0] : [0x40 | low, 0];
        start([...(prefix ? [prefix] : []), ...rex, 0x8b, ...operand]);
        if (base !== Gpr.rsp) core.regs[base] = address;
        else core.regs[Gpr.rsp] = address;
        const own = prefix === 0x64 || prefix === 0x65;
        const expected = !own && (base === Gpr.rsp || base === Gpr.rbp) ? SS : GP;
        // A frame needs a stack: only the stop is looked at where RSP itself is the base.
        const exit = core.run(1);
        expect([prefix, base, exit.reason, exit.vector, exit.errorCode]).toEqual([
          prefix,
          base,
          'exception',
          expected,
          0,
        ]);
      }
    }
  });

  it('cpuid-faulting: behind the prefix too, the fault of a program is at the CPUID', () => {
    const { core, vcpu } = guest;
    const prefixed = [0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2];
    expect(run(...prefixed)).toMatchObject(through(7));
    core.regs[Gpr.rcx] = 0x140n;
    [core.regs[Gpr.rax], core.regs[Gpr.rdx]] = [1n, 0n];
    expect(run(0x0f, 0x30)).toMatchObject(through(2));
    expect(run(...prefixed)).toMatchObject(through(7));
    start(prefixed);
    const operation = guest.put(MMUEXT.NEW_USER_BASEPTR, vcpu.kernelRoot, 0);
    expect(guest.call(hypercall.mmuext_op, operation, 1, 0, SELF)).toBe(0n);
    expect(guest.call(hypercall.stack_switch, 0xe02b, stack)).toBe(0n);
    // RAX, R11, RCX, flags, and the frame.
    core.regs[Gpr.rsp] = guest.put(0, 0, 0, 0, code, 0xe033, 0x202, stack, 0xe02b);
    guest.call(hypercall.iret);
    expect([vcpu.guestKernel, core.rip]).toEqual([false, code]);
    expect(trap()).toMatchObject({ vector: GP, error: 0, rip: code + 5n });
    expect(vcpu.guestKernel).toBe(true);
  });

  it('XSA-339: SYSENTER is no instruction of the processor that is shown, with NT or without', () => {
    for (const flags of [0, Flag.NT]) {
      start([0x0f, 0x34]);
      guest.core.rflags |= flags;
      expect(trap()).toMatchObject(through(0));
    }
  });

  it('XSA-333: MISC_ENABLE can be asked for', () => {
    guest.core.regs[Gpr.rcx] = 0x1a0n;
    const answer = run(0x0f, 0x32);
    expect([GP, UD]).toContain(answer?.vector);
    expect(guest.pv.domain.shutdownRecord).toBeNull();
  });
});

describe('a 32-bit guest', () => {
  beforeAll(() => boot(32, (memory) => createX86Engine({ mmu: memory })));

  it('XSA-183: takes a trap on a stack that its programs may write to', () => {
    const { core } = guest;
    const page = guest.page();
    expect(remap(page.address, entry(page.frame, 0x67n))).toBe(0n);
    start([]);
    core.regs[Gpr.rsp] = page.address + 4096n;
    core.rflags |= Flag.AC;
    expect(trap()).toMatchObject({ vector: UD, rip: code });
    expect(core.regs[Gpr.rsp]).toBe(page.address + 4096n - 12n);
  });

  it('XSA-consoleio-write: prints nothing of two thousand million bytes', () => {
    expect(guest.call(hypercall.console_io, 0, 0x80000000, code)).toBe(-1n);
  });
});

describe.each([64, 32] as const)('calls of a %d-bit guest', (bits) => {
  beforeAll(() => boot(bits, (memory) => createX86Engine({ mmu: memory })));

  it('XSA-279: a change of a mapping where none can be is refused, flush or not', () => {
    const nowhere =
      bits === 64 ? [1n << 63n, 0x8000_0000_0000n, 0xffff_8000_0000_0000n, 0xffff_87ff_ffff_ffffn] : [0xf580_0000n];
    for (const address of nowhere) {
      const args = bits === 64 ? [address, 0n] : [address, 0n, 0n];
      for (const flush of [0, 2, 2 | 4]) expect(guest.call(hypercall.update_va_mapping, ...args, flush)).toBe(-22n);
    }
  });

  it('XSA-316: a grant of the control domain that is not there is a general error', () => {
    const request = guest.put(0x1000n, 2n | (8n << 32n), 0n, 0n);
    expect(guest.call(hypercall.grant_table_op, 0, request, 1)).toBe(0n);
    expect(new DataView(guest.peekBytes(request, 32).buffer).getInt16(18, true)).toBe(-1);
  });

  it('XSA-317: there are as many event channels as the toolstack allows, and then no more', () => {
    const answers: bigint[] = [];
    while (answers.length < 5000 && (answers.at(-1) ?? 0n) === 0n) {
      answers.push(guest.call(hypercall.event_channel_op, EVTCHNOP.alloc_unbound, guest.put(SELF)));
    }
    expect(answers.at(-1)).toBe(-28n);
    expect(answers.length).toBeLessThanOrEqual(1024);
  });

  it('livepatch-priv-check: the version of a call for the control domain is looked at before the rights', () => {
    for (const [version, answer] of [
      [1n, -13n],
      [0x15n, -1n],
    ] as const) {
      expect(guest.call(hypercall.sysctl, guest.put(27n | (version << 32n)))).toBe(answer);
    }
  });

  it('argo: there is none', () => {
    expect(guest.call(39, 1, 0, 0, 0, 0)).toBe(-38n);
  });
});
