import { hypercall, VGCF_IN_SYSCALL } from '@paravane/abi-xen';
import { describe, expect, it } from 'vitest';
import { createTestGuest, type TestGuest } from '../testing/test-machine.js';

const KERNEL_CS = 0xe033n;
const KERNEL_SS = 0xe02bn;

/** A trap table with one handler. */
function withHandler(guest: TestGuest, vector: number, address: bigint, flags = 0): void {
  const table = guest.put(BigInt(vector) | (BigInt(flags) << 8n) | (KERNEL_CS << 16n), address, 0, 0);
  expect(guest.call(hypercall.set_trap_table, table)).toBe(0n);
}
const stack = (guest: TestGuest, words: number): bigint[] =>
  Array.from({ length: words }, (_, index) => guest.peek(guest.core.regs[4] + BigInt(8 * index)));
const mask = (guest: TestGuest): number => guest.hypervisor.mmu.readU8((guest.vcpu.vcpuInfo + 1) as never);

/** Gives the vCPU a user root (its own kernel root will do) and lets it return to user mode. */
function enterUser(guest: TestGuest, rip = 0x400000n, rsp = 0x7fff0000n): void {
  guest.vcpu.userRoot = guest.vcpu.kernelRoot;
  guest.core.spaces[1] = guest.core.spaces[0]!;
  const frame = guest.put(1, 2, 3, VGCF_IN_SYSCALL, rip, 0xe033n, 0x202, rsp, 0xe02bn);
  guest.core.regs[4] = frame;
  guest.core.regs[0] = BigInt(hypercall.iret);
  guest.exit({ reason: 'syscall' });
  expect(guest.vcpu.guestKernel).toBe(false);
}

describe('exceptions of a PV64 guest', () => {
  it('reach the handler in the frame that Xen builds', () => {
    const guest = createTestGuest();
    withHandler(guest, 13, 0xffffffff80001000n);
    const { core } = guest;
    core.regs[1] = 0x11n;
    core.regs[11] = 0x22n;
    core.rip = 0xffffffff80000123n;
    core.rflags = 0x10346;
    const page = guest.page();
    core.regs[4] = page.address + 0x805n;
    guest.exit({ reason: 'exception', vector: 13, errorCode: 0x18 });
    expect(core.regs[4]).toBe(page.address + 0x800n - 64n);
    expect(stack(guest, 8)).toEqual([
      0x11n,
      0x22n,
      0x18n,
      0xffffffff80000123n,
      0xe030n | (1n << 32n),
      0x10146n,
      page.address + 0x805n,
      KERNEL_SS,
    ]);
    expect(core.rip).toBe(0xffffffff80001000n);
    expect(core.rflags).toBe(0x246);
    expect(core.selectors[1]).toBe(0xe033);
  });

  it('show page faults as an unprivileged processor would, with CR2 in vcpu_info', () => {
    const guest = createTestGuest();
    withHandler(guest, 14, 0xffffffff80001000n);
    guest.core.regs[4] = guest.page().address + 4096n;
    guest.exit({ reason: 'exception', vector: 14, errorCode: 6, address: 0xdead000n });
    expect(guest.hypervisor.mmu.readU64((guest.vcpu.vcpuInfo + 16) as never)).toBe(0xdead000n);
    expect(stack(guest, 3)[2]).toBe(2n);
  });

  it('from user mode arrive on the kernel stack with the user bit', () => {
    const guest = createTestGuest();
    withHandler(guest, 14, 0xffffffff80001000n, 4);
    const kernelStack = guest.page().address + 4096n;
    guest.call(hypercall.stack_switch, KERNEL_SS, kernelStack);
    guest.core.gsBase = 0x1000n;
    guest.vcpu.gsBaseOther = 0x2000n;
    enterUser(guest);
    expect(guest.core.gsBase).toBe(0x2000n);
    guest.exit({ reason: 'exception', vector: 14, errorCode: 4, address: 0x1000n });
    expect(guest.vcpu.guestKernel).toBe(true);
    expect(guest.core.gsBase).toBe(0x1000n);
    const frame = stack(guest, 8);
    expect(frame[2]).toBe(4n);
    expect(frame.slice(3)).toEqual([0x400000n, 0xe033n, 0x10202n, 0x7fff0000n, KERNEL_SS]);
    expect(mask(guest)).toBe(1);
  });

  it('without a handler end the domain with a report', () => {
    const guest = createTestGuest();
    guest.exit({ reason: 'exception', vector: 6 });
    const { domain } = guest.pv;
    expect(domain.state).toBe('crashed');
    expect(domain.shutdownRecord?.detail).toBe('exception 6 (#UD), and the guest has no handler for it');
    expect(domain.shutdownRecord?.report.join('\n')).toMatch(/RIP e033:[0-9a-f]{16}/);
  });

  it('on a stack that is not there end the domain', () => {
    const guest = createTestGuest();
    withHandler(guest, 6, 0xffffffff80001000n);
    guest.core.regs[4] = 0x1000n;
    guest.exit({ reason: 'exception', vector: 6 });
    expect(guest.pv.domain.shutdownRecord?.detail).toContain("guest kernel's stack");
  });
});

