/** Emulated writes, descriptor tables, grant entries, translations and teardown. */
import { Errno, GNTMAP, GNTST, MMUEXT } from '@paravane/abi-xen';
import type { Exit } from '@paravane/engine-api';
import { FrameType, Pte, tlbEntryOffset } from '@paravane/mmu';
import type { DomId, Maddr } from '@paravane/types';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  allocateSharedPage,
  freeSharedPage,
  handlePageFault,
  mapGrant,
  mmuextOp,
  mmuUpdate,
  putPageAndType,
  readDescriptor,
  relinquish,
  setCr3,
  setGdt,
  unmapGrant,
  updateDescriptor,
  updateVaMapping,
} from './index.js';
import { audit, BASE, createTestMachine, pte, RO, RW, type TestDomain, type TestMachine, vaOf } from './test-domain.js';

const SELF = 0x7ff0;
let machine: TestMachine;
let guest: TestDomain;
let foreignEntries = false;
const ext = (command: number, arg1: bigint | number = 0, arg2: bigint | number = 0): bigint | number =>
  guest.call(mmuextOp, guest.put(BigInt(command), BigInt(arg1), BigInt(arg2)), 1, 0, SELF);
const map = (pfn: number, value: bigint): bigint | number => guest.call(updateVaMapping, vaOf(pfn), value, 0);
/** Address of the read-only mapping of a table. */
const vaOfFrame = (mfn: number): bigint => vaOf(guest.frames.indexOf(mfn as never));

beforeEach(() => {
  machine = createTestMachine(1024);
  guest = machine.domain(1, 512);
  guest.boot(64);
  foreignEntries = false;
});
afterEach(() => {
  // oxlint-disable-next-line vitest/no-standalone-expect -- the books must balance after every case
  expect(audit(machine.machine).filter((line) => !(foreignEntries && line.includes('another owner')))).toEqual([]);
});

describe('writes to page tables', () => {
  const fault = (address: bigint, errorCode = 7): Exit =>
    ({ reason: 'exception', vector: 14, errorCode, address, length: 0, dr6: 0, instruction: null }) as Exit;
  /** The instruction at RIP stores these bytes. */
  const stores = (address: bigint, bytes: number[]): void => {
    (guest.vcpu.core as { runEmulatingStore: unknown }).runEmulatingStore = (
      _page: bigint,
      store: (at: bigint, bytes: Uint8Array) => boolean,
    ) => (store(address, Uint8Array.from(bytes)) ? null : fault(address));
  };
  const bytesOf = (value: bigint): number[] => [...new Uint8Array(new BigUint64Array([value]).buffer)];

  it('become updates of the entry where the assist is on', () => {
    const l1 = guest.path(BASE)[3]!;
    const at = vaOfFrame(l1) + 300n * 8n;
    stores(at, bytesOf(pte(guest.frames[20]!, RW)));
    expect(handlePageFault(guest.vcpu, fault(at))).toBe('bounce');
    guest.domain.vmAssist = 4;
    expect(handlePageFault(guest.vcpu, fault(at))).toBe('handled');
    expect(guest.peek(vaOf(300))).toBe(0n);
    stores(at, [0x65]);
    expect(handlePageFault(guest.vcpu, fault(at))).toBe('handled');
    expect(machine.mmu.translate(guest.vcpu.core.space, vaOf(300), 'write')).toBe(null);
  });

  it('are refused, and bounced, where the update would be', () => {
    guest.domain.vmAssist = 4;
    const [l4, , l2, l1] = guest.path(BASE) as number[] as [number, number, number, number];
    const at = vaOfFrame(l1) + 300n * 8n;
    stores(at, bytesOf(pte(l1, RW)));
    expect(handlePageFault(guest.vcpu, fault(at))).toBe('bounce');
    stores(at + 4n, bytesOf(0n));
    expect(handlePageFault(guest.vcpu, fault(at + 4n))).toBe('bounce');
    for (const table of [l4, l2]) expect(handlePageFault(guest.vcpu, fault(vaOfFrame(table)))).toBe('bounce');
    stores(at, bytesOf(0n));
    for (const code of [4, 5, 6, 0x17, 0xf]) expect(handlePageFault(guest.vcpu, fault(at, code))).toBe('bounce');
    guest.vcpu.guestKernel = false;
    expect(handlePageFault(guest.vcpu, fault(at))).toBe('bounce');
  });

  it('leave the first fault to deliver when the instruction stops for another reason', () => {
    guest.domain.vmAssist = 4;
    const at = vaOfFrame(guest.path(BASE)[3]!);
    const exit = fault(at);
    (guest.vcpu.core as { runEmulatingStore: unknown }).runEmulatingStore = () => {
      exit.vector = 17;
      exit.errorCode = 0;
      return exit;
    };
    expect(handlePageFault(guest.vcpu, exit)).toBe('bounce');
    expect(exit).toMatchObject({ vector: 14, errorCode: 7, address: at });
  });
});

