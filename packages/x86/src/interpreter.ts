/**
 * The interpreter: one WebAssembly module made from the instruction
 * definitions. `run` is a loop around one `br_table` over micro-operations;
 * definitions that are not hot become functions of their own, called through the
 * table, so that the loop stays small enough to be optimized well.
 */

import { TlbField } from '@paravane/mmu';
import {
  ANY_MEMORY,
  callExpr,
  callIndirect,
  type Expr,
  FunctionBuilder,
  i32,
  i64,
  type Label,
  load,
  ModuleBuilder,
  op,
  select,
} from '@paravane/wasm-emit';
import { DynamicSem, type HandlerSite } from './dynamic-sem.js';
import { conditionFunction, eflagsFunction } from './flag-functions.js';
import { type HandlerShape, handlerShapes } from './handlers.js';
import { fusedSequences, isHot, type Sequence } from './loop-handlers.js';
import { addRoutines } from './routines.js';
import { DEFINITIONS } from './semantics/definitions.js';
import {
  COMPILED_JUMP,
  MAX_REGION,
  MISS_WRITE,
  NO_JUMP,
  REGION,
  REGION_ROOM,
  SCRATCH_TOP,
  State,
  Stop,
  TRANSITION,
  UOP_BYTES,
  Uop,
} from './state.js';
import { entryOffset, placeOfTag } from './tlb-probe.js';
import { FETCH, MISS } from './walk-module.js';

/** Handlers that are no instruction. */
export const SpecialOp = {
  /** The engine does the instruction. */
  slow: 0,
  /** Effective address of the next one into `State.temp`, masked by the immediate (zero-extended). */
  address: 1,
  /** The same without a mask. */
  address64: 2,
  /** A 64-bit absolute address into `State.temp`. */
  absolute: 3,
  /** End of a block in the middle of a page: goes on at the linked micro-operation. */
  chain: 4,
  /** End of a block at the end of its page. */
  chainFar: 5,
  /** The next instruction lies on two pages: checks that the second is still the one it was decoded from. */
  crossCheck: 6,
  end: 7,
  /** #UD. */
  invalid: 8,
  /** #GP(0): over 15 bytes. */
  tooLong: 9,
  /** A compiled region begins here; the handler it stands for is in the region word. */
  region: 10,
  /** Access through a segment whose bit is in slot 1: where `State.limited` has it, the engine checks it first. */
  segmentCheck: 11,
  /** The personality's transition for an instruction of 64-bit code (slot 1: `TRANSITION_SLOTS`), else the engine. Displacement: page offset behind it. */
  transition: 12,
} as const;
const SPECIAL_COUNT = 16;

/** Table slots of the functions that instructions ask first; in the module they are one that always gives up. */
export const TRANSITION_SLOTS = { SYSCALL: 0, RDMSR: 1 } as const;
const TRANSITION_COUNT = Object.keys(TRANSITION_SLOTS).length;

/** Entries of a block, by calls and from compiled code, between two reports of it to the engine. A power of two. */
const HOT_ENTRIES = 4096;
/** The same of code that returns and transitions lead to: most of it is part of regions that begin elsewhere. */
const HOT_RETURNS = 16384;

export interface InterpreterImage {
  bytes: Uint8Array;
  /** Handler number by key. */
  handlers: ReadonlyMap<string, number>;
  /** Slots of table 0 that the module fills itself. */
  tableSlots: number;
  /** Handler of a sequence of instructions: by that of all but the last × 65,536 + that of the last. */
  fused: ReadonlyMap<number, number>;
}

const SP = { params: ['i', 'i', 'i', 'l'] as const };

export interface InterpreterOptions {
  shared: boolean;
  tlbBase: number;
  /** Start of the micro-operations. */
  arena: number;
  /** Region words, 4 bytes for each micro-operation: handler that a region stands for, and its table slot << 16. */
  regionWords: number;
}