describe('iret', () => {
  it('restores registers and the event mask', () => {
    const guest = createTestGuest();
    const { core } = guest;
    core.regs[4] = guest.put(0xa, 0xb, 0xc, 0, 0xffffffff80000777n, 0xe030n, 0x3246, 0xffffffff80005000n, 0xe028n);
    core.regs[0] = BigInt(hypercall.iret);
    guest.exit({ reason: 'syscall' });
    expect([core.regs[0], core.regs[11], core.regs[1], core.rip, core.regs[4]]).toEqual([
      0xan,
      0xbn,
      0xcn,
      0xffffffff80000777n,
      0xffffffff80005000n,
    ]);
    expect(core.rflags).toBe(0x246);
    expect(core.selectors[1]).toBe(0xe033);
    expect(mask(guest)).toBe(0);
    expect(guest.vcpu.guestKernel).toBe(true);
  });

  it('drops the RPL of null selectors and the upper half of a 32-bit stack pointer, as IRET does', () => {
    const guest = createTestGuest();
    const { core } = guest;
    core.selectors.set([3, core.selectors[1]!, core.selectors[2]!, 1, 2, 0xe02b]);
    guest.vcpu.userRoot = guest.vcpu.kernelRoot;
    core.regs[4] = guest.put(0, 0, 0, 0, 0x400000n, 0xe023n, 0x202, 0x8badf00d5aadc0den, 0xe02bn);
    core.regs[0] = BigInt(hypercall.iret);
    guest.exit({ reason: 'syscall' });
    expect([core.selectors[0], ...core.selectors.slice(3)]).toEqual([0, 0, 0, 0xe02b]);
    expect(core.regs[4]).toBe(0x5aadc0den);
  });

  it('to user mode needs user page tables', () => {
    const guest = createTestGuest();
    guest.core.regs[4] = guest.put(0, 0, 0, 0, 0x400000n, 0x33, 0x202, 0, 0x2b);
    guest.core.regs[0] = BigInt(hypercall.iret);
    guest.exit({ reason: 'syscall' });
    expect(guest.pv.domain.shutdownRecord?.detail).toContain('without user page tables');
  });

  it.each([
    ['code outside the tables', 0x777n, 0x1230n, 0xe028n, 13, 0x1230n],
    ['no code', 0x777n, 0n, 0xe028n, 13, 0n],
    ['a stack outside the tables', 0x777n, 0xe030n, 0x1238n, 13, 0x1238n],
    ['no stack', 0x777n, 0xe030n, 0n, 13, 0n],
    ['where no code can be', 0x8000_0000_0000n, 0xe030n, 0xe028n, 13, 0n],
  ])('to %s is the fault of the processor there, with RF as the frame has it', (_, rip, cs, ss, vector, code) => {
    const guest = createTestGuest();
    const { core } = guest;
    withHandler(guest, vector, 0xffffffff80005000n);
    const top = guest.page().address + 4096n;
    core.regs[4] = guest.put(0xa, 0xb, 0xc, 0, rip, cs, 0x246, top, ss);
    core.regs[0] = BigInt(hypercall.iret);
    guest.exit({ reason: 'syscall' });
    expect(core.rip).toBe(0xffffffff80005000n);
    expect(stack(guest, 8)).toEqual([0xcn, 0xbn, code, rip, cs & ~3n, 0x246n, top, ss | 3n]);
  });

  it('to a descriptor that is not present is its own fault', () => {
    const guest = createTestGuest();
    const { mmu } = guest.hypervisor;
    const { core } = guest;
    withHandler(guest, 11, 0xffffffff80005000n);
    const gdt = guest.page();
    mmu.writeU64((gdt.frame * 4096 + 8) as never, 0x00af7b000000ffffn);
    expect(guest.call(hypercall.update_va_mapping, gdt.address, (gdt.frame << 12) | 5, 0, 2)).toBe(0n);
    expect(guest.call(hypercall.set_gdt, guest.put(gdt.frame), 2)).toBe(0n);
    const top = guest.page().address + 4096n;
    core.regs[4] = guest.put(0xa, 0xb, 0xc, 0, 0x777n, 8, 0x246, top, 0xe028n);
    core.regs[0] = BigInt(hypercall.iret);
    guest.exit({ reason: 'syscall' });
    expect(core.rip).toBe(0xffffffff80005000n);
    expect(stack(guest, 5).slice(2)).toEqual([8n, 0x777n, 8n]);
  });

  it('within a system call takes the selectors of SYSRET, whatever the frame has', () => {
    const guest = createTestGuest();
    const { core } = guest;
    core.regs[4] = guest.put(0xa, 0xb, 0xc, VGCF_IN_SYSCALL, 0x777n, 0x1230n, 0x1_0001_0246n, 0x8000n, 0x1238n);
    core.regs[0] = BigInt(hypercall.iret);
    guest.exit({ reason: 'syscall' });
    expect([core.rip, core.selectors[1], core.selectors[2], core.rflags]).toEqual([0x777n, 0xe033, 0xe02b, 0x246]);
    expect([core.regs[1], core.regs[11]]).toEqual([0x777n, 0x1_0001_0246n]);
    core.regs[4] = guest.put(0, 0, 0, VGCF_IN_SYSCALL, 0x1_0000_0777n, 0xe020n, 0x246, 0x8000n, 0);
    core.regs[0] = BigInt(hypercall.iret);
    guest.exit({ reason: 'syscall' });
    expect([core.rip, core.selectors[1], core.mode]).toEqual([0x777n, 0xe023, 32]);
  });

  it('as the last of a batch leaves the batch', () => {
    const guest = createTestGuest();
    const { core } = guest;
    core.regs[4] = guest.put(0xa, 0xb, 0xc, 0, 0x777n, 0xe030n, 0x246, 0x5000n, 0xe028n);
    const list = guest.put(23, 0, 0, 0, 0, 0, 0, 0);
    core.regs[0] = 13n;
    core.regs[7] = list;
    core.regs[6] = 1n;
    guest.exit({ reason: 'syscall' });
    expect(core.rip).toBe(0x777n);
    expect(core.regs[0]).toBe(0xan);
  });
});

