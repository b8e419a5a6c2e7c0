/** A personality's transitions (`engine-api`) as a module of functions of type `TRANSITION`. */
import { Seg, type TransitionSite, type Transitions } from '@paravane/engine-api';
import { TlbField } from '@paravane/mmu';
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
} from '@paravane/wasm-emit';
import { eflagsFunction } from './flag-functions.js';
import { FlagKind, State, TRANSITION } from './state.js';
import { entryOffset, placeOfTag } from './tlb-probe.js';

const ARITHMETIC_FLAGS = 0x8d5;

export interface TransitionPlaces {
  shared: boolean;
  tlbBase: number;
  /** Offset in memory of machine frame 0. */
  frameBase: number;
}

export function transitionModule({ syscall, rdmsr }: Transitions, places: TransitionPlaces): Uint8Array {
  const module = new ModuleBuilder({ ...ANY_MEMORY, shared: places.shared });
  const eflags = module.add(eflagsFunction());
  module.add(transitionFunction(syscall, places, eflags), 'syscall');
  module.add(transitionFunction(rdmsr, places, eflags), 'rdmsr');
  return module.encode();
}

function transitionFunction(
  transition: (site: TransitionSite) => void,
  { tlbBase, frameBase }: TransitionPlaces,
  eflags: number,
): FunctionBuilder {
  const f = new FunctionBuilder(TRANSITION.params, TRANSITION.results);
  const [cpu, next] = [f.param(0), f.param(1)];
  const field = (at: number): Expr => load('i32.load', cpu, at);
  const wide = (at: number): Expr => load('i64.load', cpu, at);
  const tagOf = (space: 0 | 1): Expr => load('i64.load32_u', cpu, State.tags + 4 * space);
  const giveUp = (): void => f.return(i64(0));
  const giveUpIf = (condition: Expr): void => f.ifUnlikely(condition, giveUp);
  const baseAt = (register: number): number => (register === Seg.fs ? State.fsBase : State.gsBase);
  const setSystemFlags = (value: Expr): void =>
    f.store('i32.store', cpu, op('i32.and', value, i32(~ARITHMETIC_FLAGS)), State.eflags);
  const site: TransitionSite = {
    f,
    personal: f.let(op('i32.add', cpu, i32(State.personal))),
    next,
    activeSpace: field(State.space),
    gpr: (register) => wide(State.gpr + register * 8),
    setGpr: (register, value) => f.store('i64.store', cpu, value, State.gpr + register * 8),
    selector: (register) => load('i32.load16_u', cpu, State.selectors + register * 2),
    setSelector: (register, value) => f.store('i32.store16', cpu, value, State.selectors + register * 2),
    base: (register) => wide(baseAt(register)),
    setBase: (register, value) => f.store('i64.store', cpu, value, baseAt(register)),
    rflags() {
      const arithmetic = callExpr('i', eflags, field(State.flagKind), wide(State.flagA), wide(State.flagB));
      return op('i32.or', op('i32.and', arithmetic, i32(ARITHMETIC_FLAGS)), op('i32.or', field(State.eflags), i32(2)));
    },
    setSystemFlags,
    setRflags(value) {
      setSystemFlags(value);
      f.store('i32.store', cpu, i32(FlagKind.bits), State.flagKind);
      f.store('i64.store', cpu, i64(0), State.flagA);
      f.store('i64.store', cpu, op('i64.extend_i32_u', op('i32.and', value, i32(ARITHMETIC_FLAGS))), State.flagB);
    },
    machine: (maddr) => op('i32.add', maddr, i32(frameBase)),
    guest(space, address, bytes, access) {
      const tag = f.let(tagOf(space));
      const first = f.let(address);
      const entry = f.let(entryOffset(first, placeOfTag(tag)));
      const known = load('i64.load', entry, tlbBase + (access === 'write' ? TlbField.writeTag : TlbField.readTag));
      // A tag of 0 finds entries that are empty.
      giveUpIf(op('i64.eqz', tag));
      // The last byte's page: bytes over two pages never match.
      const page = op('i64.and', op('i64.add', first, i64(bytes - 1)), i64(-4096));
      giveUpIf(op('i64.ne', known, op('i64.or', page, tag)));
      return f.let(op('i32.add', op('i32.wrap_i64', first), load('i32.load', entry, tlbBase + TlbField.addend)));
    },
    giveUp,
    giveUpIf,
    giveUpWithout: (space) => giveUpIf(op('i64.eqz', tagOf(space))),
    goTo(space, address) {
      f.store('i64.store', cpu, address, State.rip);
      f.store('i32.store', cpu, i32(space), State.space);
      f.return(tagOf(space));
    },
  };
  giveUpIf(op('i32.eqz', field(State.transitions)));
  transition(site);
  giveUp();
  return f;
}