export function buildInterpreter(machine: InterpreterOptions): InterpreterImage {
  const { tlbBase } = machine;
  const module = new ModuleBuilder({ ...ANY_MEMORY, shared: machine.shared }, true);
  const miss = module.import('miss', MISS.params, MISS.results);
  const fetch = module.import('fetch', FETCH.params, FETCH.results);
  const commit = module.import('commit', [], ['i']);
  const slow = module.import('slow', ['i', 'i'], ['i']);
  const eflags = module.add(eflagsFunction(), 'eflags');
  const condition = module.add(conditionFunction(eflags));
  const functions = { miss, eflags, condition, routines: addRoutines(module) };

  const shapes = handlerShapes();
  const hot = shapes.filter(isHot);
  const cold = shapes.filter((shape) => !isHot(shape));
  const handlers = new Map<string, number>();
  hot.forEach((shape, i) => handlers.set(shape.key, SPECIAL_COUNT + i));
  const sequences = fusedSequences(hot, handlers, SPECIAL_COUNT + hot.length);
  const fused = new Map(
    sequences.map(({ number, prefix, shapes }) => [prefix * 65536 + handlers.get(shapes.at(-1)!.key)!, number]),
  );
  const coldBase = SPECIAL_COUNT + hot.length + sequences.length;
  const noTransition = new FunctionBuilder(TRANSITION.params, TRANSITION.results);
  noTransition.return(i64(0));
  const givesUp = module.add(noTransition);
  for (let slot = 0; slot < TRANSITION_COUNT; slot++) module.tableSlot(givesUp);
  const coldFunctions = cold.map((shape) => ({ shape, ...coldFunction(shape, tlbBase, functions, commit) }));
  const [withFlags, flagless] = [true, false].map((uses) =>
    coldFunctions.filter(({ usesFlags }) => usesFlags === uses),
  );
  [...withFlags!, ...flagless!].forEach(({ shape, f }, i) => {
    handlers.set(shape.key, coldBase + i);
    module.tableSlot(module.add(f));
  });
  const coldType = module.type(['i', 'i', 'l'], ['i']);
  const regionType = module.type(REGION.params, REGION.results);
  module.add(
    loopFunction(hot, sequences, tlbBase, functions, {
      fetch,
      commit,
      slow,
      coldType,
      regionType,
      transitionType: module.type(TRANSITION.params, TRANSITION.results),
      coldBase,
      flaglessBase: coldBase + withFlags!.length,
      arena: machine.arena,
      regionWords: machine.regionWords,
    }),
    'run',
  );
  return { bytes: module.encode(), handlers, fused, tableSlots: cold.length + TRANSITION_COUNT };
}

/** A definition as a function of (cpu, ip, tag) → `Stop`; flags are kept in the state. `usesFlags`: reads or writes them. */
function coldFunction(
  shape: HandlerShape,
  tlbBase: number,
  functions: HandlerSite['functions'],
  commit: number,
): { f: FunctionBuilder; usesFlags: boolean } {
  const f = new FunctionBuilder(['i', 'i', 'l'], ['i']);
  let usesFlags = false;
  const flag = (value: Expr): Expr => {
    usesFlags = true;
    return value;
  };
  const [cpu, ip, tag] = [f.param(0), f.param(1), f.param(2)];
  const site: HandlerSite = {
    f,
    cpu,
    ip,
    tag,
    tagPlace: placeOfTag(tag),
    tlbBase,
    functions,
    get flagKind() {
      return flag(load('i32.load', cpu, State.flagKind));
    },
    get flagA() {
      return flag(load('i64.load', cpu, State.flagA));
    },
    get flagB() {
      return flag(load('i64.load', cpu, State.flagB));
    },
    writeFlags(kind, a, b) {
      usesFlags = true;
      const [va, vb] = [f.let(a), f.let(b)];
      f.store('i32.store', cpu, kind, State.flagKind);
      f.store('i64.store', cpu, va, State.flagA);
      f.store('i64.store', cpu, vb, State.flagB);
    },
    fault: () => f.return(i32(Stop.fault)),
    raise: () => f.return(i32(Stop.raise)),
    bail: () => f.return(i32(Stop.slow)),
    branchLinked: () => {
      throw new TypeError(`${shape.mnemonic} branches and must be hot`);
    },
    branchTo: () => {
      throw new TypeError(`${shape.mnemonic} branches and must be hot`);
    },
    get left(): Expr {
      throw new TypeError(`${shape.mnemonic} counts and must be hot`);
    },
  };
  const s = new DynamicSem(site, shape);
  DEFINITIONS.get(shape.mnemonic)!(s);
  if (s.stores.length > 0) {
    f.if(s.inScratch(), () => f.if(callExpr('i', commit), () => f.return(i32(Stop.leave))));
  }
  f.return(i32(Stop.go));
  return { f, usesFlags };
}

