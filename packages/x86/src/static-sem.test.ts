import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { Exit } from '@paravane/engine-api';
import type { Mmu } from '@paravane/mmu';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatReport, readSilicon, replay } from '../silicon/format.js';
import { assembleProgram } from './assemble.js';
import { decode, type Instruction } from './decode.js';
import { isGenerated } from './handlers.js';
import { State } from './state.js';
import { compileBlock } from './static-sem.js';
import { CODE, createCore, DATA, DATA_BYTES } from './testing/core.js';
import { createCaseRunner } from './testing/silicon-runner.js';
import type { X86Vcpu } from './vcpu.js';

function instructionsOf(bytes: Uint8Array): Instruction[] {
  const list: Instruction[] = [];
  for (let at = 0; at < bytes.length; ) {
    const insn = decode(bytes, at, bytes.length, 64);
    if (insn === null || typeof insn === 'string') throw new Error(`byte ${at} is no instruction`);
    list.push(insn);
    at += insn.length;
  }
  return list;
}

/** Runs a block of compiled code on a vCPU; returns the number of instructions that it did. */
function runCompiled(mmu: Mmu, vcpu: X86Vcpu, instructions: readonly Instruction[], tag: bigint): number {
  const { machine, tlb } = mmu;
  const pages = machine.memory.buffer.byteLength / 0x10000;
  const bytes = compileBlock(instructions, vcpu.rip, tlb.base, { pages, shared: machine.shared });
  const imports = { memory: machine.memory, eflags: vcpu.parts.eflags };
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: imports });
  const done = (exports.block as (cpu: number, tag: bigint) => number)(vcpu.base, tag);
  vcpu.rip = machine.view.getBigUint64(vcpu.base + State.rip, true);
  return done;
}

// Programs. RBX points to the data and RSP to the stack; all other registers are fair game.
const wide = ['rax', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'r8', 'r13'];
const registers: Record<number, string[]> = {
  8: ['al', 'cl', 'dl', 'ah', 'ch', 'sil', 'r8b'],
  16: ['ax', 'cx', 'dx', 'si', 'bp', 'r13w'],
  32: ['eax', 'ecx', 'edx', 'edi', 'r8d', 'r13d'],
  64: wide,
};
const sizes: Record<number, string> = { 8: 'byte', 16: 'word', 32: 'dword', 64: 'qword' };
const width = fc.constantFrom(8, 16, 32, 64);
const reg = (bits: number) => fc.constantFrom(...registers[bits]!);
/** Mostly within the data; now and then over its pages, or where nothing is mapped. */
const place = fc
  .oneof({ weight: 30, arbitrary: fc.nat(0xff0) }, { weight: 1, arbitrary: fc.constantFrom(0xffd, 0x1ffd, 0x5000) })
  .map((disp) => `[rbx+${disp}]`);
const mem = (bits: number) => place.map((text) => `${sizes[bits]} ${text}`);
const rm = (bits: number) => fc.oneof(reg(bits), mem(bits));
const imm = (bits: number) =>
  fc.oneof(
    fc.integer({ min: -128, max: 127 }),
    fc.integer({ min: -(2 ** Math.min(bits - 1, 31)), max: 2 ** Math.min(bits - 1, 31) - 1 }),
  );
const condition = fc.constantFrom(
  'o',
  'no',
  'b',
  'nb',
  'z',
  'nz',
  'be',
  'nbe',
  's',
  'ns',
  'p',
  'np',
  'l',
  'nl',
  'le',
  'nle',
);
const line = (...parts: fc.Arbitrary<string | number>[]): fc.Arbitrary<string> =>
  fc.tuple(...parts).map(([name, ...operands]) => `${name} ${operands.join(', ')}`.trim());
