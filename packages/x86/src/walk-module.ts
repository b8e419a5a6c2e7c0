/**
 * What generated code asks for where the TLB has no answer: the usual walk of 4-level tables, and the block at an
 * address that the TLB did not know. Whatever is not usual (a fault, a large page, a frame of a grant, code that is
 * written to) is left to the walker of `mmu` and to the engine, which decide alike.
 */
import { FrameFlag, HYPERVISOR_OWNER, type Mmu, Pte, TLB_ENTRY_BYTES, TlbField } from '@paravane/mmu';
import {
  ANY_MEMORY,
  callExpr,
  type Expr,
  FunctionBuilder,
  i32,
  i64,
  load,
  ModuleBuilder,
  op,
  select,
} from '@paravane/wasm-emit';
import { MISS_WRITE, State } from './state.js';
import { entryOffset, placeOfTag } from './tlb-probe.js';

/** (vCPU, linear address, how, micro-operation, tag) → offset in memory, or as the import `miss` of the engine answers. */
export const MISS = { params: ['i', 'l', 'i', 'i', 'l'], results: ['i'] } as const;
/** (vCPU, linear address, tag) → micro-operation of the block there, or 0. */
export const FETCH = { params: ['i', 'l', 'l'], results: ['i'] } as const;
/** (vCPU, linear address, kind of access, tag) → offset of the TLB entry that was filled, or 0. */
const WALK = { params: ['i', 'l', 'i', 'l'], results: ['i'] } as const;
const Access = { read: 0, write: 1, fetch: 2 } as const;

export interface WalkPlaces {
  mmu: Mmu;
  /** Offset in memory of the code descriptors of 64-bit code, by frame. */
  descriptors: number;
  /** Offset in memory of a count of the walks done here, 4 bytes. */
  walks: number;
}

/** A module that exports `miss` and `fetch`; it takes `env.memory` and the engine's `env.miss`. */
export function walkModule(places: WalkPlaces): Uint8Array {
  const module = new ModuleBuilder({ ...ANY_MEMORY, shared: places.mmu.machine.shared });
  const engine = module.import('miss', ['i', 'i', 'i', 'i'], ['i']);
  const walk = module.add(walkFunction(places));
  module.add(missFunction(walk, engine), 'miss');
  module.add(fetchFunction(places, walk), 'fetch');
  return module.encode();
}

/** From an entry of code. */
const CODE = TlbField.code - TlbField.execTag;

