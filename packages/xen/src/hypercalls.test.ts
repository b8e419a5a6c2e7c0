import { Errno, hypercall, SCHEDOP, VCPUOP, XEN_PVCLOCK_TSC_STABLE_BIT } from '@paravane/abi-xen';
import { describe, expect, it } from 'vitest';
import { createTestGuest } from './testing/test-machine.js';

describe('hypercalls of a PV64 kernel', () => {
  it('answer version and features as Xen 4.17 does', () => {
    const guest = createTestGuest();
    expect(guest.call(hypercall.xen_version, 0)).toBe(0x40011n);
    const info = guest.put(0);
    expect(guest.call(hypercall.xen_version, 6, info)).toBe(0n);
    expect(guest.peek(info) >> 32n).toBe(0x220e0n);
  });

  it('say ENOSYS for numbers that mean nothing', () => {
    const guest = createTestGuest();
    for (const number of [11, 38, 43, 55, 63, 64, 1000]) expect(guest.call(number)).toBe(-38n);
    expect(guest.call(2 ** 53)).toBe(-38n);
  });

  it('leave the return address and the flags in RCX and R11', () => {
    const guest = createTestGuest();
    guest.core.rip = 0x1234n;
    guest.call(hypercall.xen_version, 0);
    expect(guest.core.regs[1]).toBe(0x1234n);
    expect(guest.core.regs[11]).toBe(0x202n);
  });

  it('leave flat selectors in CS and SS, as SYSCALL does', () => {
    const guest = createTestGuest();
    guest.core.selectors[1] = 0x4b;
    guest.core.selectors[2] = 0x43;
    guest.call(hypercall.xen_version, 0);
    expect([...guest.core.selectors].slice(1, 3)).toEqual([0xe033, 0xe02b]);
  });

  it('shut the domain down', () => {
    const guest = createTestGuest();
    expect(guest.call(hypercall.sched_op, SCHEDOP.shutdown, guest.put(1))).toBe(0n);
    expect(guest.pv.domain.state).toBe('shutdown');
    expect(guest.pv.domain.shutdownRecord?.reason).toBe('reboot');
  });

  it('run in a batch, each with its own result', () => {
    const guest = createTestGuest();
    const list = guest.put(17, 0, 0, 0, 0, 0, 0, 0, 63, 0, 0, 0, 0, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0);
    expect(guest.call(hypercall.multicall, list, 3)).toBe(0n);
    expect(guest.peek(list + 8n)).toBe(0x40011n);
    expect(BigInt.asIntN(64, guest.peek(list + 72n))).toBe(BigInt(-Errno.ENOSYS));
    expect(BigInt.asIntN(64, guest.peek(list + 136n))).toBe(BigInt(-Errno.EINVAL));
  });

  it('end a batch by a return, whose RAX is a result too', () => {
    const guest = createTestGuest();
    const { core } = guest;
    core.regs[4] = guest.put(
      0x1_8000_0001n,
      0,
      0,
      0,
      0xffffffff80000777n,
      0xe030n,
      0x202,
      0xffffffff80005000n,
      0xe028n,
    );
    const list = guest.put(hypercall.iret, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0x77, 0, 0, 0, 0, 0);
    guest.call(hypercall.multicall, list, 2);
    expect([core.rip, core.regs[0]]).toEqual([0xffffffff80000777n, 0xffff_ffff_8000_0001n]);
    expect(guest.peek(list + 8n)).toBe(0x1_8000_0001n);
    expect(guest.peek(list + 72n)).toBe(0n);
  });

  it('say no more of the command line than that it is denied', () => {
    const guest = createTestGuest();
    const place = guest.putBytes(new Uint8Array(16).fill(0xff));
    expect(guest.call(hypercall.xen_version, 9, place)).toBe(0n);
    const want = [...new TextEncoder().encode('<denied>'), 0, ...Array.from({ length: 7 }, () => 0xff)];
    expect([...guest.peekBytes(place, 16)]).toEqual(want);
  });

  it('refuse what only the control domain may', () => {
    const guest = createTestGuest();
    expect(guest.call(hypercall.console_io, 0, 5, guest.put(0))).toBe(-1n);
    const call = (number: number, command: number, version: number, domid = 0): bigint =>
      guest.call(
        number,
        guest.put(BigInt(command) | (BigInt(version) << 32n), domid, ...Array.from({ length: 20 }, () => 0)),
      );
    for (const number of [hypercall.domctl, hypercall.sysctl]) {
      expect(call(number, 1, 0x15)).toBe(-1n);
      expect(call(number, 1, 0x14)).toBe(-13n);
      expect(guest.call(number, 0x10000)).toBe(-14n);
    }
    expect(call(hypercall.domctl, 5, 0x15, 77)).toBe(-3n);
    expect(call(hypercall.domctl, 5, 0x15, guest.pv.domain.id)).toBe(-1n);
    expect(call(hypercall.platform_op, 17, 0x03000000)).toBe(-1n);
    expect(call(hypercall.platform_op, 17, 0x15)).toBe(-13n);
  });

  it('tell that the time-stamp counter is stable', () => {
    const guest = createTestGuest();
    const area = guest.put(0, 0, 0, 0);
    expect(guest.call(hypercall.vcpu_op, VCPUOP.register_vcpu_time_memory_area, 0, guest.put(area))).toBe(0n);
    expect((guest.peek(area + 24n) >> 40n) & 0xffn).toBe(BigInt(XEN_PVCLOCK_TSC_STABLE_BIT));
  });

  it('set no breakpoint in Xen, and read what was set', () => {
    const guest = createTestGuest();
    for (const address of [0xffff800000000000n, 0x800000000000n]) {
      expect(guest.call(hypercall.set_debugreg, 0, address)).toBe(-1n);
    }
    expect(guest.call(hypercall.set_debugreg, 0, 0x1234n)).toBe(0n);
    expect(guest.call(hypercall.get_debugreg, 0)).toBe(0x1234n);
    expect(guest.call(hypercall.set_debugreg, 7, 1n << 32n)).toBe(-22n);
  });

  it('bring no vCPU up that was not initialised', () => {
    const guest = createTestGuest({ vcpus: 2 });
    expect(guest.call(hypercall.vcpu_op, VCPUOP.is_up, 0)).toBe(1n);
    expect(guest.call(hypercall.vcpu_op, VCPUOP.is_up, 1)).toBe(0n);
    expect(guest.call(hypercall.vcpu_op, VCPUOP.is_up, 2)).toBe(-2n);
    expect(guest.call(hypercall.vcpu_op, VCPUOP.up, 1)).toBe(-22n);
  });
});