describe('descriptor tables', () => {
  const CODE64 = 0x00af_9b00_0000_ffffn;
  beforeEach(() => {
    machine.mmu.writeU64((guest.frames[20]! * 4096 + 16) as Maddr, CODE64);
    map(20, pte(guest.frames[20]!, RO));
  });

  it('a GDT is typed, its descriptors raised to ring 3, and it is let go by the next one', () => {
    const list = guest.put(BigInt(guest.frames[20]!));
    expect(guest.call(setGdt, list, 16)).toBe(0);
    expect(machine.mmu.frames.type[guest.frames[20]!]).toBe(FrameType.segdesc);
    expect(readDescriptor(guest.vcpu, 0x13)).toEqual({ lo: 0xffff, hi: 0x00affb00 });
    expect(readDescriptor(guest.vcpu, 0x83)).toBe(null);
    expect(readDescriptor(guest.vcpu, 0xe033)).toEqual({ lo: 0, hi: 0x00affb00 });
    expect(map(20, pte(guest.frames[20]!, RW))).toBe(-Errno.EBUSY);
    expect(guest.call(setGdt, 0, 0)).toBe(0);
    expect(map(20, pte(guest.frames[20]!, RW))).toBe(0);
  });

  it('a GDT is refused for its size, its frames and its descriptors', () => {
    expect(guest.call(setGdt, guest.put(1n), 7169)).toBe(-Errno.EINVAL);
    expect(guest.call(setGdt, vaOf(5000), 16)).toBe(-Errno.EFAULT);
    expect(guest.call(setGdt, guest.put(BigInt(guest.frames[21]!)), 16)).toBe(-Errno.EINVAL);
    expect(guest.call(setGdt, guest.put(99_999_999n), 16)).toBe(-Errno.EINVAL);
    map(20, pte(guest.frames[20]!, RW));
    // An interrupt gate.
    machine.mmu.writeU64((guest.frames[20]! * 4096 + 24) as Maddr, 0x8e00_0000_0000n);
    map(20, pte(guest.frames[20]!, RO));
    expect(guest.call(setGdt, guest.put(BigInt(guest.frames[20]!)), 16)).toBe(-Errno.EINVAL);
  });

  it('update_descriptor checks, and writes to descriptor pages and plain ones', () => {
    const gdt = BigInt(guest.frames[20]! * 4096);
    expect(guest.call(setGdt, guest.put(BigInt(guest.frames[20]!)), 16)).toBe(0);
    expect(guest.call(updateDescriptor, gdt + 24n, CODE64)).toBe(0);
    expect(readDescriptor(guest.vcpu, 0x1b)?.hi).toBe(0x00affb00);
    expect(guest.call(updateDescriptor, gdt + 25n, CODE64)).toBe(-Errno.EINVAL);
    expect(guest.call(updateDescriptor, gdt + 24n, 0x8e00_0000_0000n)).toBe(-Errno.EINVAL);
    expect(guest.call(updateDescriptor, BigInt(guest.vcpu.kernelRoot * 4096), CODE64)).toBe(-Errno.EINVAL);
    expect(guest.call(updateDescriptor, 1n << 60n, CODE64)).toBe(-Errno.EINVAL);
    expect(guest.call(updateDescriptor, BigInt(guest.frames[30]! * 4096), CODE64)).toBe(0);
    // A call gate stays, with DPL 0.
    expect(guest.call(updateDescriptor, gdt + 32n, 0x0000_ec00_0010_0000n)).toBe(0);
    expect(readDescriptor(guest.vcpu, 0x23)?.hi).toBe(0x8c00);
  });

  it('an LDT is found when it is used, and lost with a change of its mappings', () => {
    expect(ext(MMUEXT.SET_LDT, vaOf(20), 4)).toBe(0);
    expect(readDescriptor(guest.vcpu, 0x17)?.hi).toBe(0x00affb00);
    expect(readDescriptor(guest.vcpu, 0x27)).toBe(null);
    expect(machine.mmu.frames.type[guest.frames[20]!]).toBe(FrameType.segdesc);
    expect(map(20, pte(guest.frames[20]!, RW))).toBe(-Errno.EBUSY);
    expect(map(20, 0n)).toBe(0);
    expect(guest.vcpu.mm.ldtFrames.size).toBe(0);
    expect(readDescriptor(guest.vcpu, 0x17)).toBe(null);
  });

  it("an entry of the LDT is the guest's where the same index of the GDT is Xen's", () => {
    const code = 0x0050_7800_0000_000an;
    expect(guest.call(updateDescriptor, BigInt(guest.frames[20]! * 4096 + 32), code)).toBe(0);
    expect(ext(MMUEXT.SET_LDT, vaOf(6), 8192)).toBe(0);
    expect(readDescriptor(guest.vcpu, 0xe023)?.hi).toBe(0x00cffb00);
    expect(readDescriptor(guest.vcpu, 0xe027)).toEqual({ lo: 0x0000000a, hi: 0x00507800 });
  });
});

