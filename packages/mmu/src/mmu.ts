/**
 * The MMU: machine memory, frame table, TLB and walks as one thing, and the
 * only way for anything outside the core to touch guest memory.
 *
 * Every write from here marks the frame dirty and drops code made from it.
 * Reads and writes by virtual address check rights exactly as the guest's own
 * access would.
 */
import { type DomId, type Maddr, type Mfn, PAGE_SIZE } from '@paravane/types';
import { createFrameTable, FrameFlag, type FrameTable, FrameType } from './frame-table.js';
import { createGrantHolds, type GrantHolds } from './grant-holds.js';
import { halvesOf } from './halves.js';
import { createMachineMemory, type MachineMemory, type MachineMemoryOptions } from './machine-memory.js';
import { createTlb, type Tlb } from './tlb.js';
import { AccessBit, type AddressSpace, createWalker, type Walker } from './walk.js';

export interface Mmu {
  readonly machine: MachineMemory;
  readonly frames: FrameTable;
  readonly tlb: Tlb;
  readonly walker: Walker;
  readonly holds: GrantHolds;
  /** Set by the core: code was made from these bytes of a frame; asked before each write from outside. */
  onCodeWrite: ((mfn: Mfn, offset: number, length: number) => void) | null;
  /** Nonzero for a frame that holds live translated code; such a frame never gets a write tag. */
  readonly hasCode: Uint8Array;
  /** Set by the personality: a frame goes back to the free list; its owner is still to be read. */
  onFrameFree: ((mfn: Mfn) => void) | null;

  readU8(maddr: Maddr): number;
  readU16(maddr: Maddr): number;
  readU32(maddr: Maddr): number;
  readU64(maddr: Maddr): bigint;
  writeU8(maddr: Maddr, value: number): void;
  writeU16(maddr: Maddr, value: number): void;
  writeU32(maddr: Maddr, value: number): void;
  writeU64(maddr: Maddr, value: bigint): void;
  /** A copy of `length` bytes of one frame. */
  read(mfn: Mfn, offset: number, length: number): Uint8Array;
  /** Writes within one frame. */
  write(mfn: Mfn, offset: number, bytes: Uint8Array): void;
  clear(mfn: Mfn): void;
  copy(to: Mfn, from: Mfn): void;
  /** Bytes of a frame for asynchronous I/O. The frame is neither freed nor re-owned until `unpin`. */
  pin(mfn: Mfn, access: 'read' | 'write'): Uint8Array;
  unpin(mfn: Mfn): void;

  /** Machine address behind a linear address if the guest itself could access it so, else null. */
  translate(space: AddressSpace, va: bigint, access?: 'read' | 'write' | 'fetch'): Maddr | null;
  /** Copies from guest linear memory (page by page); null if any byte is not readable there. */
  readVirtual(space: AddressSpace, va: bigint, length: number): Uint8Array | null;
  /** Copies to guest linear memory; false, with nothing written, if any byte is not writable there. */
  writeVirtual(space: AddressSpace, va: bigint, bytes: Uint8Array): boolean;

  /** Drops the owner's reference to a frame; every translation to it is gone when this returns. */
  free(mfn: Mfn): void;
  /** Passes a frame on with its contents. Only its owner's reference may be left; every translation to it is gone. */
  give(mfn: Mfn, to: DomId): void;
}

