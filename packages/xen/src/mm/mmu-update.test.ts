import { Errno, MMU, MMUEXT } from '@paravane/abi-xen';
import { FrameFlag, FrameType, Pte } from '@paravane/mmu';
import type { Maddr } from '@paravane/types';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mmuextOp, mmuUpdate, updateVaMapping, updateVaMappingOtherdomain } from './index.js';
import { audit, BASE, createTestMachine, pte, RO, RW, type TestDomain, type TestMachine, vaOf } from './test-domain.js';

const SELF = 0x7ff0;
let machine: TestMachine;
let guest: TestDomain;
const entryAt = (va: bigint): bigint => BigInt(guest.path(va).at(3)! * 4096 + Number((va >> 12n) & 511n) * 8);
const update = (ptr: bigint, value: bigint, foreign = SELF): bigint | number =>
  guest.call(mmuUpdate, guest.put(ptr, value), 1, 0, foreign);
const ext = (command: number, arg1: bigint | number = 0, arg2: bigint | number = 0): bigint | number =>
  guest.call(mmuextOp, guest.put(BigInt(command), BigInt(arg1), BigInt(arg2)), 1, 0, SELF);

beforeEach(() => {
  machine = createTestMachine(1024);
  guest = machine.domain(1, 512);
  guest.boot(64);
});
afterEach(() => expect(audit(machine.machine)).toEqual([]));

