/** A 32-bit kernel and its program on the real core: what ring 1 may, what ring 3 may not, and the ways between. */
import { hypercall } from '@paravane/abi-xen';
import { createMmu, Pte } from '@paravane/mmu';
import type { Maddr } from '@paravane/types';
import { CORE_BYTES, createX86Engine } from '@paravane/x86';
import { expect, it } from 'vitest';
import { COMPAT_BASE, compatImage } from './testing/compat-image.js';
import { createTestGuest, createTestHypervisor } from './testing/test-machine.js';

const le32 = (value: number | bigint): number[] => {
  const word = Number(BigInt.asUintN(32, BigInt(value)));
  return [word & 255, (word >>> 8) & 255, (word >>> 16) & 255, word >>> 24];
};
const movEax = (value: number): number[] => [0xb8, ...le32(value)];
const loadEax = (address: bigint): number[] => [0xa1, ...le32(address)];
const storeEax = (address: bigint): number[] => [0xa3, ...le32(address)];
const storeWord = (address: bigint, value: number): number[] => [0xc7, 0x05, ...le32(address), ...le32(value)];
const push = (value: number | bigint): number[] => [0x68, ...le32(value)];
const INT_82 = [0xcd, 0x82];
const INT_80 = [0xcd, 0x80];
const IRET = 0xcf;
const HLT = 0xf4;

