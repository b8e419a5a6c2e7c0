/**
 * The generated program: some 1,200 functions and 50,000 instructions with the mix of compiled code, so large that
 * neither predictors nor caches of the host hold it as they hold a loop.
 *
 * Functions stand in layers; each calls only functions of the next layer, most of them under a condition, so the depth
 * is bounded and the program ends. A driver calls a random function each turn. Registers as a compiler uses them:
 * RDI points to an object among 4 MiB, RSI is a number, RAX the result; RBX, RBP and R12 are saved by the callee.
 * R14 is a running random value, R15 the data's base.
 */
import { type Arithmetic, Assembler, Cond, indexed, type Label, type Mem, mem, Reg } from './assembler.js';
import { CODE, DATA, randomFrom, type Workload } from './workload.js';

const LAYERS = 6;
const FUNCTIONS = 1200;
const OBJECTS_MASK = 0x3fffc0;
const DATA_BYTES = 0x400000 + 0x2000;
const TEMPS: Reg[] = [Reg.rax, Reg.rcx, Reg.rdx, Reg.rsi, Reg.rdi, Reg.r8, Reg.r9, Reg.r10];
const CONDS: Cond[] = [
  Cond.e,
  Cond.ne,
  Cond.l,
  Cond.ge,
  Cond.le,
  Cond.g,
  Cond.b,
  Cond.ae,
  Cond.be,
  Cond.a,
  Cond.s,
  Cond.ns,
];

export interface ProgramOptions {
  seed?: number;
  /** Calls that the driver makes in a pass. */
  turns?: number;
  expected?: Workload['expected'];
  expectedData?: number;
}

export function generateProgram(options: ProgramOptions = {}): Workload & { instructions: number; functions: number } {
  const { seed = 0x5eed, turns = 20_000 } = options;
  const random = randomFrom(seed);
  const asm = new Assembler(CODE);
  const functions = Array.from({ length: FUNCTIONS }, () => asm.label());
  const perLayer = FUNCTIONS / LAYERS;
  functions.forEach((label, i) => {
    const layer = Math.floor(i / perLayer);
    const callees = functions.slice((layer + 1) * perLayer, (layer + 2) * perLayer);
    asm.align(16);
    asm.place(label);
    writeFunction(asm, random, callees);
  });
  const table = asm.table(functions);
  const entry = asm.here();
  writeDriver(asm, asm.addressOf(table));
  const data = new Uint8Array(DATA_BYTES);
  const words = new Uint32Array(data.buffer);
  for (let i = 0; i < words.length; i++) words[i] = random();
  return {
    name: 'program',
    about: `${FUNCTIONS} functions, ${asm.instructions} instructions, random calls over 4 MiB`,
    group: 'generated',
    code: asm.finish(),
    entry: entry.at,
    data,
    dataBytes: DATA_BYTES,
    regs: { [Reg.rdi]: BigInt(turns), [Reg.rsi]: 0x123456789abcdefn },
    expected: options.expected ?? {},
    ...(options.expectedData === undefined ? {} : { expectedData: options.expectedData }),
    instructions: asm.instructions,
    functions: FUNCTIONS,
  };
}

function writeDriver(asm: Assembler, table: number): void {
  asm.movImm32(Reg.r15, DATA);
  asm.movImm32(Reg.r12, table);
  asm.mov(64, Reg.r13, Reg.rdi);
  asm.mov(64, Reg.r14, Reg.rsi);
  asm.alu('xor', 32, Reg.rbx, Reg.rbx);
  const turn = asm.here();
  asm.imulImm(64, Reg.r14, Reg.r14, 0x19660d);
  asm.aluImm('add', 64, Reg.r14, 0x3c6ef35f);
  asm.mov(64, Reg.rax, Reg.r14);
  asm.shift('shr', 64, Reg.rax, 33);
  asm.imulImm(64, Reg.rcx, Reg.rax, FUNCTIONS);
  asm.shift('shr', 64, Reg.rcx, 31);
  asm.aluImm('and', 32, Reg.rax, OBJECTS_MASK);
  asm.lea(Reg.rdi, indexed(Reg.r15, Reg.rax, 1));
  asm.mov(64, Reg.rsi, Reg.r14);
  asm.callMem(indexed(Reg.r12, Reg.rcx, 8));
  asm.alu('add', 64, Reg.rbx, Reg.rax);
  asm.dec(64, Reg.r13);
  asm.jcc(Cond.ne, turn);
  asm.mov(64, Reg.rax, Reg.rbx);
  asm.ret();
}