describe('system calls of a user program', () => {
  it('go to the syscall callback with RCX and R11 as SYSCALL leaves them', () => {
    const guest = createTestGuest();
    guest.call(hypercall.set_callbacks, 0x1000n, 0x2000n, 0xffffffff80003000n);
    guest.call(hypercall.stack_switch, KERNEL_SS, guest.page().address + 4096n);
    enterUser(guest, 0x400100n);
    guest.exit({ reason: 'syscall' });
    expect(guest.core.rip).toBe(0xffffffff80003000n);
    const frame = stack(guest, 7);
    expect(frame).toEqual([0x400100n, 0x202n, 0x400100n, KERNEL_CS, 0x202n, 0x7fff0000n, KERNEL_SS]);
  });

  it('of 32 bits go to a callback of their own, from a kernel too', () => {
    const guest = createTestGuest();
    const { core } = guest;
    guest.vcpu.callbacks.syscall32 = { address: 0xffffffff80004000n, masksEvents: false };
    guest.call(hypercall.stack_switch, KERNEL_SS, guest.page().address + 4096n);
    enterUser(guest, 0x400100n);
    core.mode = 32;
    guest.exit({ reason: 'syscall' });
    expect([core.rip, core.mode]).toEqual([0xffffffff80004000n, 64]);
    expect(stack(guest, 4)).toEqual([0x400100n, 0x202n, 0x400100n, 0xe023n]);
    core.mode = 32;
    core.regs[0] = BigInt(hypercall.sched_op);
    guest.exit({ reason: 'syscall' });
    expect([core.rip, core.mode]).toEqual([0xffffffff80004000n, 64]);
  });

  it('without a callback are undefined instructions, in the registers of SYSCALL and without RF', () => {
    const guest = createTestGuest();
    withHandler(guest, 6, 0xffffffff80001000n);
    guest.call(hypercall.stack_switch, KERNEL_SS, guest.page().address + 4096n);
    enterUser(guest, 0x400100n);
    guest.exit({ reason: 'syscall' });
    expect(guest.core.rip).toBe(0xffffffff80001000n);
    expect(stack(guest, 5)).toEqual([0x400100n, 0x202n, 0x4000fen, KERNEL_CS, 0x202n]);
  });

  it('of 32 bits mask events where those of 64 bits do', () => {
    const guest = createTestGuest();
    guest.vcpu.callbacks.syscall32 = { address: 0xffffffff80004000n, masksEvents: true };
    guest.call(hypercall.stack_switch, KERNEL_SS, guest.page().address + 4096n);
    for (const masksEvents of [false, true]) {
      guest.vcpu.callbacks.syscall = { address: 0xffffffff80003000n, masksEvents };
      enterUser(guest, 0x400100n);
      guest.core.mode = 32;
      guest.exit({ reason: 'syscall' });
      expect(mask(guest)).toBe(masksEvents ? 1 : 0);
    }
  });

  it('enter the handler with DF clear, which the frame has as it was', () => {
    const guest = createTestGuest();
    guest.call(hypercall.set_callbacks, 0x1000n, 0x2000n, 0xffffffff80003000n);
    guest.call(hypercall.stack_switch, KERNEL_SS, guest.page().address + 4096n);
    enterUser(guest, 0x400100n);
    guest.core.rflags = 0x602;
    guest.exit({ reason: 'syscall' });
    expect(guest.core.rflags & 0x400).toBe(0);
    expect(stack(guest, 5)[4]).toBe(0x602n);
  });

  it('without a callback are #UD', () => {
    const guest = createTestGuest();
    withHandler(guest, 6, 0xffffffff80001000n);
    guest.call(hypercall.stack_switch, KERNEL_SS, guest.page().address + 4096n);
    enterUser(guest, 0x400100n);
    guest.exit({ reason: 'syscall' });
    expect(stack(guest, 3)[2]).toBe(0x4000fen);
  });
});

