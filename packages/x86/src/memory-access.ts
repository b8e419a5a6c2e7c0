/**
 * The guest's memory accesses that generated code can't finish itself: TLB
 * misses, accesses over two pages, stores to frames that hold code, and stores
 * that are being emulated. The last three go through a scratch area below the
 * frames: the access is done there, and `commit` carries a store on.
 */
import type { CodeMode } from '@paravane/engine-api';
import { AccessBit, type AddressSpace, type Mmu, TlbField, tlbEntryOffset, UNUSED_TAG } from '@paravane/mmu';
import type { CodeCache } from './code-cache.js';
import { MAX_LENGTH } from './decode.js';
import { SCRATCH } from './state.js';

/** Fault of the last failed access. */
export interface AccessFault {
  vector: number;
  errorCode: number;
  addressLo: number;
  addressHi: number;
}

interface Piece {
  /** Offset in memory. */
  host: number;
  mfn: number;
  length: number;
}

export type StoreHook = {
  page: bigint;
  store: (address: bigint, bytes: Uint8Array) => boolean;
  refused: boolean;
  done: boolean;
};

const wide = (lo: number, hi: number): bigint =>
  (BigInt.asUintN(32, BigInt(hi)) << 32n) | BigInt.asUintN(32, BigInt(lo));

/** Whether `bytes` bytes at a linear address are none that code of this mode can name: not canonical, or above 4 GiB. */
export function isOutside(mode: CodeMode, lo: number, hi: number, bytes: number): boolean {
  if (mode !== 64) return hi !== 0;
  const top = hi >> 15;
  return (top !== 0 && top !== -1) || (hi === 0x7fff && lo >>> 0 > 0x100000000 - bytes);
}

/** As many bytes of code as an instruction can have, or those up to the end of its page; null where none can be read. */
export function codeBytes(mmu: Mmu, space: AddressSpace, address: bigint): Uint8Array | null {
  const inPage = 4096 - Number(address & 0xfffn);
  return mmu.readVirtual(space, address, MAX_LENGTH) ?? mmu.readVirtual(space, address, Math.min(MAX_LENGTH, inPage));
}

export class MemoryAccess {
  readonly fault: AccessFault = { vector: 0, errorCode: 0, addressLo: 0, addressHi: 0 };
  hook: StoreHook | null = null;
  /** Told of each data access while data breakpoints are armed: linear address, bytes, whether it writes. */
  watch: ((va: bigint, bytes: number, write: boolean) => void) | null = null;
  /** `AccessBit.ac` where RFLAGS.AC lets the supervisor reach user pages. */
  override = 0;
  misses = 0;
  private pending: Piece[] = [];
  private pendingAddress = 0n;
  private pendingHooked = false;
  private lastMfn = 0;

  constructor(
    private readonly mmu: Mmu,
    private readonly cache: CodeCache,
  ) {}

  /**
   * Offset in memory of the page at a linear address, filling the TLB; -1 with
   * `fault` set if it can't be accessed so.
   */
  page(space: AddressSpace, tag: number, lo: number, hi: number, access: number): number {
    const { walker, tlb, machine, hasCode } = this.mmu;
    const hit = tag === UNUSED_TAG ? -1 : this.probe(tag, lo, hi, access);
    if (hit !== -1) return hit;
    this.misses++;
    const error = walker.walk(space, lo, hi, access);
    if (error !== 0) {
      this.fault.vector = 14;
      this.fault.errorCode = error & 0xffff;
      this.fault.addressLo = lo;
      this.fault.addressHi = hi;
      return -1;
    }
    const { mfn, write, read } = walker.result;
    if (tag !== UNUSED_TAG) {
      if (access & AccessBit.fetch) tlb.fillCode(lo, hi, tag, mfn);
      else if (read) tlb.fill(lo, hi, tag, mfn, write && !hasCode[mfn]);
    }
    this.lastMfn = mfn;
    return machine.frameBase + mfn * 4096;
  }

