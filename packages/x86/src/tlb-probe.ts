/** The TLB as generated code sees it. */
import { TLB_ENTRIES, TLB_ENTRY_BYTES } from '@paravane/mmu';
import { type Expr, i32, i64, op } from '@paravane/wasm-emit';

const ENTRY_SHIFT = Math.log2(TLB_ENTRY_BYTES);

/** What an address-space tag (i64) adds to the place of an entry: worth a local where there are many probes. */
export const placeOfTag = (tag: Expr): Expr => op('i64.shl', tag, i64(ENTRY_SHIFT));

/** Offset of the entry for a linear address (i64) under a tag from the TLB's base: `tlbEntryOffset` in WebAssembly. */
export const entryOffset = (va: Expr, tagPlace: Expr): Expr => {
  const mixed = op('i64.shr_u', op('i64.xor', va, op('i64.shr_u', va, i64(21))), i64(12 - ENTRY_SHIFT));
  const mask = i32((TLB_ENTRIES - 1) << ENTRY_SHIFT);
  return op('i32.and', op('i32.wrap_i64', op('i64.xor', mixed, tagPlace)), mask);
};