describe('software interrupts', () => {
  it('ask the DPL of the trap table', () => {
    const guest = createTestGuest();
    const table = guest.put(
      0x80n | (3n << 8n) | (KERNEL_CS << 16n),
      0xffffffff80008000n,
      13n | (KERNEL_CS << 16n),
      0xffffffff8000d000n,
      0,
      0,
    );
    guest.call(hypercall.set_trap_table, table);
    guest.call(hypercall.stack_switch, KERNEL_SS, guest.page().address + 4096n);
    enterUser(guest, 0x400102n);
    guest.exit({ reason: 'interrupt', vector: 0x80, length: 2 });
    expect(guest.core.rip).toBe(0xffffffff80008000n);
    enterUser(guest, 0x400102n);
    guest.exit({ reason: 'interrupt', vector: 0x81, length: 2 });
    expect(guest.core.rip).toBe(0xffffffff8000d000n);
    expect(stack(guest, 4).slice(2)).toEqual([0x81n * 8n + 2n, 0x400100n]);
  });
});

describe('software interrupts past the DPL', () => {
  it('are those of vector 80, INT3, INTO and INT1, but not of INT 1', () => {
    const guest = createTestGuest();
    const entry = (vector: bigint): bigint[] => [vector | (KERNEL_CS << 16n), 0xffffffff80000000n + vector * 0x100n];
    guest.call(hypercall.set_trap_table, guest.put(...[0x80n, 1n, 3n, 4n, 13n].flatMap(entry), 0, 0));
    guest.call(hypercall.stack_switch, KERNEL_SS, guest.page().address + 4096n);
    const code = guest.putBytes(new Uint8Array([0xcd, 0x01, 0xf1]));
    const entered = (vector: number, rip: bigint): bigint => {
      enterUser(guest, rip);
      guest.exit({ reason: 'interrupt', vector, length: rip === code + 3n ? 1 : 2 });
      return (guest.core.rip - 0xffffffff80000000n) >> 8n;
    };
    expect(entered(0x80, 0x400102n)).toBe(0x80n);
    expect(entered(3, 0x400102n)).toBe(3n);
    expect(entered(4, 0x400102n)).toBe(4n);
    expect(entered(1, code + 3n)).toBe(1n);
    expect(entered(1, code + 2n)).toBe(13n);
    expect(stack(guest, 4).slice(2)).toEqual([10n, code]);
  });
});

