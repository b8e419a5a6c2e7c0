/** The TLB as generated code sees it. */
import { TLB_ENTRIES, TLB_ENTRY_BYTES } from '@paravane/mmu';
import { type Expr, i32, i64, op } from '@paravane/wasm-emit';

/** Offset of the entry for a linear address under a tag (both i64) from the TLB's base: `tlbEntryOffset` in WebAssembly. */
export const entryOffset = (va: Expr, tag: Expr): Expr =>
  op(
    'i32.shl',
    op(
      'i32.and',
      op('i32.wrap_i64', op('i64.xor', op('i64.xor', op('i64.shr_u', va, i64(12)), op('i64.shr_u', va, i64(33))), tag)),
      i32(TLB_ENTRIES - 1),
    ),
    i32(Math.log2(TLB_ENTRY_BYTES)),
  );
