/**
 * The engine: runs vCPUs on the generated interpreter and does what generated
 * code leaves to it: translations that miss, branches not yet linked, stores
 * over two pages or to code, and instructions defined in TypeScript.
 *
 * Trusts the MMU's walks; trusts nothing of the guest. Every path through `run`
 * counts each instruction once.
 */
import type { Engine, Transitions, VcpuCore } from '@paravane/engine-api';
import type { Mmu } from '@paravane/mmu';
import { CODE_CACHE_BYTES, createCodeCache, reserveCodeAreas } from './code-cache.js';
import { disassembleAt } from './disassemble.js';
import { TRANSITION_SLOTS } from './interpreter.js';
import { createJit, type Jit, type JitOptions, SAMPLE_INTERVAL } from './jit/jit.js';
import { decodeCode, encodeCode } from './jit/stored-code.js';
import { MemoryAccess } from './memory-access.js';
import { BUILD, interpreterImage } from './prebuilt.js';
import { routineImports } from './routines.js';
import { STATE_BYTES } from './state.js';
import { transitionModule } from './transitions.js';
import { X86Vcpu } from './vcpu.js';
import { walkModule } from './walk-module.js';

/** Bytes of the machine's core area that an engine with its TLB needs (`MachineMemoryOptions.coreBytes`). */
export const CORE_BYTES = CODE_CACHE_BYTES + (2 << 20);

export interface EngineOptions extends JitOptions {
  mmu: Mmu;
  /** Source of RDRAND and RDSEED: 64 random bits. */
  random?: () => bigint;
  /** Whether hot code is compiled; true unless given. Results are the same either way. */
  jit?: boolean;
  /** What SYSCALL and RDMSR do without stopping the core. */
  transitions?: Transitions;
  /**
   * What `compiledCode` gave after an earlier run, as it was; null where there is none yet. It is used where the guest has
   * the same code again. Of another build, or malformed, it counts as none. Not given: none is kept. Results are the
   * same either way.
   */
  code?: Uint8Array | null;
}

export interface X86Engine extends Engine {
  /**
   * Compiled code for later runs of any guest: up to 8 MiB. Null where it has not changed, or none is to be kept. It is
   * to be kept from changes: what runs is not checked again.
   */
  compiledCode(): Uint8Array | null;
}

type RunFunction = (cpu: number, ip: number, left: number, tag: bigint) => number;

/** What the parts of one engine share. */
export interface EngineParts {
  readonly mmu: Mmu;
  readonly access: MemoryAccess;
  readonly cache: ReturnType<typeof createCodeCache>;
  readonly run: RunFunction;
  /** Materialises lazy flags: kind, a, b → RFLAGS bits. */
  readonly eflags: (kind: number, a: bigint, b: bigint) => number;
  /** Null where only the interpreter runs code. */
  readonly jit: Jit | null;
  /** Instructions until the next sample of where code runs. */
  untilSample: number;
  /** Instructions that the interpreter has done since the last one. */
  interpreted: number;
  /** Instructions that compiled code has done. */
  compiled: number;
  readonly random: () => bigint;
  /** The vCPU whose code runs now. */
  current: X86Vcpu | null;
}

const instantiate = (bytes: Uint8Array, env: WebAssembly.Imports[string]): WebAssembly.Exports =>
  new WebAssembly.Instance(new WebAssembly.Module(bytes), { env }).exports;

export function createX86Engine(options: EngineOptions): X86Engine {
  const { mmu } = options;
  const { machine } = mmu;
  const areas = reserveCodeAreas(machine);
  const image = interpreterImage({ shared: machine.shared, tlbBase: mmu.tlb.base, ...areas });
  const cache = createCodeCache(mmu, image, areas);
  const table = new WebAssembly.Table({ element: 'anyfunc', initial: image.tableSlots });
  mmu.onCodeWrite = (mfn, offset, length) => void cache.invalidate(mfn, offset, length);
  const access = new MemoryAccess(mmu, cache);
  const walks = machine.reserve(4, 4);
  const walking = instantiate(walkModule({ mmu, descriptors: cache.descriptorTable, walks }), {
    memory: machine.memory,
    miss: (lo: number, hi: number, how: number, ip: number) => parts.current!.miss(lo, hi, how, ip),
  });
  const module = new WebAssembly.Module(image.bytes);
  const instance = new WebAssembly.Instance(module, {
    env: {
      memory: machine.memory,
      table,
      miss: walking.miss!,
      fetch: walking.fetch!,
      commit: () => (access.commit() ? 1 : 0),
      slow: (ip: number, left: number) => parts.current!.slow(ip, left),
    },
  });
  if (options.transitions) {
    const bytes = transitionModule(options.transitions, {
      shared: machine.shared,
      tlbBase: mmu.tlb.base,
      frameBase: machine.frameBase,
    });
    const transitions = instantiate(bytes, { memory: machine.memory });
    table.set(TRANSITION_SLOTS.SYSCALL, transitions.syscall as never);
    table.set(TRANSITION_SLOTS.RDMSR, transitions.rdmsr as never);
  }
  const madeFor = JSON.stringify([BUILD, machine.shared, mmu.tlb.base, areas]);
  const kept = options.code === undefined ? null : decodeCode(madeFor, options.code ?? new Uint8Array());
  const parts: EngineParts = {
    mmu,
    access,
    cache,
    run: instance.exports.run as RunFunction,
    eflags: instance.exports.eflags as EngineParts['eflags'],
    jit:
      options.jit === false
        ? null
        : createJit(mmu, cache, areas, table, image.tableSlots, routineImports(instance.exports), options, kept),
    untilSample: SAMPLE_INTERVAL,
    interpreted: 0,
    compiled: 0,
    random: options.random ?? (() => 0x9e3779b97f4a7c15n),
    current: null,
  };
  return {
    name: parts.jit ? 'jit' : 'interpreter',
    createVcpu: (): VcpuCore => new X86Vcpu(parts, machine.reserve(STATE_BYTES, 64)),
    disassemble: (vcpu, address) => disassembleAt(mmu, vcpu, address),
    compiledCode() {
      const modules = parts.jit?.stored() ?? null;
      return modules && encodeCode(madeFor, modules);
    },
    stats: () => ({
      decodedInstructions: cache.decoded,
      codeResets: cache.resets,
      codeInvalidations: cache.invalidations,
      tlbMisses: access.misses + (machine.u32[walks >> 2] ?? 0),
      ...(parts.jit ? { ...parts.jit.stats(), doneInCompiledCode: parts.compiled } : {}),
    }),
  };
}