describe('mmu_update', () => {
  it('maps, remaps and unmaps a page, marking user pages global and kernel pages by bit 52', () => {
    const va = vaOf(300);
    expect(update(entryAt(va), pte(guest.frames[20]!, RW))).toBe(0);
    expect(guest.peek(va)).toBe(0n);
    expect(machine.mmu.readU64(Number(entryAt(va)) as Maddr)).toBe(pte(guest.frames[20]!, RW | Pte.global));
    expect(update(entryAt(va), pte(guest.frames[21]!, Pte.present))).toBe(0);
    expect(machine.mmu.readU64(Number(entryAt(va)) as Maddr) & ~0x60n).toBe(
      pte(guest.frames[21]!, Pte.present | Pte.user) | (1n << 52n),
    );
    expect(update(entryAt(va), 0n)).toBe(0);
    expect(machine.mmu.translate(guest.vcpu.core.space, va)).toBe(null);
  });

  it('refuses a writable mapping of a table with EBUSY, and a read-only one not', () => {
    const l1 = guest.path(BASE)[3]!;
    expect(update(entryAt(vaOf(300)), pte(l1, RW))).toBe(-Errno.EBUSY);
    expect(update(entryAt(vaOf(300)), pte(l1, RO))).toBe(0);
  });

  it('gives the errors of Xen for frames that are not the domain’s', () => {
    const other = machine.domain(2, 16);
    other.boot(8);
    const at = entryAt(vaOf(300));
    expect(update(at, pte(other.frames[3]!, RO))).toBe(-Errno.EBUSY);
    expect(update(at, pte(1023, RO))).toBe(-Errno.EBUSY);
    expect(update(at, pte(1024, RO))).toBe(-Errno.EPERM);
    expect(update(at, pte(0xff_ffff_ffff, RO))).toBe(-Errno.EINVAL);
    expect(update(at, pte(guest.frames[9]!, RO), 2)).toBe(-Errno.EPERM);
    expect(update(at, pte(guest.frames[9]!, RO), 3)).toBe(-Errno.ESRCH);
    expect(update(at, pte(guest.frames[9]!, RO), 1)).toBe(-Errno.ESRCH);
    expect(update(at, pte(guest.frames[9]!, RO), 0x7ff1)).toBe(-Errno.EBUSY);
    expect(update(at, pte(0x5000, RO), 0x7ff1)).toBe(-Errno.EPERM);
    expect(update(BigInt(other.frames[3]! * 4096), 0n)).toBe(-Errno.EINVAL);
    expect(update(at | BigInt(MMU.MACHPHYS_UPDATE), 7n, 2)).toBe(-Errno.EPERM);
    // The pages of devices may be named, but none are in the M2P.
    expect(update(BigInt(MMU.MACHPHYS_UPDATE), 7n, 0x7ff1)).toBe(-Errno.EINVAL);
  });

  it('refuses bits that are not a guest’s, and unknown commands', () => {
    const at = entryAt(vaOf(300));
    for (const bit of [Pte.pwt, Pte.pcd, Pte.pse])
      expect(update(at, pte(guest.frames[20]!, RO | bit))).toBe(-Errno.EINVAL);
    expect(update(at | 4n, 0n)).toBe(-Errno.ENOSYS);
    const l2 = BigInt(guest.path(BASE)[2]! * 4096 + 400 * 8);
    expect(update(l2, pte(guest.frames[20]!, RW | Pte.pse))).toBe(-Errno.EINVAL);
    expect(update(l2, pte(guest.frames[20]!, RW | Pte.global))).toBe(-Errno.EINVAL);
    expect(update(BigInt(guest.vcpu.kernelRoot * 4096 + 256 * 8), 0n)).toBe(-Errno.EINVAL);
  });

  it('writes plain data to a frame that is no table', () => {
    expect(update(BigInt(guest.frames[20]! * 4096 + 0x18), 0x1234n)).toBe(0);
    expect(guest.peek(vaOf(20) + 0x18n)).toBe(0x1234n);
  });

  it('keeps accessed and dirty bits when asked to', () => {
    const at = entryAt(vaOf(20));
    guest.peek(vaOf(20));
    expect(
      update(at | BigInt(MMU.PT_UPDATE_PRESERVE_AD), pte(guest.frames[20]!, Pte.present | Pte.rw | Pte.user)),
    ).toBe(0);
    expect(machine.mmu.readU64(Number(at) as Maddr) & 0x60n).toBe(0x60n);
  });

  it('writes back how many entries were done before the first error', () => {
    const at = entryAt(vaOf(300));
    const done = guest.put(99n);
    const list = guest.put(
      at,
      pte(guest.frames[20]!, RO),
      at + 8n,
      pte(guest.frames[21]!, RO),
      at + 16n,
      pte(0x5000, RO),
      at,
      0n,
    );
    expect(guest.call(mmuUpdate, list, 4, done, SELF)).toBe(-Errno.EPERM);
    expect(guest.peek(done)).toBe(2n);
    expect(guest.call(mmuUpdate, vaOf(200), 2, done, SELF)).toBe(-Errno.EFAULT);
    expect(guest.call(mmuUpdate, 0xffff_8000_0000_0000n, 1, done, SELF)).toBe(-Errno.EFAULT);
    // An owner that is nobody is found out when the count is known to be 0.
    expect(guest.call(mmuUpdate, list, 4, done, 99)).toBe(-Errno.ESRCH);
    expect(guest.peek(done)).toBe(0n);
  });

  it('marks the entries of an L4 as accessed', () => {
    const [l4, l3] = guest.path(BASE) as number[] as [number, number];
    const at = BigInt(l4 * 4096 + 273 * 8);
    expect(update(at, pte(l3, Pte.present | Pte.rw))).toBe(0);
    expect(machine.mmu.readU64(Number(at) as Maddr)).toBe(pte(l3, RW & ~Pte.dirty));
    expect(update(at, 0n)).toBe(0);
  });

  it('sets the M2P, which the guest reads at its fixed address and cannot write', () => {
    const mfn = guest.frames[20]!;
    expect(update(BigInt(mfn * 4096) | BigInt(MMU.MACHPHYS_UPDATE), 20n)).toBe(0);
    const va = 0xffff_8000_0000_0000n + BigInt(mfn * 8);
    expect(guest.peek(va)).toBe(20n);
    expect(machine.mmu.translate(guest.vcpu.core.space, va, 'write')).toBe(null);
    expect(guest.peek(va + 8n)).not.toBe(20n);
  });
});