function writeFunction(asm: Assembler, random: () => number, callees: Label[]): void {
  const below = (n: number): number => random() % n;
  const chance = (percent: number): boolean => below(100) < percent;
  const pick = <T>(from: readonly T[]): T => from[below(from.length)]!;
  const temp = (): Reg => pick(TEMPS);
  const value = (): Reg => (chance(75) ? temp() : pick([Reg.rbp, Reg.r14, Reg.r12]));
  const width = (): 32 | 64 => (chance(50) ? 32 : 64);
  const field = (): Mem => mem(Reg.rbx, below(56) * 8);
  const local = (): Mem => mem(Reg.rsp, below(4) * 8);
  const small = (): number => (chance(70) ? below(120) : below(0x40000000));
  const arithmetic = (): Arithmetic => pick(['add', 'add', 'add', 'sub', 'sub', 'xor', 'xor', 'or', 'and'] as const);

  const start = asm.instructions;
  const size = 26 + below(24);
  asm.push(Reg.rbx);
  asm.push(Reg.rbp);
  const third = chance(50);
  if (third) asm.push(Reg.r12);
  asm.aluImm('sub', 64, Reg.rsp, 32);
  asm.mov(64, Reg.rbx, Reg.rdi);
  asm.mov(64, Reg.rbp, Reg.rsi);
  asm.store(64, mem(Reg.rsp, 8), Reg.rsi);
  let calls = callees.length === 0 ? 0 : 1 + below(2);
  let loops = chance(20) ? 1 : 0;
  while (asm.instructions - start < size) {
    const left = size - (asm.instructions - start);
    if (calls > 0 && below(left) < 8) {
      calls--;
      call();
    } else if (loops > 0 && left > 10 && chance(25)) {
      loops--;
      loop();
    } else if (chance(22)) branch();
    else statement();
  }
  while (calls-- > 0) call();
  asm.alu('add', 64, Reg.rax, Reg.rbp);
  asm.aluImm('add', 64, Reg.rsp, 32);
  if (third) asm.pop(Reg.r12);
  asm.pop(Reg.rbp);
  asm.pop(Reg.rbx);
  asm.ret();

  function compare(): Cond {
    switch (below(4)) {
      case 0: {
        const r = value();
        asm.test(width(), r, r);
        return pick([Cond.e, Cond.ne, Cond.s, Cond.ns, Cond.le, Cond.g]);
      }
      case 1:
        asm.alu('cmp', width(), value(), value());
        return pick(CONDS);
      case 2: {
        const r = temp();
        asm.movzx(r, mem(Reg.rbx, below(400)));
        asm.aluImm('cmp', 32, r, below(256));
        return pick(CONDS);
      }
      default:
        asm.aluImm('cmp', 32, field(), small());
        return pick(CONDS);
    }
  }
  function branch(): void {
    const cond = compare();
    const over = asm.label();
    asm.jccShort(cond, over);
    for (let n = 1 + below(4); n > 0; n--) statement();
    if (chance(30)) {
      const end = asm.label();
      asm.jmp(end);
      asm.place(over);
      for (let n = 1 + below(3); n > 0; n--) statement();
      asm.place(end);
    } else asm.place(over);
  }
  function loop(): void {
    asm.movImm32(Reg.r11, 2 + below(4));
    const top = asm.here();
    for (let n = 2 + below(4); n > 0; n--) statement();
    asm.dec(32, Reg.r11);
    asm.jcc(Cond.ne, top);
  }
  function call(): void {
    const over = asm.label();
    const conditional = chance(60);
    if (conditional) asm.jccShort(compare(), over);
    if (chance(70)) asm.lea(Reg.rdi, mem(Reg.rbx, below(6) * 32));
    else {
      asm.mov(32, Reg.rax, Reg.r14);
      asm.aluImm('and', 32, Reg.rax, OBJECTS_MASK);
      asm.lea(Reg.rdi, indexed(Reg.r15, Reg.rax, 1));
    }
    asm.mov(64, Reg.rsi, value());
    asm.call(pick(callees));
    asm.alu(chance(50) ? 'add' : 'xor', 64, Reg.rbp, Reg.rax);
    if (conditional) asm.place(over);
  }
  function statement(): void {
    const kind = below(100);
    if (kind < 18) asm.load(width(), temp(), field());
    else if (kind < 23) asm.movzx(temp(), mem(Reg.rbx, below(448)), chance(70) ? 8 : 16);
    else if (kind < 32) asm.store(width(), field(), value());
    else if (kind < 37) asm.load(64, temp(), local());
    else if (kind < 41) asm.store(64, local(), value());
    else if (kind < 50) asm.mov(width(), temp(), value());
    else if (kind < 53) asm.movImm32(temp(), small());
    else if (kind < 62) asm.alu(arithmetic(), width(), temp(), value());
    else if (kind < 68) asm.aluImm(arithmetic(), width(), temp(), small());
    else if (kind < 71) asm.alu(arithmetic(), width(), temp(), field());
    else if (kind < 73) asm.aluTo(arithmetic(), width(), field(), value());
    else if (kind < 74) asm.inc(width(), field());
    else if (kind < 80) asm.lea(temp(), indexed(value(), temp(), pick([1, 2, 4, 8] as const), below(200)));
    else if (kind < 85) asm.shift(pick(['shl', 'shr', 'sar'] as const), width(), temp(), 1 + below(15));
    else if (kind < 87) asm.imul(width(), temp(), value());
    else if (kind < 89) asm.alu('xor', 32, pick(TEMPS), Reg.r14);
    else if (kind < 91) asm.alu('add', 64, Reg.rbp, temp());
    else if (kind < 93) asm.movsxd(temp(), value());
    else if (kind < 95) {
      const cond = compare();
      const r = temp();
      asm.setcc(cond, r);
      asm.movzx(r, r);
    } else if (kind < 97) asm.cmov(compare(), width(), temp(), value());
    else {
      const r = temp();
      asm.aluImm('and', 32, r, 63);
      asm.load(32, temp(), indexed(Reg.rbx, r, 4, 32));
    }
  }
}
