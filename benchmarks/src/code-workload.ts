/** A workload from the code that writes it. */
import { Assembler } from './assembler.js';
import { CODE, DATA, type Workload } from './workload.js';

type Parts = Omit<Workload, 'name' | 'about' | 'group' | 'code' | 'entry' | 'data' | 'dataBytes'> & {
  data?: Uint8Array;
  dataBytes?: number;
};

export function workload(
  group: Workload['group'],
  name: string,
  about: string,
  write: (asm: Assembler) => void,
  parts: Parts,
): Workload {
  const asm = new Assembler(CODE);
  write(asm);
  const data = parts.data ?? new Uint8Array();
  return {
    group,
    name,
    about,
    code: asm.finish(),
    entry: 0,
    ...parts,
    data,
    dataBytes: parts.dataBytes ?? Math.max(data.length, 1),
  };
}

export const u64 = (n: bigint): bigint => BigInt.asUintN(64, n);
/** Address of a byte of the data. */
export const at = (offset: number): bigint => BigInt(DATA + offset);