interface LoopParts {
  fetch: number;
  commit: number;
  slow: number;
  coldType: number;
  regionType: number;
  transitionType: number;
  coldBase: number;
  /** First of the cold handlers that have nothing to do with flags. */
  flaglessBase: number;
  arena: number;
  regionWords: number;
}

/** run(cpu, ip, left, tag) → `Stop`. Everything else goes through the state. */
function loopFunction(
  hot: HandlerShape[],
  sequences: readonly Sequence[],
  tlbBase: number,
  functions: HandlerSite['functions'],
  parts: LoopParts,
): FunctionBuilder {
  const f = new FunctionBuilder(SP.params, ['i']);
  const [cpu, ip, left, tag] = [f.param(0), f.param(1), f.param(2), f.param(3)];
  const [kind, a, b, code, handler] = [f.local('i'), f.local('l'), f.local('l'), f.local('i'), f.local('i')];
  const loadFlags = (): void => {
    f.set(kind, load('i32.load', cpu, State.flagKind));
    f.set(a, load('i64.load', cpu, State.flagA));
    f.set(b, load('i64.load', cpu, State.flagB));
  };
  const storeFlags = (): void => {
    f.store('i32.store', cpu, kind, State.flagKind);
    f.store('i64.store', cpu, a, State.flagA);
    f.store('i64.store', cpu, b, State.flagB);
  };
  const next = (): void => f.set(ip, op('i32.add', ip, i32(UOP_BYTES)));
  const retire = (extra: number): void =>
    f.set(left, op('i32.sub', left, op('i32.add', load('i32.load8_u', ip, Uop.number), i32(extra))));

  const tagPlace = f.let(placeOfTag(tag));
  loadFlags();
  f.block((exit) => {
    const leave = (stop: number): void => {
      f.set(code, i32(stop));
      f.br(exit);
    };
    f.set(handler, load('i32.load16_u', ip, Uop.handler));
    // One loop, and the next handler is read at the end of each: the host looks for interrupts at every loop's head.
    f.loop((again) => {
      const go = (): void => {
        f.set(handler, load('i32.load16_u', ip, Uop.handler));
        f.br(again);
      };
      const goIf = (condition: Expr): void => {
        f.set(handler, load('i32.load16_u', ip, Uop.handler));
        f.brIf(condition, again);
      };
      const wordOf = (uop: Expr): Expr =>
        op('i32.shl', op('i32.shr_u', op('i32.sub', uop, i32(parts.arena)), i32(4)), i32(2));
      /** Counts that the block at `ip`, whose handler is known, was entered; leaves at times where it is often. */
      const countEntry = (times: number, from: { uop: Expr; page: Expr } | null): void =>
        f.if(op('i32.ne', handler, i32(SpecialOp.region)), () => {
          const word = f.let(wordOf(ip));
          const count = f.let(op('i32.add', load('i32.load', word, parts.regionWords), i32(1)));
          f.store('i32.store', word, count, parts.regionWords);
          f.if(op('i32.eqz', op('i32.and', count, i32(times - 1))), () =>
            f.if(op('i32.ge_s', left, i32(0)), () => {
              f.store('i32.store', cpu, from?.uop ?? i32(NO_JUMP), State.jumpUop);
              if (from) f.store('i64.store', cpu, from.page, State.jumpPage);
              leave(Stop.hot);
            }),
          );
        });
      /** Follows the link in the branch at `ip`; `extra` is 1 when the branch is an instruction. */
      const followLink = (extra: number, counted: boolean): void => {
        const target = f.let(load('i32.load', ip, Uop.disp));
        retire(extra);
        f.if(op('i32.eqz', target), () => leave(Stop.link));
        f.set(ip, target);
        if (counted) {
          f.set(handler, load('i32.load16_u', ip, Uop.handler));
          countEntry(HOT_ENTRIES, null);
        }
        goIf(op('i32.ge_s', left, i32(0)));
        leave(Stop.budget);
      };
      /** Micro-operation of the block at a linear address, found through the TLB, or 0. */
      const lookUp = (target: Expr): Expr => {
        const low = f.let(op('i32.wrap_i64', target));
        const entry = f.let(entryOffset(target, tagPlace));
        const page = op('i64.and', target, i64(-4096));
        const block = f.local('i');
        f.set(block, i32(0));
        const known = op('i64.eq', load('i64.load', entry, tlbBase + TlbField.execTag), op('i64.or', page, tag));
        const descriptor = f.let(select(known, load('i32.load', entry, tlbBase + TlbField.code), i32(0)));
        f.if(
          descriptor,
          () =>
            f.set(
              block,
              load('i32.load', op('i32.add', descriptor, op('i32.shl', op('i32.and', low, i32(4095)), i32(2)))),
            ),
          () => f.set(block, callExpr('i', parts.fetch, cpu, target, tag)),
        );
        // It is negative where a region stands for it.
        f.if(op('i32.lt_s', block, i32(0)), () => f.set(block, op('i32.sub', i32(0), block)));
        return block;
      };
      /** `times`: of entries that are reported, or 0; `jumps`: the branch at `ip` is an indirect jump. */
      const goTo = (target: Expr, extra: number, times: number, jumps = false): void => {
        retire(extra);
        const block = lookUp(target);
        f.if(op('i32.eqz', block), () => {
          f.store('i64.store', cpu, target, State.rip);
          leave(Stop.resolve);
        });
        const from = jumps ? { uop: f.let(ip), page: f.let(load('i64.load', cpu, State.pcBase)) } : null;
        f.store('i64.store', cpu, op('i64.and', target, i64(-4096)), State.pcBase);
        f.set(ip, block);
        if (times > 0) {
          f.set(handler, load('i32.load16_u', ip, Uop.handler));
          countEntry(times, from);
        }
        goIf(op('i32.ge_s', left, i32(0)));
        leave(Stop.budget);
      };
      f.block((finishStore) => {
        f.block((slowLabel) => {
          const specials: (() => void)[] = [];
          specials[SpecialOp.slow] = () => f.br(slowLabel);
          const effective = (): Expr => {
            const at = (field: number): Expr => load('i64.load', op('i32.add', cpu, load('i32.load8_u', ip, field)));
            return op(
              'i64.add',
              op('i64.add', at(Uop.base), load('i64.load32_s', ip, Uop.disp)),
              op('i64.shl', at(Uop.index), load('i64.load8_u', ip, Uop.scale)),
            );
          };
          specials[SpecialOp.address] = () => {
            f.store('i64.store', cpu, op('i64.and', effective(), load('i64.load32_u', ip, Uop.imm)), State.temp);
            next();
            go();
          };
          specials[SpecialOp.address64] = () => {
            f.store('i64.store', cpu, effective(), State.temp);
            next();
            go();
          };
          specials[SpecialOp.absolute] = () => {
            f.store('i64.store', cpu, load('i64.load', ip, Uop.disp), State.temp);
            next();
            go();
          };
          specials[SpecialOp.segmentCheck] = () => {
            const limited = load('i32.load', cpu, State.limited);
            f.brIf(op('i32.and', limited, load('i32.load8_u', ip, Uop.slot1)), slowLabel);
            next();
            go();
          };
          specials[SpecialOp.chain] = () => followLink(0, false);
          specials[SpecialOp.chainFar] = () =>
            goTo(f.let(op('i64.add', load('i64.load', cpu, State.pcBase), load('i64.load32_s', ip, Uop.disp))), 0, 0);
          specials[SpecialOp.crossCheck] = () => {
            // The second page's descriptor (at imm) and its generation (at disp) must be what they were.
            const va = f.let(op('i64.add', load('i64.load', cpu, State.pcBase), i64(4096)));
            const entry = f.let(entryOffset(va, tagPlace));
            const descriptor = f.let(load('i32.load', ip, Uop.imm));
            const mapped = op('i64.eq', load('i64.load', entry, tlbBase + TlbField.execTag), op('i64.or', va, tag));
            const same = op('i32.eq', load('i32.load', entry, tlbBase + TlbField.code), descriptor);
            const fresh = op('i32.eq', load('i32.load', descriptor, 0x4000), load('i32.load', ip, Uop.disp));
            f.if(op('i32.and', op('i32.and', mapped, same), fresh), () => {
              next();
              go();
            });
            f.br(slowLabel);
          };
          specials[SpecialOp.end] = () => {
            retire(0);
            leave(Stop.end);
          };
          const raise = (vector: number, errorCode: number) => (): void => {
            f.store('i32.store', cpu, i32(vector), State.vector);
            f.store('i32.store', cpu, i32(errorCode), State.errorCode);
            leave(Stop.raise);
          };
          const regionWord = (): Expr => load('i32.load', wordOf(ip), parts.regionWords);
          /** Goes on with the handler that the region at `ip` stands for. */
          const standIn = (word: Expr): void => {
            f.store('i32.store', cpu, i32(-1), State.origin);
            f.set(handler, op('i32.and', word, i32(0xffff)));
            f.br(again);
          };
          specials[SpecialOp.region] = () => {
            const word = f.let(regionWord());
            // Within a region the budget is looked at in loops only.
            f.if(op('i32.lt_s', left, i32(MAX_REGION)), () => {
              f.store('i32.store', cpu, left, State.regionLeft);
              standIn(word);
            });
            // Regions take it for granted that they know a page that the stack may write.
            const stack = f.let(op('i64.and', load('i64.load', cpu, State.gpr + 32), i64(-4096)));
            const entry = f.let(entryOffset(stack, tagPlace));
            const mapped = load('i64.load', entry, tlbBase + TlbField.writeTag);
            f.if(op('i64.ne', mapped, op('i64.or', stack, tag)), () => {
              const host = f.local('i');
              f.set(host, callExpr('i', functions.miss, cpu, stack, i32(1 | MISS_WRITE), ip, tag));
              f.if(op('i32.lt_u', op('i32.add', host, i32(1)), i32(SCRATCH_TOP + 1)), () => standIn(word));
            });
            f.store('i64.store', cpu, stack, State.stackPage);
            f.store('i32.store', cpu, load('i32.load', entry, tlbBase + TlbField.addend), State.stackAddend);
            storeFlags();
            f.store('i32.store', cpu, i32(-1), State.origin);
            f.loop((chain) => {
              const page = load('i64.load', cpu, State.pcBase);
              const given = f.let(left);
              const before = f.let(op('i32.add', load('i32.load', cpu, State.compiled), left));
              const slot = op('i32.shr_u', word, i32(16));
              f.set(code, callIndirect('i', parts.regionType, slot, cpu, left, tag, page, i32(REGION_ROOM)));
              f.set(left, load('i32.load', cpu, State.left));
              f.store('i32.store', cpu, op('i32.sub', before, left), State.compiled);
              f.store('i32.store', cpu, left, State.regionLeft);
              // It wants its first instruction done. Not by way of the TLB: where stack and data share an entry,
              // what the region needs to begin takes away what would lead back to it.
              f.if(op('i32.eq', left, given), () => {
                loadFlags();
                standIn(word);
              });
              const target = f.let(load('i64.load', cpu, State.rip));
              const block = f.let(lookUp(target));
              f.if(op('i32.eqz', block), () => {
                loadFlags();
                leave(Stop.resolve);
              });
              const leftPage = f.let(load('i64.load', cpu, State.pcBase));
              f.store('i64.store', cpu, op('i64.and', target, i64(-4096)), State.pcBase);
              f.set(ip, block);
              f.set(handler, load('i32.load16_u', ip, Uop.handler));
              loadFlags();
              f.if(
                op('i32.eq', handler, i32(SpecialOp.region)),
                () => {
                  f.set(word, regionWord());
                  f.brIf(op('i32.and', op('i32.eqz', code), op('i32.ge_s', left, i32(MAX_REGION))), chain);
                  f.set(handler, op('i32.and', word, i32(0xffff)));
                  f.store('i32.store', cpu, i32(-1), State.origin);
                },
                () =>
                  f.if(op('i32.eqz', code), () => countEntry(HOT_ENTRIES, { uop: i32(COMPILED_JUMP), page: leftPage })),
              );
              f.brIf(op('i32.ge_s', left, i32(0)), again);
              leave(Stop.budget);
            });
          };
          specials[SpecialOp.transition] = () => {
            storeFlags();
            const behind = op('i64.add', load('i64.load', cpu, State.pcBase), load('i64.load32_s', ip, Uop.disp));
            const newTag = f.let(
              callIndirect('l', parts.transitionType, load('i32.load8_u', ip, Uop.slot1), cpu, behind),
            );
            f.brIf(op('i64.eqz', newTag), slowLabel);
            f.set(tag, newTag);
            f.set(tagPlace, placeOfTag(tag));
            loadFlags();
            goTo(f.let(load('i64.load', cpu, State.rip)), 1, HOT_RETURNS);
          };
          specials[SpecialOp.invalid] = raise(6, -1);
          specials[SpecialOp.tooLong] = raise(13, 0);

          const site: HandlerSite = {
            f,
            cpu,
            ip,
            tag,
            tagPlace,
            tlbBase,
            functions,
            flagKind: kind,
            flagA: a,
            flagB: b,
            writeFlags(k, va, vb) {
              f.set(kind, k);
              f.set(a, va);
              f.set(b, vb);
            },
            fault: () => leave(Stop.fault),
            raise: () => leave(Stop.raise),
            bail: () => f.br(slowLabel),
            branchLinked: () => followLink(1, false),
            branchTo: (target) => goTo(target, 1, 0),
            left,
          };
          /** One instruction's code; `ip` is behind it in the end. Returns the kind of the flags if it is known then. */
          const emitOne = (shape: HandlerShape, knownKind: number | null): number | null => {
            const s: DynamicSem = new DynamicSem(
              withCommit(site, (): DynamicSem => s),
              shape,
              knownKind,
            );
            DEFINITIONS.get(shape.mnemonic)!(s);
            next();
            if (s.stores.length > 0 && !/^CALL$/.test(shape.mnemonic)) f.brIf(s.inScratch(), finishStore);
            return s.knownKind;
          };
          const emitHot = (shape: HandlerShape): void =>
            f.scope(() => {
              emitOne(shape, null);
              go();
            });
          const emitSequence = ({ shapes }: Sequence): void =>
            f.scope(() => {
              shapes.reduce<number | null>((kind, shape) => emitOne(shape, kind), null);
              go();
            });
          /** A call stores its return address before it branches: that store is finished first. */
          function withCommit(base: HandlerSite, sem: () => DynamicSem): HandlerSite {
            const finish = (): void => {
              if (sem().stores.length > 0)
                f.if(sem().inScratch(), () => f.if(callExpr('i', parts.commit), () => undefined));
            };
            const counted = (): boolean => sem().mnemonic === 'CALL';
            return {
              ...base,
              branchLinked: () => {
                finish();
                followLink(1, counted());
              },
              branchTo: (target) => {
                finish();
                const { mnemonic, forms } = sem();
                const jumps = mnemonic === 'JMP' && forms[0]!.kind !== 'J';
                goTo(target, 1, mnemonic === 'RET' ? HOT_RETURNS : counted() || jumps ? HOT_ENTRIES : 0, jumps);
              },
            };
          }
          const coldCall = (): void => {
            const usesFlags = f.let(op('i32.lt_u', handler, i32(parts.flaglessBase)));
            f.if(usesFlags, storeFlags);
            const slot = op('i32.sub', handler, i32(parts.coldBase - TRANSITION_COUNT));
            f.set(code, callIndirect('i', parts.coldType, slot, cpu, ip, tag));
            f.if(usesFlags, loadFlags);
            f.if(op('i32.eqz', code), () => {
              next();
              go();
            });
            f.brIf(op('i32.eq', code, i32(Stop.slow)), slowLabel);
            f.if(op('i32.eq', code, i32(Stop.leave)), () => next());
            f.br(exit);
          };
          const bodies: (() => void)[] = [];
          for (let i = 0; i < SPECIAL_COUNT; i++) {
            bodies.push(() => f.scope(specials[i] ?? specials[SpecialOp.invalid]!));
          }
          for (const shape of hot) bodies.push(() => emitHot(shape));
          for (const sequence of sequences) bodies.push(() => emitSequence(sequence));
          bodies.push(() => f.scope(coldCall));
          const labels: Label[] = [];
          const nest = (i: number): void => {
            if (i < 0) {
              f.brTable(handler, labels.slice(0, -1), labels.at(-1)!);
              return;
            }
            f.block((label) => {
              labels[i] = label;
              nest(i - 1);
            });
            bodies[i]!();
          };
          nest(bodies.length - 1);
        }, 'slow');
        storeFlags();
        f.store('i32.store', cpu, left, State.left);
        f.set(code, callExpr('i', parts.slow, ip, left));
        f.set(left, load('i32.load', cpu, State.left));
        loadFlags();
        f.if(op('i32.eqz', code), () => {
          next();
          go();
        });
        f.br(exit);
      }, 'store');
      // The instruction is complete and `ip` is behind it.
      goIf(op('i32.eqz', callExpr('i', parts.commit)));
      leave(Stop.leave);
    });
  });
  storeFlags();
  f.store('i32.store', cpu, ip, State.ip);
  f.store('i32.store', cpu, left, State.left);
  f.return(code);
  return f;
}