/** The same width for all operands, except what has none. */
const sized = (make: (bits: number) => fc.Arbitrary<string>): fc.Arbitrary<string> => width.chain(make);
const wideSized = (make: (bits: number) => fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.constantFrom(16, 32, 64).chain(make);

const high = /\b[a-d]h\b/;
const rexed = /\b(r\d+[bwd]?|[sd]il|bpl|spl|r[a-ds][xip])\b/;
const instruction: fc.Arbitrary<string> = fc
  .oneof(
    sized((b) => line(fc.constantFrom('mov', 'add', 'sub', 'cmp', 'and', 'or', 'xor', 'adc', 'sbb'), reg(b), rm(b))),
    sized((b) =>
      line(fc.constantFrom('mov', 'add', 'sub', 'test', 'and', 'or', 'xor', 'xchg', 'xadd', 'cmpxchg'), mem(b), reg(b)),
    ),
    sized((b) => line(fc.constantFrom('mov', 'add', 'sub', 'cmp', 'and', 'or', 'xor', 'test'), rm(b), imm(b))),
    sized((b) => line(fc.constantFrom('inc', 'dec', 'neg', 'not'), rm(b))),
    sized((b) => line(fc.constantFrom('shl', 'shr', 'sar', 'rol', 'ror', 'rcl', 'rcr'), rm(b), fc.nat(70))),
    sized((b) => line(fc.constantFrom('shl', 'shr', 'sar', 'rol', 'ror'), rm(b), fc.constant('cl'))),
    sized((b) => line(fc.constantFrom('mul', 'imul'), rm(b))),
    wideSized((b) => line(fc.constantFrom('movzx', 'movsx'), reg(b), rm(8))),
    wideSized((b) => line(fc.constantFrom('imul', 'bsf', 'bsr', 'tzcnt', 'popcnt'), reg(b), rm(b))),
    wideSized((b) =>
      line(
        condition.map((c) => `cmov${c}`),
        reg(b),
        rm(b),
      ),
    ),
    wideSized((b) => line(fc.constantFrom('bt', 'bts', 'btr'), rm(b), fc.nat(63))),
    line(
      condition.map((c) => `set${c}`),
      rm(8),
    ),
    line(
      fc.constant('lea'),
      reg(64),
      fc.tuple(reg(64), reg(64), fc.constantFrom(1, 2, 4, 8), imm(32)).map(([a, b, s, d]) => `[${a}+${b}*${s}+${d}]`),
    ),
    line(fc.constantFrom('push', 'pop'), reg(64)),
    line(fc.constantFrom('paddd', 'pxor', 'movups'), fc.constantFrom('xmm0', 'xmm9'), fc.constant('xmm1')),
    fc.constantFrom('cdqe', 'cqo', 'stc', 'cmc', 'bswap r8'),
  )
  .filter((text) => !(high.test(text) && rexed.test(text)));
const program = fc.tuple(fc.array(instruction, { minLength: 1, maxLength: 30 }), condition);
const state = fc.record({
  values: fc.array(
    fc.oneof(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), fc.constantFrom(0n, 1n, 1n << 31n, 1n << 63n)),
    {
      minLength: 16,
      maxLength: 16,
    },
  ),
  flags: fc.nat(0xfff).map((bits) => bits & 0x8d5),
  seed: fc.nat(255),
});

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('compiled code from the same definitions', () => {
  const core = createCore();
  const [interpreted, compiled] = [core.createVcpu(), core.createVcpu()];
  const before = new Uint8Array(DATA_BYTES);

  function start(vcpu: X86Vcpu, { values, flags }: { values: bigint[]; flags: number }): void {
    vcpu.regs.set(values);
    vcpu.regs[3] = DATA;
    vcpu.regs[4] = DATA + 0x1800n;
    vcpu.rflags = flags;
    vcpu.rip = CODE;
    const fx = new Uint8Array(512);
    fx.set([0x7f, 3]);
    new DataView(fx.buffer).setUint32(24, 0x1f80, true);
    for (let i = 160; i < 416; i++) fx[i] = Number((values[i & 15]! >> BigInt(i >> 5)) & 0xffn);
    vcpu.writeFxState(fx);
    core.writeData(before);
  }
  const seen = (vcpu: X86Vcpu, exit: Exit) => ({
    regs: [...vcpu.regs],
    rflags: vcpu.rflags,
    rip: vcpu.rip,
    fx: hex(vcpu.readFxState()),
    data: hex(core.readData()),
    exit: { ...exit },
  });

  it('does what the interpreter does, to the state of a fault in its middle', () => {
    let [done, all] = [0, 0];
    fc.assert(
      fc.property(program, state, ([lines, last], initial) => {
        const { bytes } = assembleProgram([...lines, `j${last} end`, 'nop', 'end:'].join('\n'), CODE);
        const block = instructionsOf(bytes).slice(0, -1);
        core.writeCode(bytes);
        for (let i = 0; i < DATA_BYTES; i++) before[i] = (i * 31 + initial.seed) ^ (i >> 8);
        start(interpreted, initial);
        const expected = seen(interpreted, interpreted.run(block.length));
        start(compiled, initial);
        const count = runCompiled(core.mmu, compiled, block, core.tag());
        const rest = block.length - count;
        const exit: Exit = { reason: 'budget', vector: 0, errorCode: -1, address: 0n, length: 0, instruction: null };
        const actual = seen(compiled, rest > 0 ? compiled.run(rest) : exit);
        // What an earlier run left in the object is not part of a used-up budget.
        if (expected.exit.reason === 'budget') actual.exit = expected.exit;
        expect(actual).toEqual(expected);
        done += count;
        all += block.length;
      }),
      { numRuns: 400 },
    );
    expect(done / all).toBeGreaterThan(0.6);
  });

  it('folds what it knows', () => {
    const size = (text: string): number => {
      const memory = { pages: 1, shared: false };
      return compileBlock(instructionsOf(assembleProgram(text, CODE).bytes), CODE, 0x10000, memory).length;
    };
    // After a comparison "below" is one operator; parity has to be worked out.
    expect(size('cmp eax, ecx\njb 0x400040')).toBeLessThan(size('cmp eax, ecx\njp 0x400040'));
    // A count that is not zero needs no branch around the flags, an address without index no scale.
    expect(size('shl eax, 3')).toBeLessThan(size('shl eax, cl'));
    expect(size('mov eax, [rbx]')).toBeLessThan(size('mov eax, [rbx+rcx*8+64]'));
  });
});

describe('compiled code gives the answers of the real processor', () => {
  const folder = new URL('../silicon/', import.meta.url);
  const groups = [
    'alu',
    'bits',
    'flags',
    'mmx',
    'move',
    'multiply',
    'shift',
    'sse-integer',
    'sse-move',
    'sse4',
    'stack',
  ];
  it.each(groups)('%s, every 16th form', (name) => {
    let compiled = 0;
    const runner = createCaseRunner(false, (mmu, vcpu, code) => {
      const insn = decode(code, 0, code.length, 64);
      if (insn === null || typeof insn === 'string' || !isGenerated(insn)) return;
      const tag = BigInt(mmu.tlb.tag(vcpu.space.root, 1 | 4 | 8));
      compiled += runCompiled(mmu, vcpu as X86Vcpu, [insn], tag);
    });
    let form = 0;
    const file = readSilicon(gunzipSync(readFileSync(new URL(`${name}.bin.gz`, folder))));
    const report = replay(file, runner, { select: () => form++ % 16 === 0 });
    expect(report.different === 0 ? '' : formatReport(report)).toBe('');
    expect(compiled).toBeGreaterThan(report.cases / 4);
  });
});
