/**
 * XSAVE, XSAVEOPT, XSAVEC and XRSTOR for x87 and SSE state, XGETBV (Intel SDM
 * vol. 1, chapter 13). State in its initial configuration counts as not in use.
 * The area that XRSTOR reads is the guest's: what the manual reserves in it is
 * refused.
 */
import { readFxState, writeFxState } from '../fx-state.js';
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
const COMPACTED = 1n << 63n;
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
function inUse(image: Uint8Array): number {
  const some = (from: number, to: number): boolean => {
    for (let at = from; at < to; at++) if (image[at] !== 0) return true;
    return false;
  };
  const fcw = image[0]! | (image[1]! << 8);
  const x87 = fcw !== 0x37f || some(2, Area.mxcsr) || some(Area.x87Registers, Area.xmm);
  return (x87 ? X87 : 0) | (some(Area.xmm, Area.xmm + 256) ? SSE : 0);
}

/** `optimized`: components in their initial configuration are not written. */
const save =
  (optimized: boolean, compacted: boolean): SlowDefinition =>
  (c) => {
    const { va, components } = enter(c);
    const image = readFxState(c.view, c.base);
    const used = inUse(image);
    narrowPointers(c, new DataView(image.buffer));
    // As processors do: the end of the header first.
    c.pageAt(va + BigInt(Area.end - 1), true);
    c.pageAt(va, true);
    const header = c.loadBytes(va + BigInt(Area.header), 16);
    const mxcsr = c.view.getUint32(c.base + State.mxcsr, true);
    // MXCSR is no part of what tells whether SSE state is in use, except to XSAVEC.
    const usedHere = compacted && mxcsr !== MXCSR_AT_RESET ? used | SSE : used;
    const written = optimized ? components & usedHere : components;
    const put = (from: number, to: number): void => {
      if (to > from) c.storeBytes(va + BigInt(from), image.subarray(from, to));
    };
    if (written & X87) {
      put(0, Area.mxcsr);
      put(Area.x87Registers, Area.xmm);
    }
    if (compacted ? written & SSE : components & SSE) put(Area.mxcsr, Area.x87Registers);
    if (written & SSE) put(Area.xmm, c.insn.mode === 64 ? Area.xmm + 256 : Area.xmm + 128);
    const view = new DataView(header.buffer, header.byteOffset);
    const before = view.getBigUint64(Header.xstateBv, true);
    const kept = compacted ? 0n : before & ~BigInt(components);
    view.setBigUint64(Header.xstateBv, kept | BigInt(components & usedHere), true);
    if (compacted) view.setBigUint64(Header.xcompBv, BigInt(components) | COMPACTED, true);
    c.storeBytes(va + BigInt(Area.header), header.subarray(0, compacted ? 16 : 8));
  };

const restore: SlowDefinition = (c) => {
  const { va, components, enabled } = enter(c);
  c.pageAt(va + BigInt(Area.header + Header.xcompBv), false);
  const area = c.loadBytes(va, Area.end);
  const view = new DataView(area.buffer, area.byteOffset);
  const claimedBv = view.getBigUint64(Area.header + Header.xstateBv, true);
  const claimedComp = view.getBigUint64(Area.header + Header.xcompBv, true);
  const compacted = (claimedComp & COMPACTED) !== 0n;
  const known = compacted ? claimedComp & ~COMPACTED : BigInt(enabled);
  if (claimedBv & ~known || (compacted ? claimedComp & ~(COMPACTED | BigInt(enabled)) : claimedComp)) {
    c.raise(VECTOR_GP, 0);
  }
  const reserved = area.subarray(Area.header + 16, compacted ? Area.end : Area.header + 24);
  if (reserved.some((byte) => byte !== 0)) c.raise(VECTOR_GP, 0);
  const present = Number(claimedBv & 0xffffffffn);
  const loadsMxcsr = (components & SSE) !== 0 && (!compacted || (present & SSE) !== 0);
  if (loadsMxcsr && view.getUint32(Area.mxcsr, true) & ~MXCSR_MASK) c.raise(VECTOR_GP, 0);

  const image = readFxState(c.view, c.base);
  const out = new DataView(image.buffer);
  if (components & X87) {
    image.fill(0, 0, Area.mxcsr);
    image.fill(0, Area.x87Registers, Area.xmm);
    if (present & X87) {
      acceptFxImage(c, area);
      image.set(area.subarray(0, Area.mxcsr));
      image.set(area.subarray(Area.x87Registers, Area.xmm), Area.x87Registers);
    } else out.setUint16(0, 0x37f, true);
  }
  if (components & SSE) {
    const end = c.insn.mode === 64 ? Area.xmm + 256 : Area.xmm + 128;
    if (present & SSE) image.set(area.subarray(Area.xmm, end), Area.xmm);
    else image.fill(0, Area.xmm, end);
    out.setUint32(Area.mxcsr, loadsMxcsr ? view.getUint32(Area.mxcsr, true) : MXCSR_AT_RESET, true);
  }
  writeFxState(c.view, c.base, image);
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
    c.regs[0] = BigInt(register === 0n ? xcr0 : xcr0 & inUse(readFxState(c.view, c.base)));
    c.regs[2] = 0n;
  },
};