describe('grant entries', () => {
  it('map a frame of another domain and give way to nothing else', () => {
    foreignEntries = true;
    const { mmu } = machine;
    const other = machine.domain(2, 64);
    other.boot(16);
    const frame = other.frames[9]!;
    mmu.writeU64((frame * 4096) as Maddr, 42n);
    const take = (): void => {
      mmu.frames.getRef(frame, 2 as DomId);
      mmu.frames.typeCount[frame] = mmu.frames.typeCount[frame]! + 1;
      mmu.holds.hold(1 as DomId, frame, true);
    };
    const giveBack = (): void => {
      mmu.holds.unhold(1 as DomId, frame, true);
      putPageAndType(guest.domain.mm, frame);
    };
    take();
    expect(mapGrant(guest.vcpu, vaOf(300), frame, GNTMAP.host_map)).toBe(GNTST.okay);
    expect(guest.peek(vaOf(300))).toBe(42n);
    expect(mmu.translate(guest.vcpu.core.space, vaOf(300), 'write')).not.toBe(null);
    expect(unmapGrant(guest.vcpu, vaOf(300), frame, GNTMAP.host_map | GNTMAP.readonly)).toBe(GNTST.general_error);
    expect(unmapGrant(guest.vcpu, vaOf(300), guest.frames[9]!, GNTMAP.host_map)).toBe(GNTST.general_error);
    expect(unmapGrant(guest.vcpu, vaOf(300), frame, GNTMAP.host_map, vaOf(20))).toBe(GNTST.okay);
    giveBack();
    expect(mmu.translate(guest.vcpu.core.space, vaOf(20))).toBe(null);
    expect(mmu.translate(guest.vcpu.core.space, vaOf(300))).toBe(guest.frames[20]! * 4096);

    const l1 = guest.path(BASE)[3]!;
    const entry = BigInt(l1 * 4096 + 301 * 8);
    take();
    expect(mapGrant(guest.vcpu, entry, frame, GNTMAP.host_map | GNTMAP.contains_pte)).toBe(GNTST.okay);
    expect(guest.peek(vaOf(301))).toBe(42n);
    expect(mapGrant(guest.vcpu, entry + 1n, frame, GNTMAP.contains_pte)).toBe(GNTST.general_error);
    expect(mapGrant(guest.vcpu, BigInt(guest.frames[9]! * 4096), frame, GNTMAP.contains_pte)).toBe(GNTST.general_error);
    expect(mapGrant(guest.vcpu, 1n << 50n, frame, GNTMAP.host_map)).toBe(GNTST.general_error);
    // The guest clears the entry itself: the references go with it.
    expect(guest.call(mmuUpdate, guest.put(entry, 0n), 1, 0, SELF)).toBe(0);
    expect(unmapGrant(guest.vcpu, entry, frame, GNTMAP.host_map | GNTMAP.contains_pte)).toBe(GNTST.general_error);
    mmu.holds.unhold(1 as DomId, frame, true);
  });
});

