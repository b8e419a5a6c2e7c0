/** The 512-byte FXSAVE image in its 64-bit layout (Intel SDM vol. 1, 10.5.1). */
import { State } from './state.js';

const FX_BYTES = 512;
const MXCSR_MASK = 0xffff;
/** Where the image has the x87 registers from ST(0) on, 16 bytes each, and the XMM registers. */
const [X87, XMM] = [32, 160];

/** Copies words of 32 bits; unlike views of the bytes, which the host has to make, this costs next to nothing. */
export function copyWords(from: DataView, at: number, to: DataView, place: number, bytes: number): void {
  for (let i = 0; i < bytes; i += 4) to.setInt32(place + i, from.getInt32(at + i, true), true);
}

export function readFxState(view: DataView, base: number): Uint8Array {
  const bytes = new Uint8Array(FX_BYTES);
  fillFxImage(view, base, new DataView(bytes.buffer));
  return bytes;
}

/** Writes the 416 bytes that an image has, from the state at `base` of `view` to the start of `out`. */
export function fillFxImage(view: DataView, base: number, out: DataView): void {
  const fsw = view.getUint16(base + State.fsw, true);
  out.setUint16(0, view.getUint16(base + State.fcw, true), true);
  out.setUint16(2, fsw, true);
  out.setUint16(4, view.getUint8(base + State.ftw), true);
  out.setUint16(6, view.getUint16(base + State.fop, true), true);
  copyWords(view, base + State.fip, out, 8, 8);
  copyWords(view, base + State.fdp, out, 16, 8);
  out.setUint32(24, view.getUint32(base + State.mxcsr, true), true);
  out.setUint32(28, MXCSR_MASK, true);
  const top = (fsw >> 11) & 7;
  for (let i = 0; i < 8; i++) {
    const from = base + State.x87 + ((top + i) & 7) * 16;
    copyWords(view, from, out, X87 + i * 16, 8);
    out.setUint32(X87 + i * 16 + 8, view.getUint16(from + 8, true), true);
    out.setUint32(X87 + i * 16 + 12, 0, true);
  }
  copyWords(view, base + State.xmm, out, XMM, 256);
}

export function writeFxState(view: DataView, base: number, bytes: Uint8Array): void {
  takeFxImage(view, base, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

/** Loads the state at `base` of `view` from an image at the start of `from`. */
export function takeFxImage(view: DataView, base: number, from: DataView): void {
  const fsw = from.getUint16(2, true);
  view.setUint16(base + State.fcw, from.getUint16(0, true), true);
  view.setUint16(base + State.fsw, fsw, true);
  view.setUint8(base + State.ftw, from.getUint8(4));
  view.setUint16(base + State.fop, from.getUint16(6, true), true);
  copyWords(from, 8, view, base + State.fip, 8);
  copyWords(from, 16, view, base + State.fdp, 8);
  view.setUint32(base + State.mxcsr, from.getUint32(24, true) & MXCSR_MASK, true);
  const top = (fsw >> 11) & 7;
  for (let i = 0; i < 8; i++) {
    const to = base + State.x87 + ((top + i) & 7) * 16;
    copyWords(from, X87 + i * 16, view, to, 8);
    view.setUint32(to + 8, from.getUint16(X87 + i * 16 + 8, true), true);
    view.setUint32(to + 12, 0, true);
  }
  copyWords(from, XMM, view, base + State.xmm, 256);
}
