/** Regions as WebAssembly functions of type `REGION`, and what they call. */
import { TlbField } from '@paravane/mmu';
import {
  ANY_MEMORY,
  callExpr,
  callIndirect,
  type Expr,
  FunctionBuilder,
  globalGet,
  i32,
  i64,
  type Label,
  load,
  ModuleBuilder,
  op,
} from '@paravane/wasm-emit';
import { conditionFunction, eflagsFunction } from '../flag-functions.js';
import { meaningOf } from '../handlers.js';
import { importRoutines, type Routines } from '../routines.js';
import { DEFINITIONS } from '../semantics/definitions.js';
import { REPEATED_REGISTERS } from '../semantics/string.js';
import { MAX_REGION, REGION, State, UOP_BYTES } from '../state.js';
import { entryOffset, placeOfTag } from '../tlb-probe.js';
import { emitDispatch } from './dispatch.js';
import { KnownVectors } from './known-vectors.js';
import type { RegionCode } from './live-code.js';
import { FLAGS, Liveness } from './liveness.js';
import { pagesOf } from './pages.js';
import { type BasicBlock, branchTarget, DISPATCH, NOWHERE, type Region, successors } from './region.js';
import { RegionSem, type RegionSite } from './region-sem.js';
import { emitStructured } from './structure.js';

/** Why a region returns; `State.rip` says where to go on, `State.left` what is left. */
export const RegionStop = {
  /** At any address, by whatever runs it. */
  go: 0,
  /** The interpreter must do the instruction there. */
  interpret: 1,
} as const;

interface RegionFunctions {
  condition: number;
  /** `findRegionFunction` */
  find: number;
  routines: Routines;
  /** Type of `REGION`. */
  type: number;
}

export interface RegionPlaces {
  tlbBase: number;
  arena: number;
  regionWords: number;
}

/** A register that a side exit has written to the state is written there for good before the next one: code stays small. */
const COLD_STORES = 1;

/**
 * A module of regions; it takes `env.memory`, `env.table` and the routines. Nothing in it says where in memory the
 * guest's code lies. `exportsOf` tells what it exports.
 */
export function regionModule(regions: readonly Region[], places: RegionPlaces, shared: boolean): Uint8Array {
  const module = new ModuleBuilder({ ...ANY_MEMORY, shared }, true);
  const type = module.type(REGION.params, REGION.results);
  const routines = importRoutines(module);
  const functions = {
    type,
    routines,
    condition: module.add(conditionFunction(module.add(eflagsFunction()))),
    find: module.add(findRegionFunction(places)),
  };
  for (const [i, region] of regions.entries()) {
    const beside = region.neighbour && globalGet('i', module.global(`b${i}`));
    module.add(compileRegion(region, places, functions, functions.find + 1 + i, beside), `r${i}`);
  }
  return module.encode();
}

/** What a module of regions exports for region `i`. */
export const exportsOf = (exports: WebAssembly.Exports, i: number): RegionCode => ({
  run: exports[`r${i}`]!,
  beside: exports[`b${i}`] as WebAssembly.Global | undefined,
});

/** (linear address, tag, left, room) → table slot of the region there; 0 if there is none, or not enough left or room. */
function findRegionFunction({ tlbBase, arena, regionWords }: RegionPlaces): FunctionBuilder {
  const f = new FunctionBuilder(['l', 'l', 'i', 'i'], ['i']);
  const [target, tag] = [f.param(0), f.param(1)];
  const none = (condition: Expr): void => f.ifUnlikely(condition, () => f.return(i32(0)));
  none(op('i32.lt_s', f.param(2), i32(MAX_REGION)));
  none(op('i32.lt_s', f.param(3), i32(0)));
  const entry = f.let(entryOffset(target, placeOfTag(tag)));
  const page = op('i64.or', op('i64.and', target, i64(-4096)), tag);
  none(op('i64.ne', load('i64.load', entry, tlbBase + TlbField.execTag), page));
  const descriptor = f.let(load('i32.load', entry, tlbBase + TlbField.code));
  none(op('i32.eqz', descriptor));
  const offset = op('i32.shl', op('i32.and', op('i32.wrap_i64', target), i32(4095)), i32(2));
  const block = f.let(load('i32.load', op('i32.add', descriptor, offset)));
  none(op('i32.ge_s', block, i32(0)));
  const shift = Math.log2(UOP_BYTES / 4);
  const word = load('i32.load', op('i32.shr_u', op('i32.sub', i32(-arena), block), i32(shift)), regionWords);
  f.return(op('i32.shr_u', word, i32(16)));
  return f;
}

