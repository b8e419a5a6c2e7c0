/** Loops of floating point: scalar and packed in SSE2, and on the x87 with the precision of doubles, so that JavaScript can tell the results. */
import { type Assembler, Cond, indexed, mem, Reg } from './assembler.js';
import { at, workload } from './code-workload.js';
import { hashOf, randomFrom, type Workload } from './workload.js';

const COUNT = 4096;
/** Two constants, each for two lanes; then the inputs, then the outputs. */
const INPUTS = 64;
const OUTPUTS = INPUTS + COUNT * 8;
const BYTES = OUTPUTS + COUNT * 8;
const TURNS = 40;
const CONTROL = { double: 32, usual: 34 } as const;

/** Inputs between 0.1 and 1.1, and with them what the outputs are after the last turn. */
function inputsAndOutputs(
  seed: number,
  [a, b]: readonly [number, number],
  lanes: 1 | 2,
  step: (x: number[], s: number[]) => number[],
): { data: Uint8Array; expectedData: number } {
  const data = new Uint8Array(BYTES);
  const view = new DataView(data.buffer);
  [a, a, b, b].forEach((value, i) => view.setFloat64(8 * i, value, true));
  view.setUint16(CONTROL.double, 0x27f, true);
  view.setUint16(CONTROL.usual, 0x37f, true);
  const random = randomFrom(seed);
  const inputs = Array.from({ length: COUNT }, () => 0.1 + random() / 2 ** 32);
  inputs.forEach((x, i) => view.setFloat64(INPUTS + 8 * i, x, true));
  const after = data.slice();
  const out = new DataView(after.buffer);
  let s = [1, 1].slice(0, lanes);
  for (let turn = 0; turn < TURNS; turn++) {
    for (let i = 0; i < COUNT; i += lanes) {
      s = step(inputs.slice(i, i + lanes), s);
      s.forEach((value, lane) => out.setFloat64(OUTPUTS + 8 * (i + lane), value, true));
    }
  }
  return { data, expectedData: hashOf(after) };
}

/** All inputs, `TURNS` times over. */
function repeat(asm: Assembler, bytes: number, body: () => void): void {
  const again = asm.here();
  asm.alu('xor', 32, Reg.rcx, Reg.rcx);
  const top = asm.here();
  body();
  asm.aluImm('add', 64, Reg.rcx, bytes);
  asm.alu('cmp', 64, Reg.rcx, Reg.rdx);
  asm.jcc(Cond.b, top);
  asm.dec(32, Reg.r8);
  asm.jcc(Cond.ne, again);
}
const regs = {
  [Reg.rbx]: at(0),
  [Reg.rsi]: at(INPUTS),
  [Reg.rdi]: at(OUTPUTS),
  [Reg.rdx]: BigInt(COUNT * 8),
  [Reg.r8]: BigInt(TURNS),
};
const expected = { [Reg.rcx]: BigInt(COUNT * 8), [Reg.r8]: 0n };
const input = indexed(Reg.rsi, Reg.rcx, 1);
const output = indexed(Reg.rdi, Reg.rcx, 1);
/** One in each lane of XMM0. */
function startWithOne(asm: Assembler): void {
  asm.movImm32(Reg.rax, 1);
  asm.sse(0xf2, 0x2a, 0, Reg.rax); // cvtsi2sd
  asm.sse(0x66, 0x14, 0, 0); // unpcklpd
}

function scalar(): Workload {
  const [a, b] = [3, 0.3];
  return workload(
    'loops',
    'sse2-scalar',
    'movsd, mulsd, addsd, sqrtsd, divsd, cvttsd2si, cvtsi2sd, subsd, movsd, movapd',
    (asm) => {
      startWithOne(asm);
      repeat(asm, 8, () => {
        asm.sse(0xf2, 0x10, 1, input);
        asm.sse(0xf2, 0x59, 1, 0);
        asm.sse(0xf2, 0x58, 1, mem(Reg.rbx));
        asm.sse(0xf2, 0x51, 1, 1);
        asm.sse(0xf2, 0x5e, 1, mem(Reg.rbx, 16));
        asm.sse(0xf2, 0x2c, Reg.rax, 1);
        asm.sse(0xf2, 0x2a, 2, Reg.rax);
        asm.sse(0xf2, 0x5c, 1, 2);
        asm.sse(0xf2, 0x11, 1, output);
        asm.sse(0x66, 0x28, 0, 1);
      });
      asm.ret();
    },
    {
      ...inputsAndOutputs(23, [a, b], 1, ([x], [s]) => {
        const root = Math.sqrt(x! * s! + a) / b;
        return [root - Math.trunc(root)];
      }),
      regs,
      expected,
    },
  );
}

function packed(): Workload {
  const [a, b] = [3, 0.3];
  return workload(
    'loops',
    'sse2-packed',
    'movupd, mulpd, addpd, movapd, shufpd, divpd, sqrtpd, movupd',
    (asm) => {
      startWithOne(asm);
      repeat(asm, 16, () => {
        asm.sse(0x66, 0x10, 1, input);
        asm.sse(0x66, 0x59, 1, 0);
        asm.sse(0x66, 0x58, 1, mem(Reg.rbx));
        asm.sse(0x66, 0x28, 2, 1);
        asm.sse(0x66, 0xc6, 2, 1, 1);
        asm.sse(0x66, 0x5e, 2, mem(Reg.rbx, 16));
        asm.sse(0x66, 0x51, 0, 2);
        asm.sse(0x66, 0x11, 0, output);
      });
      asm.ret();
    },
    {
      ...inputsAndOutputs(29, [a, b], 2, (x, s) => [1, 0].map((lane) => Math.sqrt((x[lane]! * s[lane]! + a) / b))),
      regs,
      expected,
    },
  );
}

function x87(): Workload {
  const [a, b] = [3, 2.5];
  return workload(
    'loops',
    'x87',
    'fld, fmul, fadd, fxch, fsubp, fdiv, fst',
    (asm) => {
      asm.x87(0xd9, 5, mem(Reg.rbx, CONTROL.double)); // fldcw
      asm.x87Stack(0xd9, 0xe8); // fld1
      repeat(asm, 8, () => {
        asm.x87(0xdd, 0, input);
        asm.x87Stack(0xd8, 0xc9); // fmul st0, st1
        asm.x87(0xdc, 0, mem(Reg.rbx));
        asm.x87Stack(0xd9, 0xc9); // fxch
        asm.x87Stack(0xde, 0xe9); // fsubp st1, st0
        asm.x87(0xdc, 6, mem(Reg.rbx, 16));
        asm.x87(0xdd, 2, output);
      });
      asm.x87Stack(0xdd, 0xd8); // fstp st0
      asm.x87(0xd9, 5, mem(Reg.rbx, CONTROL.usual));
      asm.ret();
    },
    { ...inputsAndOutputs(31, [a, b], 1, ([x], [s]) => [(x! * s! + a - s!) / b]), regs, expected },
  );
}

export const floatLoops = (): Workload[] => [scalar(), packed(), x87()];
