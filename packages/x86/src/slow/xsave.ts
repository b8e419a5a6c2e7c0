/**
 * XSAVE, XSAVEOPT, XSAVEC and XRSTOR for x87 and SSE state, XGETBV (Intel SDM
 * vol. 1, chapter 13). State in its initial configuration counts as not in use.
 * The area that XRSTOR reads is the guest's: what the manual reserves in it is
 * refused.
 */
import { copyWords, fillFxImage, takeFxImage } from '../fx-state.js';
import { State } from '../state.js';
import { acceptFxImage, MXCSR_MASK, narrowPointers } from './fx-state.js';
import type { SlowCpu, SlowDefinition, SlowDefinitions } from './slow-cpu.js';

const VECTOR_UD = 6;
const VECTOR_NM = 7;
const VECTOR_GP = 13;
const CR0_TS = 8;
const CR4_OSXSAVE = 1 << 18;
const X87 = 1;
const SSE = 2;
/** Upper half of XCOMP_BV of a compacted area. */
const COMPACTED = 0x8000_0000;
const MXCSR_AT_RESET = 0x1f80;

/** Places in an XSAVE area, in bytes. */
const Area = { x87Registers: 32, mxcsr: 24, xmm: 160, header: 512, end: 576 } as const;
const Header = { xstateBv: 0, xcompBv: 8 } as const;

function checkOsxsave(c: SlowCpu): void {
  if (!(c.view.getUint32(c.base + State.cr4, true) & CR4_OSXSAVE)) c.raise(VECTOR_UD, -1);
}
/** The 64-byte aligned address of the area, and the components asked for that XCR0 enables. */
function enter(c: SlowCpu): { va: bigint; components: number; enabled: number } {
  checkOsxsave(c);
  if (c.view.getUint32(c.base + State.cr0, true) & CR0_TS) c.raise(VECTOR_NM, -1);
  const va = c.address();
  if (va & 63n) {
    // An address that is not canonical may be #SS, which comes before #GP for the alignment.
    if (BigInt.asUintN(64, BigInt.asIntN(48, va)) !== va) c.pageAt(va, false);
    c.raise(VECTOR_GP, 0);
  }
  const enabled = c.view.getUint32(c.base + State.xcr0, true);
  return { va, components: enabled & Number(c.regs[0]! & 0xffffffffn), enabled };
}

/** The components of an image that are not in their initial configuration. */
function inUse(image: DataView): number {
  const some = (from: number, to: number): boolean => {
    for (let at = from; at < to; at += 4) if (image.getInt32(at, true) !== 0) return true;
    return false;
  };
  const x87 = image.getUint32(0, true) !== 0x37f || some(4, Area.mxcsr) || some(Area.x87Registers, Area.xmm);
  return (x87 ? X87 : 0) | (some(Area.xmm, Area.xmm + 256) ? SSE : 0);
}

/** The state as an image, until the next one is made; what follows in the room for it is an area that was read. */
const room = new DataView(new ArrayBuffer(2 * Area.end));
const AREA_READ = Area.end;
const areaView = new DataView(room.buffer, AREA_READ);
function imageOf(c: SlowCpu): DataView {
  fillFxImage(c.view, c.base, room);
  return room;
}

/** Offset in memory of an area that can be reached as a whole: on one page, in 64-bit mode, and unwatched; else -1. */
const placeOf = (c: SlowCpu, va: bigint, write: boolean): number =>
  c.bulk && c.insn.mode === 64 && Number(va & 0xfffn) + Area.end <= 4096 ? c.pageAt(va, write) : -1;

