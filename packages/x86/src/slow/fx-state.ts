/**
 * FXSAVE and FXRSTOR, LDMXCSR and STMXCSR (Intel SDM vol. 2; vol. 1, 10.5). The
 * image that FXRSTOR reads is the guest's: what the manual reserves in it is
 * refused (MXCSR) or dropped (control and status word).
 */
import { readFxState, writeFxState } from '../fx-state.js';
import { State } from '../state.js';
import type { SlowCpu, SlowDefinitions } from './slow-cpu.js';
import { controlWord } from './x87-control.js';
import { Status } from './x87-unit.js';

const FX_BYTES = 512;
/** Bytes that FXSAVE writes: what follows is left as it is. */
const WRITTEN = 416;
/** Outside 64-bit mode XMM8 to XMM15 are not part of the image. */
const WRITTEN_32 = 288;
/** Bits of MXCSR that exist, DAZ among them. */
export const MXCSR_MASK = 0xffff;
const Fx = { fcw: 0, fsw: 2, fip: 8, fdp: 16, mxcsr: 24 } as const;

const VECTOR_UD = 6;
const VECTOR_NM = 7;
const VECTOR_GP = 13;
const CR0_EM = 4;
const CR0_TS = 8;
const CR4_OSFXSR = 0x200;

/** #NM where the unit is not to be used; then the 16-byte aligned address, of which processors look at the last byte first. */
function imageAddress(c: SlowCpu, write: boolean): bigint {
  if (c.view.getUint32(c.base + State.cr0, true) & (CR0_EM | CR0_TS)) c.raise(VECTOR_NM, -1);
  const va = c.address();
  // An address that is not canonical may be #SS, which comes before #GP for the alignment; a page fault comes after.
  if (BigInt.asUintN(64, BigInt.asIntN(48, va)) !== va) c.pageAt(va, write);
  if (va & 15n) c.raise(VECTOR_GP, 0);
  c.pageAt(va + BigInt(FX_BYTES - 1), write);
  return va;
}
/** Without REX.W pointers are 32 bits and a selector, which is not kept. */
export function narrowPointers(c: SlowCpu, image: DataView): void {
  if (c.insn.width === 64) return;
  image.setUint32(Fx.fip + 4, 0, true);
  image.setUint32(Fx.fdp + 4, 0, true);
}
function enterMxcsr(c: SlowCpu): void {
  const cr0 = c.view.getUint32(c.base + State.cr0, true);
  if (cr0 & CR0_EM || !(c.view.getUint32(c.base + State.cr4, true) & CR4_OSFXSR)) c.raise(VECTOR_UD, -1);
  if (cr0 & CR0_TS) c.raise(VECTOR_NM, -1);
}

/** The state as an image, with pointers of the operand size. */
function legacyBytes(c: SlowCpu): Uint8Array {
  const image = readFxState(c.view, c.base);
  narrowPointers(c, new DataView(image.buffer));
  return image;
}
/** Brings the x87 part of an image that is to be loaded to what there is. */
export function acceptFxImage(c: SlowCpu, claimed: DataView): void {
  const fcw = controlWord(claimed.getUint16(Fx.fcw, true));
  const fsw = claimed.getUint16(Fx.fsw, true) & ~(Status.ES | Status.B);
  claimed.setUint16(Fx.fcw, fcw, true);
  claimed.setUint16(Fx.fsw, fsw & ~fcw & 0x3f ? fsw | Status.ES | Status.B : fsw, true);
  narrowPointers(c, claimed);
}

export const fxState: SlowDefinitions = {
  FXSAVE: (c) => {
    const va = imageAddress(c, true);
    c.storeBytes(va, legacyBytes(c).subarray(0, c.insn.mode === 64 ? WRITTEN : WRITTEN_32));
  },
  FXRSTOR: (c) => {
    const image = c.loadBytes(imageAddress(c, false), FX_BYTES);
    const claimed = new DataView(image.buffer, image.byteOffset);
    if (claimed.getUint32(Fx.mxcsr, true) & ~MXCSR_MASK) c.raise(VECTOR_GP, 0);
    acceptFxImage(c, claimed);
    if (c.insn.mode !== 64) image.set(readFxState(c.view, c.base).subarray(WRITTEN_32), WRITTEN_32);
    writeFxState(c.view, c.base, image);
  },
  LDMXCSR: (c) => {
    enterMxcsr(c);
    const value = Number(c.operand(0));
    if (value & ~MXCSR_MASK) c.raise(VECTOR_GP, 0);
    c.view.setUint32(c.base + State.mxcsr, value, true);
  },
  STMXCSR: (c) => {
    enterMxcsr(c);
    c.store(c.address(), 4, BigInt(c.view.getUint32(c.base + State.mxcsr, true)));
  },
};
