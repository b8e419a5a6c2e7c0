/**
 * For maintainers with a C compiler on an x86-64 Linux: runs the same bytes on the processor itself, compares all
 * registers and the data with what the core leaves, and tells how many times slower the core is.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generateProgram } from './generated-program.js';
import { createLoops } from './loops.js';
import { createBenchmarkMachine } from './machine.js';
import { PROGRAM_RESULT } from './program-result.js';
import { hashOf, type Workload } from './workload.js';

interface Result {
  regs: BigUint64Array;
  seconds: number;
  data: Uint8Array;
}

const folder = mkdtempSync(join(tmpdir(), 'paravane-native-'));
let failed = false;
try {
  const program = join(folder, 'run');
  command('cc', ['-O2', '-o', program, fileURLToPath(new URL('../native/run.c', import.meta.url))]);
  for (const workload of [generateProgram(PROGRAM_RESULT), ...createLoops()]) {
    if (workload.syscalls) continue;
    const native = runNatively(program, workload, 1);
    const machine = createBenchmarkMachine(workload);
    machine.reset();
    machine.finish();
    const wrong = [...native.regs].flatMap((value, i) => (value === machine.vcpu.regs[i] ? [] : [`register ${i}`]));
    const hash = hashOf(native.data);
    if (hashOf(machine.data().subarray(0, workload.dataBytes)) !== hash) wrong.push('data');
    failed ||= wrong.length > 0;
    const { seconds } = runNatively(program, workload, 20);
    const speed = ((machine.vcpu.count * 20) / seconds / 1e6).toFixed(0);
    const result = `rax ${native.regs[0]!.toString(16)}, data ${hash.toString(16)}`;
    console.log(
      `${workload.name}: ${wrong.length === 0 ? 'same' : `DIFFERENT: ${wrong.join(', ')}`}; ${result}; ${speed} MIPS natively`,
    );
  }
} finally {
  rmSync(folder, { recursive: true });
}
process.exitCode = failed ? 1 : 0;

function command(name: string, args: string[]): void {
  const { status, stderr, error } = spawnSync(name, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${name} failed: ${error?.message ?? stderr}`);
}

function runNatively(program: string, workload: Workload, passes: number): Result {
  const { code, data, dataBytes, entry, regs } = workload;
  const input = new Uint8Array(160 + code.length + dataBytes);
  const view = new DataView(input.buffer);
  [code.length, entry, dataBytes, passes].forEach((n, i) => view.setBigUint64(i * 8, BigInt(n), true));
  for (const [register, value] of Object.entries(regs)) view.setBigUint64(32 + Number(register) * 8, value!, true);
  input.set(code, 160);
  input.set(data, 160 + code.length);
  const [from, to] = [join(folder, 'input'), join(folder, 'output')];
  writeFileSync(from, input);
  command(program, [from, to]);
  const output = readFileSync(to);
  const bytes = output.buffer.slice(output.byteOffset, output.byteOffset + output.length) as ArrayBuffer;
  return {
    regs: new BigUint64Array(bytes, 0, 16),
    seconds: new DataView(bytes).getFloat64(128, true),
    data: new Uint8Array(bytes, 136),
  };
}