describe('translations', () => {
  /** What the core does on a miss: walk, and fill. */
  const touch = (va: bigint): void => {
    const { mmu } = machine;
    const { space } = guest.vcpu.core;
    const lo = Number(va & 0xffffffffn) | 0;
    const hi = Number(va >> 32n) | 0;
    expect(mmu.walker.walk(space, lo, hi, 1)).toBe(0);
    const { mfn, write } = mmu.walker.result;
    mmu.tlb.fill(lo, hi, mmu.tlb.tag(space.root, 0), mfn, write);
  };
  const cached = (va: bigint): { read: boolean; write: boolean } => {
    const { tlb, machine: memory } = machine.mmu;
    const tag = tlb.tag(guest.vcpu.core.space.root, 0);
    const word = (tlb.base + tlbEntryOffset(Number(va & 0xffffffffn) | 0, Number(va >> 32n) | 0, tag)) >> 2;
    return { read: memory.i32[word] !== 0, write: memory.i32[word + 2] !== 0 };
  };

  it('to a frame that becomes a table are never writable again', () => {
    touch(vaOf(20));
    expect(cached(vaOf(20))).toEqual({ read: true, write: true });
    expect(map(20, pte(guest.frames[20]!, RO))).toBe(0);
    expect(cached(vaOf(20))).toEqual({ read: true, write: false });
    expect(ext(MMUEXT.PIN_L1_TABLE, guest.frames[20]!)).toBe(0);
  });

  it('to a frame that becomes a table go at once even where the guest did not flush', () => {
    touch(vaOf(20));
    // So many changes that the next ones wait for a flush.
    for (let i = 0; i < 1200; i++) map(21, pte(guest.frames[21]!, i % 2 ? RW : RO));
    expect(map(20, pte(guest.frames[20]!, RO))).toBe(0);
    expect(cached(vaOf(20)).write).toBe(true);
    expect(ext(MMUEXT.PIN_L1_TABLE, guest.frames[20]!)).toBe(0);
    expect(cached(vaOf(20)).write).toBe(false);
    touch(vaOf(22));
    map(22, 0n);
    machine.mmu.free(guest.frames[22]!);
    expect(cached(vaOf(22)).read).toBe(false);
  });

  it('are gone when an entry goes, and survive a base pointer where nothing changed', () => {
    touch(vaOf(20));
    touch(vaOf(21));
    expect(ext(MMUEXT.NEW_BASEPTR, guest.vcpu.kernelRoot)).toBe(0);
    expect(cached(vaOf(21)).read).toBe(true);
    expect(map(20, 0n)).toBe(0);
    expect(cached(vaOf(20)).read).toBe(false);
    expect(cached(vaOf(21)).read).toBe(true);
    // A table that goes takes everything with it at the next load.
    guest.domain.mmu.copy(guest.frames[30]!, guest.vcpu.kernelRoot);
    map(30, pte(guest.frames[30]!, RO));
    expect(ext(MMUEXT.PIN_L4_TABLE, guest.frames[30]!)).toBe(0);
    expect(ext(MMUEXT.UNPIN_TABLE, guest.frames[30]!)).toBe(0);
    expect(ext(MMUEXT.NEW_BASEPTR, guest.vcpu.kernelRoot)).toBe(0);
    expect(cached(vaOf(21)).read).toBe(false);
  });

  it('lose the right to write with the dirty bit, so that it is set again', () => {
    touch(vaOf(20));
    expect(map(20, pte(guest.frames[20]!, RW & ~Pte.dirty))).toBe(0);
    expect(cached(vaOf(20)).write).toBe(false);
  });
});