  /** Offset in memory of the page if the TLB has it with these rights, else -1. */
  private probe(tag: number, lo: number, hi: number, access: number): number {
    const { tlb, machine } = this.mmu;
    const { i32 } = machine;
    const entry = tlb.base + tlbEntryOffset(lo, hi, tag);
    const fetches = (access & AccessBit.fetch) !== 0;
    const field = fetches ? TlbField.execTag : access & AccessBit.write ? TlbField.writeTag : TlbField.readTag;
    const word = (entry + field) >> 2;
    if (i32[word] !== ((lo & ~0xfff) | tag) || i32[word + 1] !== hi) return -1;
    const addend = i32[(entry + (fetches ? TlbField.execAddend : TlbField.addend)) >> 2]!;
    const page = (addend + (lo & ~0xfff)) >>> 0;
    this.lastMfn = (page - machine.frameBase) / 4096;
    return page;
  }

  /** Offset in memory for an access of `bytes` bytes, in the scratch area if it needs `commit`; -1 for a fault. */
  translate(
    space: AddressSpace,
    tag: number,
    mode: CodeMode,
    lo: number,
    hi: number,
    bytes: number,
    write: boolean,
  ): number {
    if (isOutside(mode, lo, hi, bytes)) return this.refuse(13);
    this.watch?.(wide(lo, hi), bytes, write);
    const offset = lo & 0xfff;
    const access = (write ? AccessBit.write : 0) | this.override;
    const hooked = write && this.hook !== null && this.isHooked(lo, hi, bytes);
    const first = Math.min(bytes, 4096 - offset);
    const host = this.page(space, tag, lo, hi, hooked ? this.override : access);
    if (host === -1) return -1;
    const mfn = this.lastMfn;
    const { hasCode, machine } = this.mmu;
    if (first === bytes && !hooked && !(write && hasCode[mfn])) return host + offset;
    const pieces: Piece[] = [{ host: host + offset, mfn, length: first }];
    if (first < bytes) {
      const nextLo = ((lo & ~0xfff) + 4096) | 0;
      const nextHi = nextLo === 0 && mode === 64 ? (hi + 1) | 0 : hi;
      const second = this.page(space, tag, nextLo, nextHi, hooked ? this.override : access);
      if (second === -1) return -1;
      pieces.push({ host: second, mfn: this.lastMfn, length: bytes - first });
    }
    let at = SCRATCH;
    for (const piece of pieces) {
      machine.u8.copyWithin(at, piece.host, piece.host + piece.length);
      at += piece.length;
    }
    if (write) {
      this.pending = pieces;
      this.pendingHooked = hooked;
      if (hooked) this.pendingAddress = wide(lo, hi);
    }
    return SCRATCH;
  }

  /** Notes a fault that no page has to do with. */
  refuse(vector: number): -1 {
    this.fault.vector = vector;
    this.fault.errorCode = 0;
    return -1;
  }

  private isHooked(lo: number, hi: number, bytes: number): boolean {
    const address = wide(lo, hi);
    const last = address + BigInt(bytes - 1);
    return address >> 12n === this.hook!.page >> 12n || last >> 12n === this.hook!.page >> 12n;
  }

  /** Carries a store on from the scratch area; true if the code that runs may have changed. */
  commit(): boolean {
    const { u8 } = this.mmu.machine;
    let at = SCRATCH;
    if (this.pendingHooked) {
      const length = this.pending.reduce((sum, piece) => sum + piece.length, 0);
      const hook = this.hook!;
      hook.done = true;
      if (!hook.store(this.pendingAddress, u8.slice(SCRATCH, SCRATCH + length))) hook.refused = true;
      return true;
    }
    let changed = false;
    for (const { host, mfn, length } of this.pending) {
      u8.copyWithin(host, at, at + length);
      at += length;
      if (this.changed(host, mfn, length)) changed = true;
    }
    return changed;
  }

  private changed(host: number, mfn: number, length: number): boolean {
    return this.cache.invalidate(mfn, host & 0xfff, length);
  }

  /** Tells of bytes of a frame that were written in place. */
  written(host: number, length: number): boolean {
    const { frameBase } = this.mmu.machine;
    const mfn = Math.floor((host - frameBase) / 4096);
    return this.cache.invalidate(mfn, (host - frameBase) % 4096, length);
  }
}
