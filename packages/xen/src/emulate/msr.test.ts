/** Model-specific registers of PV kernels of both kinds, and CPUID that faults in programs. */
import { hypercall } from '@paravane/abi-xen';
import { describe, expect, it } from 'vitest';
import { compatImage } from '../testing/compat-image.js';
import { createTestGuest, type TestGuest } from '../testing/test-machine.js';

const HANDLER = 0xffffffff80001000n;
const KERNEL = 0xffffffff80000100n;

function createKernel(): TestGuest {
  const guest = createTestGuest();
  guest.call(hypercall.set_trap_table, guest.put(13n | (0xe033n << 16n), HANDLER, 0, 0));
  guest.core.regs[4] = guest.page().address + 4096n;
  guest.core.rip = KERNEL;
  return guest;
}
/** The value read, or null for a fault. */
function read(guest: TestGuest, index: number): bigint | null {
  const { core } = guest;
  core.rip = KERNEL;
  core.regs[1] = BigInt(index);
  guest.privileged({ mnemonic: 'RDMSR', length: 2 });
  return core.rip === KERNEL + 2n ? (core.regs[2] << 32n) | core.regs[0] : null;
}
function write(guest: TestGuest, index: number, value: bigint): boolean {
  const { core } = guest;
  core.rip = KERNEL;
  core.regs[1] = BigInt(index);
  core.regs[0] = value & 0xffffffffn;
  core.regs[2] = value >> 32n;
  guest.privileged({ mnemonic: 'WRMSR', length: 2 });
  return core.rip === KERNEL + 2n;
}

describe('MSRs of a 64-bit kernel', () => {
  it.each([
    ['APIC_BASE', 0x1b, 0xfee00900n],
    ['EFER', 0xc0000080, 0xd01n],
    ['PAT', 0x277, 0x50100070406n],
    ['MCG_CAP', 0x179, 2n],
    ['MC0_CTL', 0x400, 0xffffffffffffffffn],
    ['MC0_STATUS', 0x401, 0n],
    ['PERF_CAPABILITIES', 0x345, 0n],
    ['a performance counter of family 15h', 0xc0010201, 0n],
    ['the hypercall page', 0x40000000, 0n],
    ['PLATFORM_INFO', 0xce, 0x80000000n],
    ['DEBUGCTL', 0x1d9, null],
    ['SPEC_CTRL', 0x48, null],
    ['SYSCFG', 0xc0010010, null],
    ['none', 0x40000001, null],
  ])('%s reads as it does of Xen', (_, index, value) => {
    expect(read(createKernel(), index)).toBe(value);
  });

  it.each([
    ['EFER, as it is', 0xc0000080, 0xd01n, true],
    ['EFER, another', 0xc0000080, 0xd00n, false],
    ['PAT', 0x277, 0x50100070406n, false],
    ['APIC_BASE', 0x1b, 0xfee00900n, false],
    ['TSC', 0x10, 0n, false],
    ['the patch level', 0x8b, 0n, false],
    ['the patch loader', 0xc0010020, 0n, false],
    ['HWCR', 0xc0010015, 0x40n, true],
    ['APERF', 0xe8, 0n, true],
    ['FS_BASE, not canonical', 0xc0000100, 0x800000000000n, false],
    ['GS_BASE, not canonical', 0xc0000101, 1n << 63n, false],
    ['KERNEL_GS_BASE, not canonical', 0xc0000102, 1n << 63n, false],
    ['KERNEL_GS_BASE', 0xc0000102, 0xffff880000000000n, true],
    ['MISC_FEATURES_ENABLES, a reserved bit', 0x140, 2n, false],
  ])('writing %s', (_, index, value, taken) => {
    expect(write(createKernel(), index, value)).toBe(taken);
  });

  it('the hypercall page is written where its machine address says', () => {
    const guest = createKernel();
    const { address, frame } = guest.page();
    expect(write(guest, 0x40000000, BigInt(frame) << 12n)).toBe(true);
    expect([...guest.peekBytes(address + 17n * 32n, 11)]).toEqual([
      0x51, 0x41, 0x53, 0xb8, 17, 0, 0, 0, 0x0f, 0x05, 0x41,
    ]);
    expect(write(guest, 0x40000000, (BigInt(frame) << 12n) | 1n)).toBe(false);
    expect(write(guest, 0x40000000, BigInt(guest.vcpu.kernelRoot) << 12n)).toBe(false);
    expect(write(guest, 0x40000000, 0xffff_ffff_f000n)).toBe(false);
  });

  it('CPUID faults in programs, if the kernel says so', () => {
    const guest = createKernel();
    const { core, vcpu } = guest;
    expect(write(guest, 0x140, 1n)).toBe(true);
    expect(read(guest, 0x140)).toBe(1n);
    core.rip = KERNEL;
    guest.exit({ reason: 'cpuid' });
    expect(core.rip).toBe(KERNEL);
    vcpu.userRoot = vcpu.kernelRoot;
    vcpu.guestKernel = false;
    core.rip = 0x400002n;
    vcpu.kernelSp = core.regs[4];
    guest.exit({ reason: 'cpuid' });
    expect(core.rip).toBe(HANDLER);
    expect(guest.peek(core.regs[4] + 16n)).toBe(0n);
    expect(guest.peek(core.regs[4] + 24n)).toBe(0x400000n);
  });

  it('MOV to CR2 shows in vcpu_info', () => {
    const guest = createKernel();
    guest.core.regs[3] = 0x1234567n;
    guest.privileged({ mnemonic: 'MOV_TO_CR', register: 2, gpr: 3, length: 3 });
    expect(guest.hypervisor.mmu.readU64((guest.vcpu.vcpuInfo + 16) as never)).toBe(0x1234567n);
  });
});

it('MSRs of a 32-bit kernel have nothing of long mode', () => {
  const guest = createTestGuest({ image: compatImage() });
  guest.call(hypercall.set_trap_table, guest.put(13n | (0xe019n << 16n) | (0xc0000800n << 32n), 0));
  const { core } = guest;
  const stack = guest.page().address + 4096n;
  const readable = (index: number): bigint | null => {
    core.regs[4] = stack;
    core.rip = 0xc0000100n;
    core.mode = 32;
    core.regs[1] = BigInt(index);
    guest.privileged({ mnemonic: 'RDMSR', length: 2 });
    return core.rip === 0xc0000102n ? (core.regs[2] << 32n) | core.regs[0] : null;
  };
  expect(readable(0xc0000080)).toBe(0x801n);
  expect(readable(0xc0000101)).toBeNull();
});
