/** The 512-byte FXSAVE image in its 64-bit layout (Intel SDM vol. 1, 10.5.1). */
import { State } from './state.js';

const FX_BYTES = 512;
const MXCSR_MASK = 0xffff;

export function readFxState(view: DataView, base: number): Uint8Array {
  const bytes = new Uint8Array(FX_BYTES);
  const out = new DataView(bytes.buffer);
  out.setUint16(0, view.getUint16(base + State.fcw, true), true);
  const fsw = view.getUint16(base + State.fsw, true);
  out.setUint16(2, fsw, true);
  out.setUint8(4, view.getUint8(base + State.ftw));
  out.setUint16(6, view.getUint16(base + State.fop, true), true);
  out.setBigUint64(8, view.getBigUint64(base + State.fip, true), true);
  out.setBigUint64(16, view.getBigUint64(base + State.fdp, true), true);
  out.setUint32(24, view.getUint32(base + State.mxcsr, true), true);
  out.setUint32(28, MXCSR_MASK, true);
  const memory = new Uint8Array(view.buffer);
  const top = (fsw >> 11) & 7;
  for (let i = 0; i < 8; i++) {
    const from = base + State.x87 + ((top + i) & 7) * 16;
    bytes.set(memory.subarray(from, from + 10), 32 + i * 16);
  }
  bytes.set(memory.subarray(base + State.xmm, base + State.xmm + 256), 160);
  return bytes;
}

export function writeFxState(view: DataView, base: number, bytes: Uint8Array): void {
  const from = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fsw = from.getUint16(2, true);
  view.setUint16(base + State.fcw, from.getUint16(0, true), true);
  view.setUint16(base + State.fsw, fsw, true);
  view.setUint8(base + State.ftw, from.getUint8(4));
  view.setUint16(base + State.fop, from.getUint16(6, true), true);
  view.setBigUint64(base + State.fip, from.getBigUint64(8, true), true);
  view.setBigUint64(base + State.fdp, from.getBigUint64(16, true), true);
  view.setUint32(base + State.mxcsr, from.getUint32(24, true) & MXCSR_MASK, true);
  const memory = new Uint8Array(view.buffer);
  const top = (fsw >> 11) & 7;
  for (let i = 0; i < 8; i++) {
    const to = base + State.x87 + ((top + i) & 7) * 16;
    memory.fill(0, to, to + 16);
    memory.set(bytes.subarray(32 + i * 16, 42 + i * 16), to);
  }
  memory.set(bytes.subarray(160, 416), base + State.xmm);
}
