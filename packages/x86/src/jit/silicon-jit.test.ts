import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { VcpuCore } from '@paravane/engine-api';
import { AccessBit, type Mmu } from '@paravane/mmu';
import { describe, expect, it } from 'vitest';
import { formatReport, LAYOUT, readSilicon, replay } from '../../silicon/format.js';
import { routineImports, routinesModule } from '../routines.js';
import { REGION_ROOM, State } from '../state.js';
import { createCaseRunner } from '../testing/silicon-runner.js';
import type { X86Vcpu } from '../vcpu.js';
import { RegionStop, regionModule } from './compile-region.js';
import { findRegion, type RegionSource } from './region.js';

const folder = new URL('../../silicon/', import.meta.url);
const groups = readdirSync(folder)
  .filter((name) => name.endsWith('.bin.gz'))
  .sort();
/** One case in so many is compiled: a module for each takes its time. */
const STRIDE = Number(process.env.PARAVANE_JIT_STRIDE ?? 12);

const routines = new WebAssembly.Module(routinesModule(false));

/** Compiles the instruction at the vCPU's address as a region and runs it; false where it left it to the interpreter. */
function runCompiled(mmu: Mmu, core: VcpuCore): boolean {
  const vcpu = core as X86Vcpu;
  const { machine, tlb, walker } = mmu;
  const tag = tlb.tag(vcpu.space.root, 13);
  for (const page of [LAYOUT.dataBase, LAYOUT.dataBase + 4096, LAYOUT.readOnlyBase]) {
    const write = page !== LAYOUT.readOnlyBase;
    walker.walk(vcpu.space, page, 0, write ? AccessBit.write : 0);
    tlb.fill(page, 0, tag, walker.result.mfn, write);
  }
  const at = LAYOUT.instructionAt;
  walker.walk(vcpu.space, at, 0, AccessBit.fetch);
  const source: RegionSource = {
    bytes: machine.u8,
    place: (mfn) => machine.frameBase + mfn * 4096,
    mfn: walker.result.mfn,
    mode: vcpu.mode,
    beside: () => null,
    hasRun: () => true,
    targets: () => [],
  };
  const region = findRegion(source, at & 4095);
  if (!region) return false;
  const places = { tlbBase: tlb.base, arena: 0, regionWords: 0 };
  const module = new WebAssembly.Module(regionModule([region], places, false));
  const helpers = new WebAssembly.Instance(routines, { env: { memory: machine.memory } });
  const table = new WebAssembly.Table({ element: 'anyfunc', initial: 0 });
  const { exports } = new WebAssembly.Instance(module, {
    env: { memory: machine.memory, table, ...routineImports(helpers.exports) },
  });
  const run = exports.r0 as (cpu: number, left: number, tag: bigint, page: bigint, room: number) => number;
  const stop = run(vcpu.base, 100_000, BigInt(tag), BigInt(at & ~4095), REGION_ROOM);
  const rip = machine.view.getBigUint64(vcpu.base + State.rip, true);
  // A side exit in mid-instruction must have changed nothing: the engine does it from the same state.
  if (rip >= LAYOUT.codeBase && rip < LAYOUT.codeBase + LAYOUT.codeSize) vcpu.rip = rip;
  else return false;
  return stop === RegionStop.go || rip !== BigInt(at);
}

describe('compiled regions give the answers of the real processor', () => {
  it.each(groups)('%s', (name) => {
    let n = 0;
    let compiled = 0;
    const runner = createCaseRunner(false, (mmu, vcpu) => {
      if (n++ % STRIDE === 0 && runCompiled(mmu, vcpu)) compiled++;
    });
    const report = replay(readSilicon(gunzipSync(readFileSync(new URL(name, folder)))), runner);
    const least = /^(alu|bits|move|shift|multiply|sse-(move|integer)|x87-(move|arithmetic))/.test(name)
      ? n / STRIDE / 3
      : 0;
    expect(formatReport(report)).toMatch(/: 0 of \d+ cases differ/);
    expect(compiled).toBeGreaterThanOrEqual(least);
  });
});
