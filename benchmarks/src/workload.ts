/**
 * What the benchmarks run: position-fixed x86-64 code that begins at its entry as a function called with the registers
 * given, and ends with RET. The same bytes run natively (`native.ts`), because all addresses are fixed and the code
 * touches only the areas below.
 */

// The areas lie apart modulo 16 MiB, so that they do not displace each other in a direct-mapped TLB.
export const CODE = 0x10000000;
export const DATA = 0x20100000;
/** Upper end of the stack; the return address lies just below it. */
export const STACK_TOP = 0x30f10000;
export const STACK_BYTES = 0x10000;
/** An INT3: where the code returns to. */
export const EXIT = 0x30f20000;

export interface Workload {
  name: string;
  about: string;
  group: 'generated' | 'loops' | 'costs';
  code: Uint8Array;
  /** Offset of the entry in `code`. */
  entry: number;
  /** What DATA holds at the start; the rest of the area is zero. */
  data: Uint8Array;
  dataBytes: number;
  /** General registers at entry, by number; others are zero. */
  regs: Partial<Record<number, bigint>>;
  /** Registers after the first pass over fresh data, by number. */
  expected: Partial<Record<number, bigint>>;
  /** FNV-1a, 32 bits, of the data area after the first pass. */
  expectedData?: number;
  /** The code makes system calls, which are to be returned from at once. */
  syscalls?: boolean;
}

/** A repeatable sequence of 32-bit numbers (xorshift32). */
export function randomFrom(seed: number): () => number {
  let x = seed | 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

export function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