describe('modes and roots', () => {
  it('kernel and user have their own tables; MOV to CR3 is a base pointer', () => {
    guest.domain.mmu.copy(guest.frames[30]!, guest.vcpu.kernelRoot);
    map(30, pte(guest.frames[30]!, RO));
    expect(ext(MMUEXT.NEW_USER_BASEPTR, guest.frames[30]!)).toBe(0);
    guest.vcpu.guestKernel = !guest.vcpu.guestKernel;
    expect(guest.vcpu.core.space.root).toBe(guest.frames[30]);
    guest.vcpu.guestKernel = !guest.vcpu.guestKernel;
    expect(setCr3(guest.vcpu, BigInt(guest.frames[30]!) << 12n)).toBe('done');
    expect(guest.vcpu.core.space.root).toBe(guest.frames[30]);
    expect(setCr3(guest.vcpu, BigInt(guest.frames[31]!) << 12n)).toBe('refused');
    expect(setCr3(guest.vcpu, 1n << 60n)).toBe('refused');
  });

  it('the M2P is hidden from a user root under m2p_strict', () => {
    guest.domain.m2pStrict = true;
    guest.domain.mmu.copy(guest.frames[30]!, guest.vcpu.kernelRoot);
    map(30, pte(guest.frames[30]!, RO));
    expect(ext(MMUEXT.NEW_USER_BASEPTR, guest.frames[30]!)).toBe(0);
    guest.vcpu.guestKernel = !guest.vcpu.guestKernel;
    expect(machine.mmu.translate(guest.vcpu.core.space, 0xffff_8000_0000_0000n)).toBe(null);
    guest.vcpu.guestKernel = !guest.vcpu.guestKernel;
    expect(machine.mmu.translate(guest.vcpu.core.space, 0xffff_8000_0000_0000n)).not.toBe(null);
  });
});

describe('pages shared by the hypervisor', () => {
  it('may be mapped, never become tables, and are not freed by the guest', () => {
    const page = allocateSharedPage(guest.domain);
    expect(map(300, pte(page, RW))).toBe(0);
    expect(ext(MMUEXT.PIN_L1_TABLE, page)).toBe(-Errno.EINVAL);
    machine.mmu.free(page as never);
    map(300, 0n);
    expect(machine.mmu.frames.owner[page]).toBe(1);
    freeSharedPage(guest.domain, page as never);
    expect(machine.mmu.frames.owner[page]).toBe(-1);
  });
});

describe('a table written past these rules', () => {
  it('costs nobody else a frame when it is taken apart', () => {
    const other = machine.domain(2, 64);
    other.boot(16);
    const { frames } = machine.mmu;
    const l1 = guest.path(BASE)[3]!;
    const victims = [other.frames[9]!, other.vcpu.kernelRoot, 1023, 0xfffff];
    const counts = (): unknown[] =>
      victims.map((mfn) => [frames.owner[mfn], frames.refCount[mfn], frames.typeCount[mfn]]);
    const before = counts();
    victims.forEach((mfn, i) => {
      machine.mmu.writeU64((l1 * 4096 + (300 + i) * 8) as Maddr, pte(mfn, RW));
      machine.mmu.writeU64((guest.path(BASE)[2]! * 4096 + (300 + i) * 8) as Maddr, pte(mfn, RW));
    });
    relinquish(guest.domain);
    expect(counts()).toEqual(before);
    guest = other;
  });
});

describe('teardown', () => {
  it('gives every frame back, tables in a circle and all', () => {
    const { frames } = machine.mmu;
    const other = machine.domain(2, 64);
    const free = frames.freeCount;
    other.boot(16);
    guest.call(setGdt, guest.put(0n), 0);
    guest = other;
    const l4 = other.vcpu.kernelRoot;
    expect(other.call(mmuUpdate, other.put(BigInt(l4 * 4096 + 300 * 8), pte(l4, RO)), 1, 0, SELF)).toBe(0);
    other.domain.mmu.copy(other.frames[2]!, l4);
    other.call(updateVaMapping, vaOf(2), pte(other.frames[2]!, RO), 0);
    expect(ext(MMUEXT.PIN_L4_TABLE, other.frames[2]!)).toBe(0);
    relinquish(other.domain);
    expect(frames.freeCount).toBe(free);
    expect(other.domain.totPages).toBe(0);
  });
});