function walkFunction({ mmu, walks }: WalkPlaces): FunctionBuilder {
  const { machine, frames, hasCode, tlb } = mmu;
  const f = new FunctionBuilder(WALK.params, WALK.results);
  const [cpu, va, access, tag] = [f.param(0), f.param(1), f.param(2), f.param(3)];
  const none = (condition: Expr): void => f.ifUnlikely(condition, () => f.return(i32(0)));
  const ownerOf = (mfn: Expr): Expr => load('i32.load', op('i32.shl', mfn, i32(2)), frames.owner.byteOffset);
  const flagsOf = (mfn: Expr): Expr => load('i32.load8_u', mfn, frames.flags.byteOffset);
  const markDirty = (mfn: Expr): void =>
    f.store('i32.store8', mfn, op('i32.or', flagsOf(mfn), i32(FrameFlag.dirty)), frames.flags.byteOffset);
  const isNo = (mfn: Expr): Expr => op('i32.ge_u', op('i32.sub', mfn, i32(1)), i32(machine.frames - 1));

  const space = f.let(op('i32.add', cpu, op('i32.shl', load('i32.load', cpu, State.space), i32(2))));
  const table = f.let(load('i32.load', space, State.walkRoots));
  none(op('i32.eqz', table));
  none(op('i64.ne', op('i64.shr_s', op('i64.shl', va, i64(16)), i64(16)), va));
  const domid = f.let(load('i32.load', cpu, State.walkOwner));
  const isWrite = f.let(op('i32.eq', access, i32(Access.write)));
  const rights = f.local('l');
  const forbids = f.local('l');
  f.set(rights, i64(-1));
  f.set(forbids, i64(0));
  const entry = f.local('l');
  const word = f.local('i');
  const owner = f.local('i');
  for (const shift of [39, 30, 21, 12]) {
    const isLeaf = shift === 12;
    none(isNo(table));
    f.set(owner, ownerOf(table));
    none(op('i32.and', op('i32.ne', owner, domid), op('i32.ne', owner, i32(HYPERVISOR_OWNER))));
    const index = op('i32.and', op('i32.wrap_i64', op('i64.shr_u', va, i64(shift - 3))), i32(511 << 3));
    f.set(word, op('i32.add', op('i32.add', op('i32.shl', table, i32(12)), index), i32(machine.frameBase)));
    f.set(entry, load('i64.load', word));
    const kind = op('i64.and', entry, i64(isLeaf ? Pte.present : Pte.present | Pte.pse));
    none(op('i64.ne', kind, i64(Pte.present)));
    f.set(rights, op('i64.and', rights, entry));
    f.set(forbids, op('i64.or', forbids, entry));
    const frame = f.let(op('i64.and', op('i64.shr_u', entry, i64(12)), i64(0xff_ffff_ffffn)));
    none(op('i64.ge_u', frame, i64(machine.frames)));
    f.set(table, op('i32.wrap_i64', frame));
    if (isLeaf) {
      const user = load('i32.load', space, State.walkUser);
      none(op('i32.and', user, op('i64.eqz', op('i64.and', rights, i64(Pte.user)))));
      none(op('i32.and', isWrite, op('i64.eqz', op('i64.and', rights, i64(Pte.rw)))));
      none(op('i32.and', op('i32.eq', access, i32(Access.fetch)), op('i64.lt_s', forbids, i64(0))));
      none(isNo(table));
      const foreign = f.let(op('i32.ne', ownerOf(table), domid));
      const readable = op('i32.and', flagsOf(table), i32(FrameFlag.worldReadable));
      none(op('i32.and', foreign, op('i32.or', isWrite, op('i32.eqz', readable))));
    }
    const marks = isLeaf
      ? op('i64.or', i64(Pte.accessed), op('i64.shl', op('i64.extend_i32_u', isWrite), i64(Math.log2(Pte.dirty))))
      : i64(Pte.accessed);
    const marked = f.let(op('i64.or', entry, marks));
    f.if(op('i32.and', op('i64.ne', marked, entry), op('i32.ne', owner, i32(HYPERVISOR_OWNER))), () => {
      f.store('i64.store', word, marked);
      // The table's own frame: `table` is the next one by now.
      const frame = f.let(op('i32.shr_u', op('i32.sub', word, i32(machine.frameBase)), i32(12)));
      markDirty(frame);
      f.set(entry, marked);
    });
  }
  const mfn = table;
  f.if(isWrite, () => markDirty(mfn));
  const dirty = op('i32.wrap_i64', op('i64.shr_u', entry, i64(Math.log2(Pte.dirty))));
  const writable = op('i32.wrap_i64', op('i64.shr_u', rights, i64(Math.log2(Pte.rw))));
  const logged = op('i32.shr_u', flagsOf(mfn), i32(Math.log2(FrameFlag.dirty)));
  const mayWrite = op('i32.and', op('i32.and', dirty, writable), op('i32.and', logged, i32(1)));
  const plain = op(
    'i32.and',
    op('i32.eqz', load('i32.load8_u', mfn, hasCode.byteOffset)),
    op('i32.eq', ownerOf(mfn), domid),
  );
  const tagged = f.let(op('i64.or', op('i64.and', va, i64(-4096)), tag));
  const fetches = op('i32.eq', access, i32(Access.fetch));
  const half = select(fetches, i32(tlb.base + TlbField.execTag), i32(tlb.base));
  const place = f.let(op('i32.add', entryOffset(va, placeOfTag(tag)), half));
  const page = f.let(op('i32.add', op('i32.shl', mfn, i32(12)), i32(machine.frameBase)));
  const addend = f.let(op('i32.sub', page, op('i32.and', op('i32.wrap_i64', va), i32(~0xfff))));
  f.if(
    fetches,
    () => {
      const other = op('i64.ne', load('i64.load', place), tagged);
      const moved = op('i32.ne', load('i32.load', place, TlbField.addend), addend);
      f.if(op('i32.or', other, moved), () => f.store('i32.store', place, i32(0), CODE));
    },
    () => {
      f.store('i64.store', place, i64(0), TlbField.writeTag);
      f.if(op('i32.and', mayWrite, plain), () => f.store('i64.store', place, tagged, TlbField.writeTag));
    },
  );
  // Both kinds of entries have tag and addend at the same places.
  f.store('i64.store', place, tagged);
  f.store('i32.store', place, addend, TlbField.addend);
  const at = f.let(op('i32.add', mfn, select(fetches, i32(machine.frames), i32(0))));
  noteEntry(f, mmu, at, page, place);
  f.store('i32.store', i32(0), op('i32.add', load('i32.load', i32(0), walks), i32(1)), walks);
  f.return(place);
  return f;
}