/** `optimized`: components in their initial configuration are not written. */
const save =
  (optimized: boolean, compacted: boolean): SlowDefinition =>
  (c) => {
    const { va, components } = enter(c);
    const image = imageOf(c);
    const used = inUse(image);
    narrowPointers(c, image);
    // As processors do: the end of the header first.
    c.pageAt(va + BigInt(Area.end - 1), true);
    c.pageAt(va, true);
    const mxcsr = c.view.getUint32(c.base + State.mxcsr, true);
    // MXCSR is no part of what tells whether SSE state is in use, except to XSAVEC.
    const usedHere = compacted && mxcsr !== MXCSR_AT_RESET ? used | SSE : used;
    const written = optimized ? components & usedHere : components;
    const host = placeOf(c, va, true);
    const put = (from: number, to: number): void => {
      if (host >= 0) copyWords(image, from, c.view, host + from, to - from);
      else c.storeBytes(va + BigInt(from), new Uint8Array(image.buffer, from, to - from));
    };
    const before = c.load(va + BigInt(Area.header), 8);
    if (written & X87) {
      put(0, Area.mxcsr);
      put(Area.x87Registers, Area.xmm);
    }
    if (compacted ? written & SSE : components & SSE) put(Area.mxcsr, Area.x87Registers);
    if (written & SSE) put(Area.xmm, c.insn.mode === 64 ? Area.xmm + 256 : Area.xmm + 128);
    const kept = compacted ? 0n : before & ~BigInt(components);
    image.setBigUint64(Area.header, kept | BigInt(components & usedHere), true);
    image.setUint32(Area.header + Header.xcompBv, components, true);
    image.setUint32(Area.header + Header.xcompBv + 4, COMPACTED, true);
    put(Area.header, Area.header + (compacted ? 16 : 8));
    if (host >= 0) c.changed(va, Area.end);
  };

/** An area, read once: it is the guest's. */
function areaAt(c: SlowCpu, va: bigint): DataView {
  const host = placeOf(c, va, false);
  if (host >= 0) copyWords(c.view, host, room, AREA_READ, Area.end);
  else new Uint8Array(room.buffer, AREA_READ).set(c.loadBytes(va, Area.end));
  return areaView;
}
const restore: SlowDefinition = (c) => {
  const { va, components, enabled } = enter(c);
  c.pageAt(va + BigInt(Area.header + Header.xcompBv), false);
  const area = areaAt(c, va);
  const present = area.getUint32(Area.header, true);
  const unknown = area.getUint32(Area.header + 4, true);
  const claimed = area.getUint32(Area.header + Header.xcompBv, true);
  const form = area.getUint32(Area.header + Header.xcompBv + 4, true);
  const compacted = form === COMPACTED;
  const known = compacted ? claimed : enabled;
  if (unknown !== 0 || present & ~known || (compacted ? claimed & ~enabled : claimed | form)) c.raise(VECTOR_GP, 0);
  for (let at = Area.header + 16; at < (compacted ? Area.end : Area.header + 24); at += 4) {
    if (area.getInt32(at, true) !== 0) c.raise(VECTOR_GP, 0);
  }
  const loadsMxcsr = (components & SSE) !== 0 && (!compacted || (present & SSE) !== 0);
  if (loadsMxcsr && area.getUint32(Area.mxcsr, true) & ~MXCSR_MASK) c.raise(VECTOR_GP, 0);

  const image = imageOf(c);
  /** Takes a part of the area, or what it is without one. */
  const take = (given: boolean, from: number, to: number): void => {
    if (given) copyWords(area, from, image, from, to - from);
    else for (let at = from; at < to; at += 4) image.setInt32(at, 0, true);
  };
  if (components & X87) {
    const given = (present & X87) !== 0;
    if (given) acceptFxImage(c, area);
    take(given, 0, Area.mxcsr);
    take(given, Area.x87Registers, Area.xmm);
    if (!given) image.setUint16(0, 0x37f, true);
  }
  if (components & SSE) {
    take((present & SSE) !== 0, Area.xmm, c.insn.mode === 64 ? Area.xmm + 256 : Area.xmm + 128);
    image.setUint32(Area.mxcsr, loadsMxcsr ? area.getUint32(Area.mxcsr, true) : MXCSR_AT_RESET, true);
  }
  takeFxImage(c.view, c.base, image);
};

export const xsave: SlowDefinitions = {
  XSAVE: save(false, false),
  XSAVEOPT: save(true, false),
  XSAVEC: save(true, true),
  XRSTOR: restore,
  XGETBV: (c) => {
    checkOsxsave(c);
    const register = c.regs[1]! & 0xffffffffn;
    if (register > 1n) c.raise(VECTOR_GP, 0);
    const xcr0 = c.view.getUint32(c.base + State.xcr0, true);
    c.regs[0] = BigInt(register === 0n ? xcr0 : xcr0 & inUse(imageOf(c)));
    c.regs[2] = 0n;
  },
};