/** An offset in a region's pages as a number from 0 on. */
const placeInPages = (offset: number): number => offset + 4096;

interface Flags {
  kind: Expr;
  a: Expr;
  b: Expr;
}

function storeFlags(f: FunctionBuilder, cpu: Expr, { kind, a, b }: Flags): void {
  f.store('i32.store', cpu, kind, State.flagKind);
  f.store('i64.store', cpu, a, State.flagA);
  f.store('i64.store', cpu, b, State.flagB);
}

/**
 * Registers are in locals and, at all times, in the state too: an exit has nothing to write back, so the many of them
 * stay small. Flags are in locals; an exit writes them where they were changed since they were last in the state.
 */
function compileRegion(
  region: Region,
  { tlbBase }: RegionPlaces,
  functions: RegionFunctions,
  /** Number of the function that it becomes. */
  own: number,
  /** Descriptor of the page beside its own that the region has code in. */
  beside: Expr | null,
): FunctionBuilder {
  const f = new FunctionBuilder(REGION.params, REGION.results);
  const [cpu, left, tag, pcBase, room] = [f.param(0), f.param(1), f.param(2), f.param(3), f.param(4)];
  const target = f.local('l');
  const slot = f.local('i');
  const tagPlace = f.local('l');
  const origin = f.local('i');
  /** Where an instruction is left to the interpreter: the number that its block gives back << 14, and its place. */
  const side = f.local('i');
  const pages = new Map(
    [...pagesOf(region)].map(([base, write]) => [base, { page: f.local('l'), addend: f.local('i'), write }]),
  );
  const flags = { kind: f.local('i'), a: f.local('l'), b: f.local('l') };
  const locals = Array.from({ length: 16 }, () => f.local('l'));
  const vectorLocals = new Map<string, Expr>();
  const liveness = new Liveness(region);
  const storeRegister = (n: number): void => f.store('i64.store', cpu, locals[n]!, State.gpr + n * 8);
  let exit!: Label;
  let hop!: Label;
  let sideExit!: Label;
  let sideExitWithFlags!: Label;
  const reload = (n: number): void => {
    if (n < FLAGS) return f.set(locals[n]!, load('i64.load', cpu, State.gpr + n * 8));
    f.set(flags.kind, load('i32.load', cpu, State.flagKind));
    f.set(flags.a, load('i64.load', cpu, State.flagA));
    f.set(flags.b, load('i64.load', cpu, State.flagB));
  };
  const inPage = (offset: number): Expr => {
    const address = op('i64.add', pcBase, i64(offset));
    return region.mode === 64 ? address : op('i64.and', address, i64(0xffffffffn));
  };
  const addressOf = (offset: number): Expr => (offset === DISPATCH ? target : inPage(offset));
  const pageOf = (address: Expr): Expr => op('i64.and', address, i64(-4096));
  /** Leaves for `target` unless a region can be run there; it is in `slot` then. */
  const findOrLeave = (): void => {
    f.set(slot, callExpr('i', functions.find, target, tag, left, room));
    f.brIfUnlikely(op('i32.eqz', slot), exit);
  };
  /** Writes the flags to the state where that is needed. */
  const saveFlags = (block: BasicBlock): void => {
    const fill = f.hole();
    liveness.exit(block, (dirty) => fill(() => dirty && storeFlags(f, cpu, flags)));
  };
  /** Leaves for good: `label` is for an address in the region's page, or wherever code may be compiled. */
  const leaveTo = (block: BasicBlock, address: Expr, label: Label, from = NOWHERE): void => {
    saveFlags(block);
    f.set(target, address);
    if (from !== NOWHERE) f.set(origin, i32(placeInPages(from)));
    f.br(label);
  };
  /** A region that calls itself need not be looked up: it goes with any of its code, and nothing can change that here. */
  const callTo = (block: BasicBlock, address: Expr, from: number, isOwn: boolean): void => {
    saveFlags(block);
    f.set(target, address);
    f.set(origin, i32(placeInPages(from)));
    if (isOwn) {
      f.brIfUnlikely(op('i32.or', op('i32.lt_s', left, i32(MAX_REGION)), op('i32.lt_s', room, i32(0))), exit);
      f.set(slot, callExpr('i', own, cpu, left, tag, pcBase, room));
    } else {
      findOrLeave();
      f.set(slot, callIndirect('i', functions.type, slot, cpu, left, tag, pageOf(target), room));
    }
    f.set(left, load('i32.load', cpu, State.left));
    const elsewhere = op('i64.ne', load('i64.load', cpu, State.rip), inPage(block.next));
    const tooLong = op('i32.lt_s', left, i32(MAX_REGION));
    f.ifUnlikely(op('i32.or', op('i32.or', slot, elsewhere), tooLong), () => f.return(slot));
    f.set(origin, i32(-1));
    const fill = f.hole();
    liveness.call(block, (live) => fill(() => live.forEach(reload)));
  };

  // Kinds of the flags on the ways into a block.
  const kinds = new Map<number, (number | null)[]>();
  const waysIn = new Map<number, number>();
  for (const block of region.blocks.values()) {
    for (const offset of successors(region, block)) waysIn.set(offset, (waysIn.get(offset) ?? 0) + 1);
  }

  function body(block: BasicBlock, go: (offset: number) => void): void {
    const count = block.instructions.length;
    f.set(left, op('i32.sub', left, i32(count)));
    /** Registers whose locals are newer than the state, and how many side exits have written them there since. */
    const pending = new Map<number, number>();
    /** Writes what is pending to the state. */
    const settle = (): void => [...pending.keys()].forEach(storeRegister);
    const before = kinds.get(block.offset) ?? [];
    const isSettled = block.offset !== region.entry && before.length === waysIn.get(block.offset);
    let knownKind = isSettled && before.every((kind) => kind === before[0]) ? before[0]! : null;
    const goOn = (offset: number): void => {
      settle();
      kinds.set(offset, [...(kinds.get(offset) ?? []), knownKind]);
      go(offset);
    };
    const checked = new Set<string>();
    let depth = f.depth;
    const vectors = new KnownVectors(f, vectorLocals, () => f.depth === depth);
    for (const [i, { insn, offset }] of block.instructions.entries()) {
      depth = f.depth;
      if (i === count - 1 && insn.operands[0]?.kind === 'j') {
        settle();
        pending.clear();
      }
      for (const [n, exits] of pending) {
        if (exits < COLD_STORES) continue;
        storeRegister(n);
        pending.delete(n);
      }
      // A repetition may leave when it is half done.
      if (insn.rep !== 0 && meaningOf(insn) !== insn.mnemonic) {
        for (const n of REPEATED_REGISTERS) {
          liveness.use(block, n);
          pending.set(n, 0);
        }
      }
      const before = [...pending.keys()];
      let exits = 0;
      const written = new Set<number>();
      const site: RegionSite = {
        f,
        cpu,
        tag,
        tagPlace,
        pcBase,
        tlbBase,
        functions,
        flags,
        left,
        behind: count - i,
        pages,
        checked,
        vectors,
        read(n) {
          liveness.use(block, n);
          return locals[n]!;
        },
        write(n, value) {
          // Where it is written under a condition only, the value before must be there too.
          if (f.depth === depth) liveness.define(block, n);
          else liveness.use(block, n);
          f.set(locals[n]!, value);
          written.add(n);
        },
        readFlags: () => liveness.use(block, FLAGS),
        writeFlags() {
          const always = f.depth === depth;
          if (!always) liveness.use(block, FLAGS);
          liveness.define(block, FLAGS);
          return always;
        },
        sideExit() {
          exits = 1;
          before.forEach(storeRegister);
          f.set(side, i32(((count - i) << 14) | placeInPages(offset)));
          const fill = f.hole();
          liveness.exit(block, (dirty) => fill(() => f.br(dirty ? sideExitWithFlags : sideExit)));
        },
        branchTo(address) {
          for (const n of written) pending.set(n, 0);
          if (block.taken === DISPATCH) {
            f.set(target, address);
            f.set(origin, i32(placeInPages(offset)));
            return goOn(DISPATCH);
          }
          settle();
          if (insn.mnemonic === 'CALL' && block.next !== NOWHERE) {
            callTo(block, address, offset, branchTarget({ insn, offset }) === region.entry);
          } else leaveTo(block, address, insn.mnemonic === 'RET' ? exit : hop, offset);
        },
        taken: block.taken,
        branchNear() {
          for (const n of written) pending.set(n, 0);
          goOn(block.taken);
        },
      };
      f.scope(() => {
        const s = new RegionSem(site, block.instructions[i]!, knownKind);
        DEFINITIONS.get(meaningOf(insn))!(s);
        knownKind = insn.mnemonic === 'CALL' ? null : s.knownKind;
      });
      for (const n of before) pending.set(n, pending.get(n)! + exits);
      for (const n of written) pending.set(n, 0);
      // A call comes back with all of the state changed, and nothing pending.
      if (insn.mnemonic === 'CALL') pending.clear();
    }
    if (block.offset === DISPATCH) {
      emitDispatch(f, f.let(op('i64.sub', target, pcBase)), region.targets, (offset) => {
        f.set(origin, i32(-1));
        goOn(offset);
      });
      leaveTo(block, target, hop);
    }
    if (block.next !== NOWHERE) goOn(block.next);
  }

  // Unoptimized code keeps each local on the host's stack.
  const frame = f.local('i');
  const code = f.detached(() => {
    f.block((end) => {
      exit = end;
      f.block((before) => {
        sideExit = before;
        f.block((beforeWithFlags) => {
          sideExitWithFlags = beforeWithFlags;
          f.block((jump) => {
            hop = jump;
            emitStructured(f, region, {
              body,
              leave: (from, offset) => leaveTo(from, addressOf(offset), hop),
              loopBack(from, offset) {
                f.ifUnlikely(op('i32.lt_s', left, i32(MAX_REGION)), () => leaveTo(from, addressOf(offset), exit));
              },
            });
          });
          findOrLeave();
          f.returnCallIndirect(functions.type, slot, cpu, left, tag, pageOf(target), op('i32.add', room, frame));
        });
        storeFlags(f, cpu, flags);
      });
      const place = op('i64.extend_i32_u', op('i32.and', side, i32(0x3fff)));
      const address = op('i64.add', op('i64.sub', pcBase, i64(4096)), place);
      f.store('i32.store', cpu, op('i32.add', left, op('i32.shr_u', side, i32(14))), State.left);
      f.store('i64.store', cpu, region.mode === 64 ? address : op('i64.and', address, i64(0xffffffffn)), State.rip);
      f.return(i32(RegionStop.interpret));
    });
  });
  f.set(origin, i32(-1));
  f.set(frame, i32(16 * f.localCount + 160));
  f.set(room, op('i32.sub', room, frame));
  f.set(tagPlace, placeOfTag(tag));
  if (region.neighbour && beside) {
    const page = f.let(op('i64.add', pcBase, i64(4096 * region.neighbour.side)));
    const entry = f.let(entryOffset(page, tagPlace));
    const mapped = op('i64.ne', load('i64.load', entry, tlbBase + TlbField.execTag), op('i64.or', page, tag));
    const other = op('i32.ne', load('i32.load', entry, tlbBase + TlbField.code), beside);
    f.ifUnlikely(op('i32.or', mapped, other), () => {
      f.store('i32.store', cpu, left, State.left);
      f.store('i64.store', cpu, inPage(region.entry), State.rip);
      f.return(i32(RegionStop.interpret));
    });
  }
  // Any page will do at first, as long as it is known.
  for (const { page, addend } of pages.values()) {
    f.set(page, load('i64.load', cpu, State.stackPage));
    f.set(addend, load('i32.load', cpu, State.stackAddend));
  }
  liveness.solve().forEach(reload);
  f.splice(code);
  f.store('i64.store', cpu, target, State.rip);
  f.store('i64.store', cpu, pcBase, State.pcBase);
  f.store('i32.store', cpu, origin, State.origin);
  f.store('i32.store', cpu, left, State.left);
  f.return(i32(RegionStop.go));
  return f;
}