/** `noteEntry` of the TLB; `at`: where the notes of the frame are. */
function noteEntry(f: FunctionBuilder, { tlb }: Mmu, at: Expr, page: Expr, place: Expr): void {
  const { filledIn, first, second, scattered, epoch } = tlb.notes;
  const number = f.let(op('i32.shr_u', op('i32.sub', place, i32(tlb.base)), i32(Math.log2(TLB_ENTRY_BYTES))));
  const [word, half] = [f.let(op('i32.shl', at, i32(2))), f.let(op('i32.shl', at, i32(1)))];
  const now = load('i32.load', i32(0), epoch.byteOffset);
  const noteFirst = (): void => f.store('i32.store16', half, number, first.byteOffset);
  const noteSecond = (): void => f.store('i32.store16', half, number, second.byteOffset);
  f.if(
    op('i32.ne', load('i32.load', word, filledIn.byteOffset), now),
    () => {
      f.store('i32.store', word, now, filledIn.byteOffset);
      f.store('i32.store8', at, i32(0), scattered.byteOffset);
      noteFirst();
      noteSecond();
    },
    () => {
      const [one, two] = [
        f.let(load('i32.load16_u', half, first.byteOffset)),
        f.let(load('i32.load16_u', half, second.byteOffset)),
      ];
      const maps = (n: Expr): Expr => {
        const entry = f.let(op('i32.shl', n, i32(Math.log2(TLB_ENTRY_BYTES))));
        const low = f.let(load('i32.load', entry, tlb.base));
        const linear = op('i32.and', low, i32(~0xfff));
        const maps = op('i32.eq', op('i32.add', load('i32.load', entry, tlb.base + TlbField.addend), linear), page);
        return op('i32.and', op('i32.ne', low, i32(0)), maps);
      };
      f.if(op('i32.and', op('i32.ne', one, number), op('i32.ne', two, number)), () =>
        f.if(op('i32.or', op('i32.eq', one, two), op('i32.eqz', maps(two))), noteSecond, () =>
          f.if(op('i32.eqz', maps(one)), noteFirst, () => f.store('i32.store8', at, i32(1), scattered.byteOffset)),
        ),
      );
    },
  );
}

function missFunction(walk: number, engine: number): FunctionBuilder {
  const f = new FunctionBuilder(MISS.params, MISS.results);
  const [cpu, va, how, ip, tag] = [f.param(0), f.param(1), f.param(2), f.param(3), f.param(4)];
  const low = f.let(op('i32.wrap_i64', va));
  const last = op('i32.add', op('i32.and', low, i32(0xfff)), op('i32.and', how, i32(0xff)));
  f.if(op('i32.le_u', last, i32(0x1000)), () => {
    const isWrite = f.let(op('i32.and', op('i32.shr_u', how, i32(Math.log2(MISS_WRITE))), i32(1)));
    const entry = f.let(callExpr('i', walk, cpu, va, isWrite, tag));
    // A write to a frame with code, or one that is not to be written to by a tag, has none.
    const wanted = op('i64.ne', load('i64.load', entry, TlbField.writeTag), i64(0));
    f.if(op('i32.and', op('i32.ne', entry, i32(0)), op('i32.or', op('i32.eqz', isWrite), wanted)), () =>
      f.return(op('i32.add', low, load('i32.load', entry, TlbField.addend))),
    );
  });
  f.return(callExpr('i', engine, low, op('i32.wrap_i64', op('i64.shr_u', va, i64(32))), how, ip));
  return f;
}

function fetchFunction({ descriptors, mmu }: WalkPlaces, walk: number): FunctionBuilder {
  const f = new FunctionBuilder(FETCH.params, FETCH.results);
  const [cpu, va, tag] = [f.param(0), f.param(1), f.param(2)];
  const none = (condition: Expr): void => f.ifUnlikely(condition, () => f.return(i32(0)));
  none(op('i32.ne', load('i32.load', cpu, State.mode), i32(64)));
  const entry = f.let(callExpr('i', walk, cpu, va, i32(Access.fetch), tag));
  none(op('i32.eqz', entry));
  const page = op('i32.add', load('i32.load', entry, TlbField.addend), op('i32.wrap_i64', va));
  const mfn = op('i32.shr_u', op('i32.sub', page, i32(mmu.machine.frameBase)), i32(12));
  const descriptor = f.let(load('i32.load', op('i32.shl', mfn, i32(2)), descriptors));
  none(op('i32.eqz', descriptor));
  f.store('i32.store', entry, descriptor, CODE);
  const offset = op('i32.shl', op('i32.and', op('i32.wrap_i64', va), i32(0xfff)), i32(2));
  f.return(load('i32.load', op('i32.add', descriptor, offset)));
  return f;
}