describe('privileged instructions', () => {
  it('go by the virtual IOPL, for which the kernel is in ring 1, or 0 with the assist', () => {
    const guest = createTestGuest();
    withHandler(guest, 13, 0xffffffff80001000n);
    guest.core.regs[4] = guest.page().address + 4096n;
    const faults = (iopl: number): boolean => {
      guest.vcpu.iopl = iopl;
      guest.core.rip = 0x1000n;
      guest.privileged({ mnemonic: 'CLI', length: 1 });
      return guest.core.rip !== 0x1001n;
    };
    expect([0, 1, 3].map(faults)).toEqual([true, false, false]);
    expect(guest.call(hypercall.vm_assist, 0, 4)).toBe(0n);
    expect([0, 1, 3].map(faults)).toEqual([false, false, false]);
    guest.call(hypercall.stack_switch, KERNEL_SS, guest.page().address + 4096n);
    enterUser(guest);
    expect([0, 1].map((iopl) => faults(iopl) && (enterUser(guest), true))).toEqual([true, true]);
    expect(faults(3)).toBe(false);
  });

  it('of ports go by the bitmap, which only the tables of the kernel map', () => {
    const guest = createTestGuest();
    withHandler(guest, 13, 0xffffffff80001000n);
    guest.call(hypercall.stack_switch, KERNEL_SS, guest.page().address + 4096n);
    const bitmap = guest.putBytes(Uint8Array.from({ length: 32 }, (_, at) => (at === 0x10 ? 0xfe : 0xff)));
    expect(guest.call(hypercall.physdev_op, 7, guest.put(bitmap, 256))).toBe(0n);
    enterUser(guest);
    const { core } = guest;
    // Tables of a program, with nothing in them.
    core.space = { ...core.space, root: guest.page().frame as never };
    const faults = (port: bigint): boolean => {
      core.rip = 0x1000n;
      core.regs[2] = port;
      guest.privileged({ mnemonic: 'OUT', width: 8, length: 1 });
      return core.rip !== 0x1001n;
    };
    expect([0x80n, 0x81n].map(faults)).toEqual([false, true]);
  });

  it('on control registers that there are not are #UD for all', () => {
    const guest = createTestGuest();
    withHandler(guest, 6, 0xffffffff80001000n);
    guest.core.regs[4] = guest.page().address + 4096n;
    guest.privileged({ mnemonic: 'MOV_TO_CR', register: 1, gpr: 3 });
    expect(guest.core.rip).toBe(0xffffffff80001000n);
  });

  it("store the limits and addresses of Xen's tables for SGDT and SIDT", () => {
    const guest = createTestGuest();
    const at = guest.put(0, 0);
    guest.privileged({ mnemonic: 'SIDT', gpr: -1, offset: at });
    expect(guest.peek(at) & 0xffffn).toBe(0xfffn);
    expect(guest.peek(at + 2n)).toBeGreaterThan(0xffff800000000000n);
    guest.privileged({ mnemonic: 'SGDT', gpr: -1, offset: at });
    expect(guest.peek(at) & 0xffffn).toBe(0xefffn);
    expect(guest.peek(at + 2n)).toBe(0xffff820000000000n);
  });

  it('read absent ports as ones and remember the PCI address', () => {
    const guest = createTestGuest();
    guest.vcpu.iopl = 1;
    const { core } = guest;
    core.regs[0] = 0n;
    core.regs[2] = 0x42n;
    guest.privileged({ mnemonic: 'IN', width: 8, length: 1 });
    expect(core.regs[0]).toBe(0xffn);
    core.regs[2] = 0xcf8n;
    core.regs[0] = 0x80000000n;
    guest.privileged({ mnemonic: 'OUT', width: 32, length: 1 });
    core.regs[0] = 0n;
    guest.privileged({ mnemonic: 'IN', width: 32, length: 1 });
    expect(core.regs[0]).toBe(0x80000000n);
  });

  it('show control registers and take what a guest may set', () => {
    const guest = createTestGuest();
    const { core } = guest;
    guest.privileged({ mnemonic: 'MOV_FROM_CR', register: 4, gpr: 3 });
    expect(core.regs[3]).toBe(0x660n);
    guest.privileged({ mnemonic: 'MOV_FROM_CR', register: 0, gpr: 3 });
    expect(core.regs[3]).toBe(0x80050033n);
    core.regs[3] = 0x10660n;
    guest.privileged({ mnemonic: 'MOV_TO_CR', register: 4, gpr: 3 });
    guest.privileged({ mnemonic: 'MOV_FROM_CR', register: 4, gpr: 3 });
    // FSGSBASE is taken only where the processor has it.
    expect(core.regs[3]).toBe(0x660n);
    guest.privileged({ mnemonic: 'MOV_FROM_CR', register: 3, gpr: 3 });
    expect(core.regs[3]).toBe(BigInt(guest.vcpu.kernelRoot) << 12n);
  });

  it('answer MSRs as on the processor that is shown, and fault on others', () => {
    const guest = createTestGuest();
    withHandler(guest, 13, 0xffffffff80001000n);
    const { core } = guest;
    core.regs[4] = guest.page().address + 4096n;
    core.regs[1] = 0x277n;
    guest.privileged({ mnemonic: 'RDMSR', length: 2 });
    expect([core.regs[2], core.regs[0]]).toEqual([0x501n, 0x70406n]);
    core.regs[1] = 0xc0010055n;
    guest.privileged({ mnemonic: 'RDMSR', length: 2 });
    expect(core.rip).toBe(0xffffffff80001000n);
  });

  it('answer CPUID behind the forced-emulation prefix', () => {
    const guest = createTestGuest();
    const { core } = guest;
    core.rip = guest.putBytes(new Uint8Array([0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2]));
    const start = core.rip;
    core.regs[0] = 0x40000000n;
    guest.exit({ reason: 'exception', vector: 6 });
    expect(core.rip).toBe(start + 7n);
    expect([core.regs[0], core.regs[3], core.regs[1], core.regs[2]]).toEqual([
      0x40000005n,
      0x566e6558n,
      0x65584d4dn,
      0x4d4d566en,
    ]);
  });

  it('are #GP in user mode', () => {
    const guest = createTestGuest();
    withHandler(guest, 13, 0xffffffff80001000n);
    guest.call(hypercall.stack_switch, KERNEL_SS, guest.page().address + 4096n);
    enterUser(guest);
    guest.privileged({ mnemonic: 'RDMSR', length: 2 });
    expect(guest.core.rip).toBe(0xffffffff80001000n);
    expect(stack(guest, 3)[2]).toBe(0n);
  });

  it('return within the ring without touching the event mask', () => {
    const guest = createTestGuest();
    const { core } = guest;
    core.regs[4] = guest.put(0x1234, 0xe033n, 0x46, 0x9000, 0xe02bn);
    guest.privileged({ mnemonic: 'IRET', width: 64, length: 2 });
    expect(core.rip).toBe(0x1234n);
    expect(core.rflags).toBe(0x246);
    expect(core.regs[4]).toBe(0x9000n);
    expect(mask(guest)).toBe(1);
  });
});