describe('update_va_mapping', () => {
  it('changes the entry of an address and flushes', () => {
    expect(guest.call(updateVaMapping, vaOf(300), pte(guest.frames[20]!, RO), 2)).toBe(0);
    expect(guest.peek(vaOf(300))).toBe(0n);
    expect(guest.call(updateVaMapping, vaOf(300), 0, 1)).toBe(0);
    expect(machine.mmu.translate(guest.vcpu.core.space, vaOf(300))).toBe(null);
  });
  it('fails with EINVAL where there is no L1, and in Xen’s range', () => {
    expect(guest.call(updateVaMapping, 0x1000, pte(guest.frames[20]!, RO), 0)).toBe(-Errno.EINVAL);
    expect(guest.call(updateVaMapping, 0xffff_8000_0000_0000n, 0, 0)).toBe(-Errno.EINVAL);
    expect(guest.call(updateVaMappingOtherdomain, vaOf(20), 0, 0, 5)).toBe(-Errno.ESRCH);
    expect(guest.call(updateVaMappingOtherdomain, vaOf(20), 0, 0, 0x7ff1)).toBe(-Errno.EPERM);
  });
});

describe('types', () => {
  /** Takes the writable mapping of a page away. */
  const protect = (pfn: number): void =>
    void expect(guest.call(updateVaMapping, vaOf(pfn), pte(guest.frames[pfn]!, RO), 2)).toBe(0);

  it('pins an L1 only once it is mapped writable nowhere', () => {
    expect(ext(MMUEXT.PIN_L1_TABLE, guest.frames[20]!)).toBe(-Errno.EINVAL);
    protect(20);
    expect(ext(MMUEXT.PIN_L1_TABLE, guest.frames[20]!)).toBe(0);
    expect(ext(MMUEXT.PIN_L1_TABLE, guest.frames[20]!)).toBe(-Errno.EINVAL);
    expect(ext(MMUEXT.PIN_L2_TABLE, guest.frames[20]!)).toBe(-Errno.EINVAL);
    expect(guest.call(updateVaMapping, vaOf(20), pte(guest.frames[20]!, RW), 2)).toBe(-Errno.EBUSY);
    expect(ext(MMUEXT.UNPIN_TABLE, guest.frames[20]!)).toBe(0);
    expect(ext(MMUEXT.UNPIN_TABLE, guest.frames[20]!)).toBe(-Errno.EINVAL);
    expect(guest.call(updateVaMapping, vaOf(20), pte(guest.frames[20]!, RW), 2)).toBe(0);
  });

  it('undoes everything when an entry in the middle of a tree is refused', () => {
    guest.domain.mmu.writeU64((guest.frames[20]! * 4096 + 8) as Maddr, pte(guest.frames[21]!, RW));
    guest.domain.mmu.writeU64((guest.frames[21]! * 4096 + 8) as Maddr, pte(guest.frames[30]!, RW));
    guest.domain.mmu.writeU64((guest.frames[21]! * 4096 + 16) as Maddr, pte(0x7000, RW));
    protect(20);
    protect(21);
    expect(ext(MMUEXT.PIN_L2_TABLE, guest.frames[20]!)).toBe(-Errno.EPERM);
    expect(guest.domain.mmu.frames.type[guest.frames[21]!]).toBe(FrameType.none);
  });

  it('tolerates a read-only linear entry to the table itself, not a writable one', () => {
    const l4 = guest.vcpu.kernelRoot;
    expect(update(BigInt(l4 * 4096 + 300 * 8), pte(l4, RW))).toBe(-Errno.EINVAL);
    expect(update(BigInt(l4 * 4096 + 300 * 8), pte(l4, RO))).toBe(0);
    expect(update(BigInt(l4 * 4096 + 300 * 8), 0n)).toBe(0);
  });

  it('switches base pointers, and lets go of the old root', () => {
    const old = guest.vcpu.kernelRoot;
    const copy = guest.frames[30]!;
    protect(30);
    guest.domain.mmu.copy(copy, old);
    expect(ext(MMUEXT.NEW_BASEPTR, copy)).toBe(0);
    expect(guest.vcpu.core.space.root).toBe(copy);
    expect(ext(MMUEXT.UNPIN_TABLE, old)).toBe(0);
    expect(guest.domain.mmu.frames.typeCount[old]).toBe(0);
    expect(ext(MMUEXT.NEW_BASEPTR, guest.frames[31]!)).toBe(-Errno.EINVAL);
    expect(ext(MMUEXT.NEW_USER_BASEPTR, copy)).toBe(0);
    expect(ext(MMUEXT.NEW_USER_BASEPTR, 0)).toBe(0);
  });

  it('answers the other operations as Xen does', () => {
    expect(ext(MMUEXT.CLEAR_PAGE, guest.frames[20]!)).toBe(0);
    expect(ext(MMUEXT.CLEAR_PAGE, guest.vcpu.kernelRoot)).toBe(-Errno.EINVAL);
    guest.domain.mmu.writeU64((guest.frames[20]! * 4096) as Maddr, 77n);
    expect(ext(MMUEXT.COPY_PAGE, guest.frames[21]!, guest.frames[20]!)).toBe(0);
    expect(guest.peek(vaOf(21))).toBe(77n);
    expect(ext(MMUEXT.FLUSH_CACHE)).toBe(-Errno.EACCES);
    expect(ext(MMUEXT.FLUSH_CACHE_GLOBAL)).toBe(-Errno.EINVAL);
    expect(ext(MMUEXT.MARK_SUPER)).toBe(-Errno.EOPNOTSUPP);
    expect(ext(14)).toBe(-Errno.ENOSYS);
    expect(ext(MMUEXT.SET_LDT, vaOf(20), 8193)).toBe(-Errno.EINVAL);
    expect(ext(MMUEXT.SET_LDT, vaOf(20) + 8n, 1)).toBe(-Errno.EINVAL);
    expect(ext(MMUEXT.SET_LDT, vaOf(20), 8)).toBe(0);
    expect(ext(MMUEXT.TLB_FLUSH_MULTI, 0, 0x1000)).toBe(-Errno.EINVAL);
    expect(guest.call(mmuextOp, guest.put(10n, 0n, 0n), 1, 0, 7)).toBe(-Errno.ESRCH);
  });

  it('shows a guest’s tables with their pinned flag', () => {
    expect(guest.domain.mmu.frames.flags[guest.vcpu.kernelRoot]! & FrameFlag.pinned).not.toBe(0);
  });
});

