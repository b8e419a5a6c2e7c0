/** The MMX instruction that stores bytes one by one: MASKMOVQ (Intel SDM vol. 2). */
import { Seg } from '@paravane/engine-api';
import { State } from '../state.js';
import type { SlowCpu, SlowDefinitions } from './slow-cpu.js';
import { Status } from './x87-unit.js';

const CR0_EM = 4;
const CR0_TS = 8;

/** #UD, #NM or #MF where MMX is not to be used now. */
export function checkMmx(c: SlowCpu): void {
  const cr0 = c.view.getUint32(c.base + State.cr0, true);
  if (cr0 & CR0_EM) c.raise(6, -1);
  if (cr0 & CR0_TS) c.raise(7, -1);
  if (c.view.getUint16(c.base + State.fsw, true) & Status.ES) c.raise(16, -1);
}
/** Marks all registers valid and makes R0 the top of the stack. */
export function claimRegisters(c: SlowCpu): void {
  const fsw = c.view.getUint16(c.base + State.fsw, true);
  c.view.setUint16(c.base + State.fsw, fsw & ~Status.TOP, true);
  c.view.setUint8(c.base + State.ftw, 0xff);
}
const isCanonical = (va: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, va)) === va;
function register(c: SlowCpu, i: number): bigint {
  const operand = c.insn.operands[i];
  return c.view.getBigUint64(c.base + State.x87 + 16 * (operand?.kind === 'p' ? operand.n : 0), true);
}

export const mmxSlow: SlowDefinitions = {
  MASKMOVQ: (c) => {
    checkMmx(c);
    const [data, mask] = [register(c, 0), register(c, 1)];
    const offset = BigInt.asUintN(c.insn.addressWidth, c.regs[7]!);
    const start = c.linear(c.insn.segment >= 0 ? c.insn.segment : Seg.ds, offset);
    const bytes: { va: bigint; value: bigint }[] = [];
    for (let i = 0n; i < 8n; i++) {
      if (((mask >> (8n * i + 7n)) & 1n) === 0n) continue;
      bytes.push({ va: BigInt.asUintN(c.pointerWidth, start + i), value: (data >> (8n * i)) & 0xffn });
    }
    // Processors do this before they look at the address.
    claimRegisters(c);
    if (c.pointerWidth === 64 && !(isCanonical(start) && isCanonical(start + 7n))) c.raise(13, 0);
    // All or none: every byte's page is looked at before the first is written.
    for (const { va } of bytes) c.pageAt(va, true);
    for (const { va, value } of bytes) c.store(va, 1, value);
  },
};
