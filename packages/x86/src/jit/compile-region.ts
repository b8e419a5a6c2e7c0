/** A region as one WebAssembly function: (cpu, left, tag) → `RegionStop`. */
import { type Expr, FunctionBuilder, i32, i64, type Label, load, op } from '@paravane/wasm-emit';
import { DEFINITIONS } from '../semantics/definitions.js';
import { MAX_REGION, State } from '../state.js';
import type { BasicBlock, Region } from './region.js';
import { RegionSem, type RegionSite } from './region-sem.js';
import { emitStructured } from './structure.js';

/** Why a region returns; `State.rip` says where to go on, `State.left` what is left. */
export const RegionStop = {
  /** At any address, by whatever runs it. */
  go: 0,
  /** The interpreter must do the instruction there. */
  interpret: 1,
} as const;

export interface RegionFunctions {
  eflags: number;
  condition: number;
}

export function compileRegion(region: Region, tlbBase: number, functions: RegionFunctions): FunctionBuilder {
  const f = new FunctionBuilder(['i', 'i', 'l'], ['i']);
  const [cpu, left, tag] = [f.param(0), f.param(1), f.param(2)];
  const pcBase = f.local('l');
  const target = f.local('l');
  const stop = f.local('i');
  const flags = { kind: f.local('i'), a: f.local('l'), b: f.local('l') };
  const locals = Array.from({ length: 16 }, () => f.local('l'));
  const used = new Set<number>();
  const written = new Set<number>();
  let flagsUsed = false;
  let flagsWritten = false;
  let exit!: Label;
  const register = (n: number, write: boolean): Expr => {
    used.add(n);
    if (write) written.add(n);
    return locals[n]!;
  };
  const giveBack = (instructions: number): void => {
    if (instructions > 0) f.set(left, op('i32.add', left, i32(instructions)));
  };
  const leaveTo = (address: Expr): void => {
    f.set(target, address);
    f.br(exit);
  };
  const inPage = (offset: number): Expr => {
    const address = op('i64.add', pcBase, i64(offset));
    return region.mode === 64 ? address : op('i64.and', address, i64(0xffffffffn));
  };

  function body(block: BasicBlock, go: (offset: number) => void): void {
    const count = block.instructions.length;
    f.set(left, op('i32.sub', left, i32(count)));
    let knownKind: number | null = null;
    for (const [i, placed] of block.instructions.entries()) {
      const site: RegionSite = {
        f,
        cpu,
        tag,
        pcBase,
        tlbBase,
        functions,
        flags,
        register,
        useFlags(write) {
          flagsUsed = true;
          flagsWritten ||= write;
        },
        sideExit() {
          giveBack(count - i);
          f.set(stop, i32(RegionStop.interpret));
          leaveTo(inPage(placed.offset));
        },
        leaveTo,
        branchNear: () => go(block.taken),
      };
      f.scope(() => {
        const s = new RegionSem(site, placed, knownKind);
        DEFINITIONS.get(placed.insn.mnemonic)!(s);
        knownKind = s.knownKind;
      });
    }
    if (block.next >= 0) go(block.next);
  }

  const code = f.detached(() =>
    f.block((end) => {
      exit = end;
      emitStructured(f, region, {
        body,
        leave: (_, offset) => leaveTo(inPage(offset)),
        loopBack(offset) {
          f.if(op('i32.lt_s', left, i32(MAX_REGION)), () => leaveTo(inPage(offset)));
        },
      });
    }),
  );
  f.set(pcBase, load('i64.load', cpu, State.pcBase));
  for (const n of used) f.set(locals[n]!, load('i64.load', cpu, State.gpr + n * 8));
  if (flagsUsed) {
    f.set(flags.kind, load('i32.load', cpu, State.flagKind));
    f.set(flags.a, load('i64.load', cpu, State.flagA));
    f.set(flags.b, load('i64.load', cpu, State.flagB));
  }
  f.splice(code);
  for (const n of written) f.store('i64.store', cpu, locals[n]!, State.gpr + n * 8);
  if (flagsWritten) {
    f.store('i32.store', cpu, flags.kind, State.flagKind);
    f.store('i64.store', cpu, flags.a, State.flagA);
    f.store('i64.store', cpu, flags.b, State.flagB);
  }
  f.store('i64.store', cpu, target, State.rip);
  f.store('i32.store', cpu, left, State.left);
  f.return(stop);
  return f;
}