it('runs hypercalls, table writes, a program, its faults and its system calls', () => {
  const mmu = createMmu({ frames: 4096, coreBytes: CORE_BYTES });
  const on = createTestHypervisor({ mmu, engine: createX86Engine({ mmu }) });
  const guest = createTestGuest({ image: compatImage() }, on);
  const { core, vcpu, personality } = guest;
  const data = guest.page().address;
  const stack = guest.page().address + 4096n;
  const user = guest.page();
  const target = guest.page();
  const words = (...values: (number | bigint)[]): bigint =>
    guest.putBytes(new Uint8Array(Uint32Array.from(values.map(Number)).buffer));
  const map = (page: { address: bigint; frame: number }, flags: number): void =>
    expect(guest.call(hypercall.update_va_mapping, page.address, (page.frame << 12) | flags, 0, 2)).toBe(0n) as never;

  // Handlers of page faults, INT 80 and #GP, behind the kernel's code.
  const handlers = COMPAT_BASE + 0x800n;
  const [pageFault, systemCall, end] = [handlers, handlers + 0x40n, handlers + 0x80n];
  const table = words(
    14 | (0xe019 << 16),
    pageFault,
    0x380 | (0xe019 << 16),
    systemCall,
    13 | (0xe019 << 16),
    end,
    0,
    0,
  );
  expect(guest.call(hypercall.set_trap_table, table)).toBe(0n);
  expect(guest.call(hypercall.stack_switch, 0xe021, stack)).toBe(0n);
  expect(guest.call(hypercall.vm_assist, 0, 2)).toBe(0n);
  // FS: a base that only a negative offset leads to the data from, as thread-local storage has it.
  const base = data + 0x100n;
  const gdt = guest.page();
  const descriptor = 0x00cfb2000000ffffn | (((base & 0xffffffn) << 16n) & 0xffffff0000n) | ((base >> 24n) << 56n);
  mmu.writeU64((gdt.frame * 4096 + 8) as Maddr, descriptor);
  map(gdt, Pte.present);
  expect(guest.call(hypercall.set_gdt, words(gdt.frame), 512)).toBe(0n);

  // The L1 entry of `target`, through the read-only mapping of its table.
  const entryOf = (address: bigint): bigint => {
    const root = vcpu.kernelRoot;
    const at = (frame: number, index: bigint): number =>
      Number((mmu.readU64((frame * 4096 + Number(index) * 8) as Maddr) >> 12n) & 0xfffffn);
    const l1 = at(at(root, address >> 30n), (address >> 21n) & 511n);
    const pfn = new DataView(guest.peekBytes(0xf5800000n + BigInt(l1 * 4), 4).buffer).getUint32(0, true);
    return COMPAT_BASE + BigInt(pfn * 4096) + ((address >> 12n) & 511n) * 8n;
  };
  const entry = entryOf(target.address);

  map(user, Pte.present | Pte.rw | Pte.user);
  const kernelCode = [
    ...movEax(hypercall.xen_version),
    ...[0x31, 0xdb],
    ...INT_82,
    ...storeEax(data),
    ...movEax(9),
    ...[0x8e, 0xe0],
    ...[0x64, 0xa1, ...le32(-0x100)],
    ...storeEax(data + 4n),
    // Both halves of the entry, the upper one first: no execution, then read-only.
    ...storeWord(entry + 4n, 0x80000000),
    ...storeWord(entry, (target.frame << 12) | Pte.present),
    ...movEax(0xe033),
    ...[0x8e, 0xd8],
    ...push(0xe033),
    ...push(user.address + 4096n),
    ...push(0x202),
    ...push(0xe02b),
    ...push(user.address),
    ...push(0),
    ...movEax(hypercall.iret),
    ...INT_82,
  ];
  const userCode = [...[0x8c, 0xc8], ...storeEax(user.address + 0x800n), ...loadEax(data), ...INT_82];
  // Behind the refused hypercall, where #GP is told to go on.
  const rest = [...INT_80, HLT];
  const write = (address: bigint, bytes: number[]): void =>
    expect(mmu.writeVirtual({ ...core.space, user: false }, address, Uint8Array.from(bytes))).toBe(true) as never;
  write(COMPAT_BASE, kernelCode);
  write(user.address, userCode);
  write(user.address + 0x100n, rest);
  // pop the error code, keep it, step over the load, return.
  write(pageFault, [0x58, ...storeEax(data + 8n), 0x83, 0x04, 0x24, 5, IRET]);
  write(systemCall, [...storeWord(data + 12n, 0x80), IRET]);
  write(end, [0x90]);

  core.regs[4] = stack - 2048n;
  core.rip = COMPAT_BASE;
  const runTo = (stop: bigint): void => {
    for (let step = 0; step < 200 && core.rip !== stop && guest.pv.domain.state === 'running'; step++) {
      const exit = core.run(1);
      if (exit.reason !== 'budget') personality.handleExit(vcpu.hv, exit);
    }
    expect(core.rip).toBe(stop);
  };
  const seen = (address: bigint): number => new DataView(guest.peekBytes(address, 4).buffer).getUint32(0, true);

  runTo(end);
  expect(seen(data)).toBe(0x40011);
  expect(seen(data + 4n)).toBe(0x40011);
  expect(mmu.translate(core.space, target.address, 'write')).toBeNull();
  expect(mmu.translate(core.space, target.address, 'fetch')).toBeNull();
  expect(mmu.translate(core.space, target.address)).toBe(target.frame * 4096);
  expect(seen(user.address + 0x800n)).toBe(0xe02b);
  // The program read the kernel's page: present, and not for users.
  expect(seen(data + 8n)).toBe(5);
  // INT 82 of a program is #GP with the vector in its error code.
  expect(seen(core.regs[4]!)).toBe(0x82 * 8 + 2);
  expect(seen(core.regs[4]! + 8n)).toBe(0xe02b);

  write(end, [0x83, 0xc4, 4, 0xc7, 0x04, 0x24, ...le32(user.address + 0x100n), IRET]);
  core.run(0);
  runTo(user.address + 0x100n);
  expect(core.space.user).toBe(true);
  runTo(user.address + 0x102n);
  expect(seen2(data + 12n)).toBe(0x80);
  runTo(end);
  expect(core.selectors[1]).toBe(0xe019);

  function seen2(address: bigint): number {
    const maddr = mmu.translate({ ...core.space, user: false }, address);
    return mmu.readU32(maddr as Maddr);
  }
});