describe('the M2P', () => {
  it('comes into a table with the kernel that it is loaded for, or with m2p_strict', () => {
    const slot = (): bigint => machine.mmu.readU64((guest.frames[30]! * 4096 + 256 * 8) as Maddr);
    guest.domain.mmu.copy(guest.frames[30]!, guest.vcpu.kernelRoot);
    expect(guest.call(updateVaMapping, vaOf(30), pte(guest.frames[30]!, RO), 0)).toBe(0);
    expect(ext(MMUEXT.PIN_L4_TABLE, guest.frames[30]!)).toBe(0);
    expect(slot()).toBe(0n);
    expect(ext(MMUEXT.NEW_BASEPTR, guest.frames[30]!)).toBe(0);
    expect(slot()).not.toBe(0n);
    expect(ext(MMUEXT.NEW_BASEPTR, guest.path(BASE)[0]!)).toBe(0);
    guest.domain.m2pStrict = true;
    guest.domain.mmu.copy(guest.frames[31]!, guest.vcpu.kernelRoot);
    expect(guest.call(updateVaMapping, vaOf(31), pte(guest.frames[31]!, RO), 0)).toBe(0);
    expect(ext(MMUEXT.PIN_L4_TABLE, guest.frames[31]!)).toBe(0);
    expect(machine.mmu.readU64((guest.frames[31]! * 4096 + 256 * 8) as Maddr)).toBe(slot());
  });
});
