/** SSE to SSE4.2, AES, PCLMULQDQ and SHA: what is not generated (Intel SDM vol. 2). */
import { Seg } from '@paravane/engine-api';
import { State } from '../state.js';
import type { SlowDefinition, SlowDefinitions } from './slow-cpu.js';
import { immediate, register, source } from './sse-access.js';
import { sseCrypto } from './sse-crypto.js';
import { sseFloatSlow } from './sse-float.js';
import { sseMmx } from './sse-mmx.js';
import { sseString } from './sse-string.js';

const CR0_EM = 4;
const CR0_TS = 8;

/** Stores the bytes whose mask has the sign bit, all or none; the other bytes are not looked at. */
const maskedStore: SlowDefinition = (c) => {
  const [data, mask] = [source(c, 0), source(c, 1)];
  const offset = BigInt.asUintN(c.insn.addressWidth, c.regs[7]!);
  const start = c.linear(c.insn.segment >= 0 ? c.insn.segment : Seg.ds, offset);
  const chosen = Array.from({ length: 16 }, (_, i) => i).filter((i) => mask.getInt8(i) < 0);
  const place = (i: number): bigint => BigInt.asUintN(c.pointerWidth, start + BigInt(i));
  for (const i of chosen)
    if (c.pointerWidth === 64 && BigInt.asUintN(64, BigInt.asIntN(48, place(i))) !== place(i)) c.raise(13, 0);
  for (const i of chosen) c.pageAt(place(i), true);
  for (const i of chosen) c.store(place(i), 1, BigInt(data.getUint8(i)));
};

/** Sums of absolute differences of a block of four bytes against eight blocks that start a byte apart. */
const multipleSums: SlowDefinition = (c) => {
  const [a, b] = [source(c, 0), source(c, 1)];
  const control = immediate(c, 2);
  const [moving, fixed] = [control & 4, (control & 3) * 4];
  const destination = register(c, 0);
  for (let i = 0; i < 8; i++) {
    let sum = 0;
    for (let k = 0; k < 4; k++) sum += Math.abs(a.getUint8(moving + i + k) - b.getUint8(fixed + k));
    destination.setUint16(i * 2, sum, true);
  }
};

/** #UD or #NM where XMM registers are not to be used now. */
const checked =
  (definition: SlowDefinition): SlowDefinition =>
  (c) => {
    const cr0 = c.view.getUint32(c.base + State.sseTraps, true);
    if (cr0 & CR0_EM) c.raise(6, -1);
    if (cr0 & CR0_TS) c.raise(7, -1);
    definition(c);
  };

const definitions: SlowDefinitions = {
  ...sseFloatSlow,
  ...sseString,
  ...sseCrypto,
  ...sseMmx,
  MASKMOVDQU: maskedStore,
  MPSADBW: multipleSums,
};
export const sseSlow: SlowDefinitions = Object.fromEntries(
  Object.entries(definitions).map(([mnemonic, definition]) => [mnemonic, checked(definition)]),
);