export function createMmu(options: MachineMemoryOptions): Mmu {
  const machine = createMachineMemory(options);
  const { u8, view, frameBase } = machine;
  const tlb = createTlb(machine);
  const holds = createGrantHolds();
  const at = (mfn: number): number => frameBase + mfn * PAGE_SIZE;
  const hasCode = new Uint8Array(machine.memory.buffer, machine.reserveForFrames(1), machine.frames);
  const frames = createFrameTable(
    machine,
    (mfn) => u8.fill(0, at(mfn), at(mfn) + PAGE_SIZE),
    (mfn) => {
      aboutToWrite(mfn, 0, PAGE_SIZE);
      tlb.dropFrame(mfn);
      mmu.onFrameFree?.(mfn);
    },
  );
  const walker = createWalker(machine, frames, holds);

  function aboutToWrite(mfn: number, offset: number, length: number): void {
    frames.flags[mfn] = frames.flags[mfn]! | FrameFlag.dirty;
    if (hasCode[mfn] !== 0) mmu.onCodeWrite?.(mfn as Mfn, offset, length);
  }
  const touch = (maddr: number, length: number): number => {
    aboutToWrite(Math.floor(maddr / PAGE_SIZE), maddr % PAGE_SIZE, length);
    return frameBase + maddr;
  };
  function translate(space: AddressSpace, va: bigint, access: 'read' | 'write' | 'fetch' = 'read'): Maddr | null {
    const halves = halvesOf(va);
    const lo = halves[0]!;
    const hi = halves[1]!;
    // Bits 47 to 63 must be alike.
    const top = hi >> 15;
    if (top !== 0 && top !== -1) return null;
    const bits = access === 'write' ? AccessBit.write : access === 'fetch' ? AccessBit.fetch : 0;
    if (walker.walk(space, lo, hi, bits) !== 0) return null;
    return (walker.result.mfn * PAGE_SIZE + (lo & 0xfff)) as Maddr;
  }
  /** Machine pieces of a linear range, or null if one of its pages can't be accessed so. */
  function pieces(space: AddressSpace, va: bigint, length: number, access: 'read' | 'write'): [Maddr, number][] | null {
    const list: [Maddr, number][] = [];
    for (let done = 0; done < length; ) {
      const maddr = translate(space, va + BigInt(done), access);
      if (maddr === null) return null;
      const piece = Math.min(length - done, PAGE_SIZE - (maddr % PAGE_SIZE));
      list.push([maddr, piece]);
      done += piece;
    }
    return list;
  }

  const mmu: Mmu = {
    machine,
    frames,
    tlb,
    walker,
    holds,
    onCodeWrite: null,
    hasCode,
    onFrameFree: null,
    readU8: (maddr) => u8[frameBase + maddr]!,
    readU16: (maddr) => view.getUint16(frameBase + maddr, true),
    readU32: (maddr) => view.getUint32(frameBase + maddr, true),
    readU64: (maddr) => view.getBigUint64(frameBase + maddr, true),
    writeU8: (maddr, value) => view.setUint8(touch(maddr, 1), value),
    writeU16: (maddr, value) => view.setUint16(touch(maddr, 2), value, true),
    writeU32: (maddr, value) => view.setUint32(touch(maddr, 4), value, true),
    writeU64: (maddr, value) => view.setBigUint64(touch(maddr, 8), value, true),
    read: (mfn, offset, length) => u8.slice(at(mfn) + offset, at(mfn) + offset + length),
    write(mfn, offset, bytes) {
      aboutToWrite(mfn, offset, bytes.length);
      u8.set(bytes, at(mfn) + offset);
    },
    clear(mfn) {
      aboutToWrite(mfn, 0, PAGE_SIZE);
      u8.fill(0, at(mfn), at(mfn) + PAGE_SIZE);
    },
    copy(to, from) {
      aboutToWrite(to, 0, PAGE_SIZE);
      u8.copyWithin(at(to), at(from), at(from) + PAGE_SIZE);
    },
    pin(mfn, access) {
      if (access === 'write') aboutToWrite(mfn, 0, PAGE_SIZE);
      frames.pin(mfn);
      return u8.subarray(at(mfn), at(mfn) + PAGE_SIZE);
    },
    unpin(mfn) {
      // The I/O may have written after code was made from the frame.
      if (hasCode[mfn] !== 0) mmu.onCodeWrite?.(mfn, 0, PAGE_SIZE);
      frames.unpin(mfn);
    },
    translate,
    readVirtual(space, va, length) {
      const first = translate(space, va, 'read');
      if (first === null && length > 0) return null;
      if (first !== null && (first % PAGE_SIZE) + length <= PAGE_SIZE) {
        return u8.slice(frameBase + first, frameBase + first + length);
      }
      const list = pieces(space, va, length, 'read');
      if (!list) return null;
      const out = new Uint8Array(length);
      let done = 0;
      for (const [maddr, piece] of list) {
        out.set(u8.subarray(frameBase + maddr, frameBase + maddr + piece), done);
        done += piece;
      }
      return out;
    },
    writeVirtual(space, va, bytes) {
      const first = translate(space, va, 'write');
      if (first === null && bytes.length > 0) return false;
      if (first !== null && (first % PAGE_SIZE) + bytes.length <= PAGE_SIZE) {
        u8.set(bytes, touch(first, bytes.length));
        return true;
      }
      const list = pieces(space, va, bytes.length, 'write');
      if (!list) return false;
      let done = 0;
      for (const [maddr, piece] of list) {
        u8.set(bytes.subarray(done, done + piece), touch(maddr, piece));
        done += piece;
      }
      return true;
    },
    free(mfn) {
      tlb.dropFrame(mfn);
      frames.release(mfn);
    },
    give(mfn, to) {
      tlb.dropFrame(mfn);
      frames.owner[mfn] = to;
      frames.type[mfn] = FrameType.none;
    },
  };
  return mmu;
}

/** The address space of nobody, for contexts before a root is loaded. */
export const emptySpace = (domid: DomId): AddressSpace => ({
  root: 0 as Mfn,
  domid,
  paging: 'long',
  user: true,
  wp: true,
  nxe: true,
  physical: null,
});
