/** Vector operands of instructions that are done in TypeScript. */
import { DOUBLE, FloatContext, type Format } from '../softfloat.js';
import { State } from '../state.js';
import type { SlowCpu } from './slow-cpu.js';

/** Exception vectors. */
const GP = 13;
const UD = 6;
const XM = 19;
const CR4_OSXMMEXCPT = 0x400;

/** The XMM register of operand `i`, in place. */
export function register(c: SlowCpu, i: number): DataView {
  const operand = c.insn.operands[i]!;
  if (operand.kind !== 'x') throw new TypeError(`${c.insn.mnemonic}: operand ${i} is no XMM register`);
  return xmm(c, operand.n);
}
export const xmm = (c: SlowCpu, n: number): DataView => new DataView(c.view.buffer, c.base + State.xmm + n * 16, 16);

/** A copy of vector operand `i`: a register, or its memory with zeros above. */
export function source(c: SlowCpu, i: number, alignment: 'aligned' | 'any' = 'aligned'): DataView {
  const operand = c.insn.operands[i]!;
  const bytes = new Uint8Array(16);
  if (operand.kind === 'm') {
    const address = c.address();
    if (alignment === 'aligned' && operand.width === 128 && (address & 15n) !== 0n) c.raise(GP, 0);
    bytes.set(c.loadBytes(address, operand.width / 8));
  } else {
    const { buffer, byteOffset } = register(c, i);
    bytes.set(new Uint8Array(buffer, byteOffset, 16));
  }
  return new DataView(bytes.buffer);
}
export const bytesOf = (view: DataView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
export const immediate = (c: SlowCpu, i: number): number => Number(c.operand(i) & 0xffn);

export const getLane = (v: DataView, f: Format, lane: number): bigint =>
  f === DOUBLE ? v.getBigUint64(lane * 8, true) : BigInt(v.getUint32(lane * 4, true));
export const setLane = (v: DataView, f: Format, lane: number, value: bigint): void =>
  f === DOUBLE ? v.setBigUint64(lane * 8, value, true) : v.setUint32(lane * 4, Number(value), true);

/** Runs a calculation with the guest's rounding and masks: keeps its flags, raises #XM for one that is not masked. */
export function calculate<T>(c: SlowCpu, compute: (context: FloatContext) => T): T {
  const at = c.base + State.mxcsr;
  const context = new FloatContext(c.view.getUint32(at, true));
  const result = compute(context);
  const { mxcsr, fault } = context.finish();
  c.view.setUint32(at, mxcsr, true);
  if (fault) c.raise(c.view.getUint32(c.base + State.cr4, true) & CR4_OSXMMEXCPT ? XM : UD, -1);
  return result;
}