describe('a trap table', () => {
  const entry = (vector: number, address: bigint): [bigint, bigint] => [BigInt(vector) | (KERNEL_CS << 16n), address];

  it('of any length is taken in pieces', () => {
    const guest = createTestGuest();
    const entries = Array.from({ length: 200 }, (_, at) => entry(at, 0xffffffff80001000n + BigInt(at)));
    expect(guest.call(hypercall.set_trap_table, guest.put(...entries.flat(), 0, 0))).toBe(0n);
    expect(guest.vcpu.traps[199].address).toBe(0xffffffff80001000n + 199n);
  });

  it('without an end is read to where it can be read no more', () => {
    const guest = createTestGuest();
    let last = guest.page();
    const endless = new Uint8Array(new BigUint64Array(Array.from({ length: 256 }, () => entry(3, 16n)).flat()).buffer);
    const first = last.address;
    for (let page = 0; page < 4; page++) {
      guest.hypervisor.mmu.write(last.frame as never, 0, endless);
      if (page < 3) last = guest.page();
    }
    expect(guest.call(hypercall.update_va_mapping, last.address, 0, 2)).toBe(0n);
    expect(guest.call(hypercall.set_trap_table, first)).toBe(-14n);
  });

  it('of none is all handlers gone', () => {
    const guest = createTestGuest();
    withHandler(guest, 13, 0xffffffff80001000n, 7);
    expect(guest.call(hypercall.set_trap_table, 0)).toBe(0n);
    expect(guest.vcpu.traps[13]).toEqual({ address: 0n, cs: 0, dpl: 0, masksEvents: false });
  });
});
