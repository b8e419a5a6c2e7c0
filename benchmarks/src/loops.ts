/** Tight loops, each with its result computed here in another way, and loops that measure what surrounds the core. */
import { Cond, indexed, mem, Reg } from './assembler.js';
import { at, u64, workload } from './code-workload.js';
import { floatLoops } from './float-loops.js';
import { hashOf, randomFrom, type Workload } from './workload.js';

function randomBytes(length: number, seed: number): Uint8Array {
  const random = randomFrom(seed);
  return Uint8Array.from({ length }, () => random() >>> 24);
}

function count(): Workload {
  const n = 4_000_000n;
  return workload(
    'loops',
    'add-dec-jnz',
    'add, dec, jnz',
    (asm) => {
      const top = asm.here();
      asm.alu('add', 64, Reg.rax, Reg.rcx);
      asm.dec(64, Reg.rdi);
      asm.jcc(Cond.ne, top);
      asm.ret();
    },
    {
      regs: { [Reg.rdi]: n, [Reg.rcx]: 0x123456789abcdefn },
      expected: { [Reg.rax]: u64(n * 0x123456789abcdefn), [Reg.rdi]: 0n },
    },
  );
}

function copy(): Workload {
  const bytes = 0x10000;
  const source = randomBytes(bytes, 3);
  const data = new Uint8Array(2 * bytes);
  data.set(source);
  const after = new Uint8Array(2 * bytes);
  after.set(source);
  after.set(source, bytes);
  return workload(
    'loops',
    'copy-8',
    '64 KiB copied by 8 bytes: load, store, add, cmp, jb',
    (asm) => {
      const again = asm.here();
      asm.alu('xor', 32, Reg.rcx, Reg.rcx);
      const top = asm.here();
      asm.load(64, Reg.rax, indexed(Reg.rsi, Reg.rcx, 1));
      asm.store(64, indexed(Reg.rdi, Reg.rcx, 1), Reg.rax);
      asm.aluImm('add', 64, Reg.rcx, 8);
      asm.alu('cmp', 64, Reg.rcx, Reg.rdx);
      asm.jcc(Cond.b, top);
      asm.dec(32, Reg.r8);
      asm.jcc(Cond.ne, again);
      asm.ret();
    },
    {
      data,
      regs: { [Reg.rsi]: at(0), [Reg.rdi]: at(bytes), [Reg.rdx]: BigInt(bytes), [Reg.r8]: 200n },
      expected: { [Reg.rcx]: BigInt(bytes), [Reg.r8]: 0n },
      expectedData: hashOf(after),
    },
  );
}

function crc32(): Workload {
  const length = 0x10000;
  const table = Uint32Array.from({ length: 256 }, (_, n) => {
    let c = n;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
    return c >>> 0;
  });
  const text = randomBytes(length, 5);
  let crc = 0xffffffff;
  for (let again = 0; again < 20; again++) for (const byte of text) crc = table[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  const data = new Uint8Array(1024 + length);
  data.set(new Uint8Array(table.buffer));
  data.set(text, 1024);
  return workload(
    'loops',
    'crc32',
    'a byte a turn by table: movzx, xor, shr, xor, inc, dec, jnz',
    (asm) => {
      asm.movImm32(Reg.rdx, -1);
      const again = asm.here();
      asm.lea(Reg.rsi, mem(Reg.r8, 1024));
      asm.movImm32(Reg.rcx, length);
      const top = asm.here();
      asm.movzx(Reg.rax, mem(Reg.rsi));
      asm.movzx(Reg.rdi, Reg.rdx);
      asm.alu('xor', 32, Reg.rax, Reg.rdi);
      asm.shift('shr', 32, Reg.rdx, 8);
      asm.alu('xor', 32, Reg.rdx, indexed(Reg.r8, Reg.rax, 4));
      asm.inc(64, Reg.rsi);
      asm.dec(32, Reg.rcx);
      asm.jcc(Cond.ne, top);
      asm.dec(32, Reg.r9);
      asm.jcc(Cond.ne, again);
      asm.mov(32, Reg.rax, Reg.rdx);
      asm.ret();
    },
    { data, regs: { [Reg.r8]: at(0), [Reg.r9]: 20n }, expected: { [Reg.rax]: BigInt(crc >>> 0) } },
  );
}

function chase(): Workload {
  const nodes = 16384;
  const order = Array.from({ length: nodes }, (_, i) => i);
  const random = randomFrom(7);
  for (let i = nodes - 1; i > 0; i--) {
    const j = random() % (i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  const data = new Uint8Array(nodes * 64);
  const view = new DataView(data.buffer);
  order.forEach((node, i) => view.setBigUint64(node * 64, at(order[(i + 1) % nodes]! * 64), true));
  const steps = 3_000_000;
  return workload(
    'loops',
    'pointer-chase',
    '16,384 nodes over 1 MiB: load, dec, jnz',
    (asm) => {
      const top = asm.here();
      asm.load(64, Reg.rax, mem(Reg.rax));
      asm.dec(64, Reg.rcx);
      asm.jcc(Cond.ne, top);
      asm.ret();
    },
    {
      data,
      regs: { [Reg.rax]: at(order[0]! * 64), [Reg.rcx]: BigInt(steps) },
      expected: { [Reg.rax]: at(order[steps % nodes]! * 64) },
    },
  );
}

function sse2Sum(): Workload {
  const bytes = 0x10000;
  const turns = 100;
  const data = randomBytes(bytes, 11);
  const words = new Uint32Array(data.buffer);
  let sum = 0;
  for (const word of words) sum = (sum + word) >>> 0;
  return workload(
    'loops',
    'sse2-sum',
    '32-bit sum of 64 KiB: movdqu, paddd, add, cmp, jb',
    (asm) => {
      asm.sse(0x66, 0xef, 1, 1); // pxor
      const again = asm.here();
      asm.alu('xor', 32, Reg.rcx, Reg.rcx);
      const top = asm.here();
      asm.sse(0xf3, 0x6f, 0, indexed(Reg.rsi, Reg.rcx, 1)); // movdqu
      asm.sse(0x66, 0xfe, 1, 0); // paddd
      asm.aluImm('add', 64, Reg.rcx, 16);
      asm.alu('cmp', 64, Reg.rcx, Reg.rdx);
      asm.jcc(Cond.b, top);
      asm.dec(32, Reg.r8);
      asm.jcc(Cond.ne, again);
      asm.sse(0x66, 0x70, 0, 1, 0x4e); // pshufd
      asm.sse(0x66, 0xfe, 1, 0);
      asm.sse(0x66, 0x70, 0, 1, 0xb1);
      asm.sse(0x66, 0xfe, 1, 0);
      asm.sse(0x66, 0x7e, 1, Reg.rax); // movd
      asm.ret();
    },
    {
      data,
      regs: { [Reg.rsi]: at(0), [Reg.rdx]: BigInt(bytes), [Reg.r8]: BigInt(turns) },
      expected: { [Reg.rax]: BigInt(Math.imul(sum, turns) >>> 0) },
    },
  );
}

function fibonacci(): Workload {
  const n = 25;
  let [a, b] = [0n, 1n];
  for (let i = 0; i < n; i++) [a, b] = [b, a + b];
  return workload(
    'loops',
    'fibonacci',
    'recursive calls: cmp, jcc, push, call, pop, ret',
    (asm) => {
      const self = asm.here();
      const end = asm.label();
      asm.mov(64, Reg.rax, Reg.rdi);
      asm.aluImm('cmp', 64, Reg.rdi, 2);
      asm.jccShort(Cond.b, end);
      asm.push(Reg.rdi);
      asm.dec(64, Reg.rdi);
      asm.call(self);
      asm.pop(Reg.rdi);
      asm.push(Reg.rax);
      asm.aluImm('sub', 64, Reg.rdi, 2);
      asm.call(self);
      asm.pop(Reg.rcx);
      asm.alu('add', 64, Reg.rax, Reg.rcx);
      asm.place(end);
      asm.ret();
    },
    { regs: { [Reg.rdi]: BigInt(n) }, expected: { [Reg.rax]: a } },
  );
}

function sieve(): Workload {
  const n = 0x40000;
  const composite = new Uint8Array(n);
  let primes = 0n;
  for (let i = 2; i < n; i++) {
    if (composite[i]) continue;
    primes++;
    for (let j = 2 * i; j < n; j += i) composite[j] = 1;
  }
  return workload(
    'loops',
    'sieve',
    'primes below 262,144: byte stores and branches',
    (asm) => {
      // The bytes are cleared first, so that each pass does the same work.
      asm.alu('xor', 32, Reg.rcx, Reg.rcx);
      const clear = asm.here();
      asm.store(64, indexed(Reg.rbx, Reg.rcx, 1), Reg.r9);
      asm.aluImm('add', 64, Reg.rcx, 8);
      asm.alu('cmp', 64, Reg.rcx, Reg.rdx);
      asm.jcc(Cond.b, clear);
      asm.alu('xor', 32, Reg.rax, Reg.rax);
      asm.movImm32(Reg.rsi, 2);
      const outer = asm.here();
      const next = asm.label();
      asm.movzx(Reg.rdi, indexed(Reg.rbx, Reg.rsi, 1));
      asm.test(8, Reg.rdi, Reg.rdi);
      asm.jccShort(Cond.ne, next);
      asm.inc(64, Reg.rax);
      asm.lea(Reg.rcx, indexed(Reg.rsi, Reg.rsi, 1));
      asm.alu('cmp', 64, Reg.rcx, Reg.rdx);
      asm.jccShort(Cond.ae, next);
      const inner = asm.here();
      asm.store(8, indexed(Reg.rbx, Reg.rcx, 1), Reg.r8);
      asm.alu('add', 64, Reg.rcx, Reg.rsi);
      asm.alu('cmp', 64, Reg.rcx, Reg.rdx);
      asm.jcc(Cond.b, inner);
      asm.place(next);
      asm.inc(64, Reg.rsi);
      asm.alu('cmp', 64, Reg.rsi, Reg.rdx);
      asm.jcc(Cond.b, outer);
      asm.ret();
    },
    {
      dataBytes: n,
      regs: { [Reg.rbx]: at(0), [Reg.rdx]: BigInt(n), [Reg.r8]: 1n },
      expected: { [Reg.rax]: primes },
      expectedData: hashOf(composite),
    },
  );
}

function bytecode(): Workload {
  // A guest that interprets: 4 operations on an accumulator, chosen by a program of random bytes.
  const length = 0x4000;
  const turns = 60;
  const program = randomBytes(length, 13).map((byte) => byte & 3);
  let value = 1n;
  for (let turn = 0; turn < turns; turn++) {
    for (const op of program) {
      if (op === 0) value = u64(value + 0x55n);
      else if (op === 1) value = u64(value * 5n);
      else if (op === 2) value ^= value >> 7n;
      else value = u64((value << 3n) | (value >> 61n));
    }
  }
  return workload(
    'loops',
    'bytecode',
    'dispatch by jump table: movzx, inc, jmp [table]',
    (asm) => {
      const start = asm.label();
      asm.jmp(start);
      const next = asm.label();
      const handlers = [
        () => asm.aluImm('add', 64, Reg.rax, 0x55),
        () => asm.imulImm(64, Reg.rax, Reg.rax, 5),
        () => {
          asm.mov(64, Reg.rcx, Reg.rax);
          asm.shift('shr', 64, Reg.rcx, 7);
          asm.alu('xor', 64, Reg.rax, Reg.rcx);
        },
        () => asm.shift('rol', 64, Reg.rax, 3),
      ];
      const labels = handlers.map((write) => {
        const label = asm.here();
        write();
        asm.jmp(next);
        return label;
      });
      const table = asm.table(labels);
      asm.place(start);
      asm.movImm32(Reg.r8, asm.addressOf(table));
      asm.movImm32(Reg.rax, 1);
      const again = asm.here();
      asm.mov(64, Reg.rsi, Reg.rbx);
      asm.place(next);
      asm.alu('cmp', 64, Reg.rsi, Reg.rdx);
      const done = asm.label();
      asm.jccShort(Cond.e, done);
      asm.movzx(Reg.rcx, mem(Reg.rsi));
      asm.inc(64, Reg.rsi);
      asm.jmpMem(indexed(Reg.r8, Reg.rcx, 8));
      asm.place(done);
      asm.dec(32, Reg.r9);
      asm.jcc(Cond.ne, again);
      asm.ret();
    },
    {
      data: program,
      regs: { [Reg.rbx]: at(0), [Reg.rdx]: at(length), [Reg.r9]: BigInt(turns) },
      expected: { [Reg.rax]: value },
    },
  );
}

function rangeScan(): Workload {
  // What Linux does 134 million times when a PV boot makes its p2m list (xen_rebuild_p2m_list).
  const n = 400_000;
  return workload(
    'loops',
    'range-scan',
    'short blocks: cmp, jae, xor, jmp, cmp, jne, inc, inc, cmp, jne',
    (asm) => {
      const [outside, joined, found] = [asm.label(), asm.label(), asm.label()];
      const top = asm.here();
      asm.alu('cmp', 64, Reg.rdi, Reg.r9);
      asm.jccShort(Cond.ae, outside);
      asm.load(64, Reg.r8, indexed(Reg.r10, Reg.rdi, 8));
      asm.aluImm('cmp', 64, Reg.r8, -1);
      asm.jccShort(Cond.e, found);
      asm.place(outside);
      asm.alu('xor', 32, Reg.r8, Reg.r8);
      asm.jmp(joined);
      asm.place(joined);
      asm.alu('cmp', 32, Reg.rsi, Reg.r8);
      asm.jccShort(Cond.ne, found);
      asm.inc(32, Reg.rdx);
      asm.inc(64, Reg.rdi);
      asm.alu('cmp', 32, Reg.rdx, Reg.rax);
      asm.jcc(Cond.ne, top);
      asm.place(found);
      asm.ret();
    },
    {
      regs: { [Reg.rdi]: 1000n, [Reg.r9]: 10n, [Reg.r10]: at(0), [Reg.rax]: BigInt(n) },
      expected: { [Reg.rdi]: BigInt(1000 + n), [Reg.rdx]: BigInt(n) },
    },
  );
}

function limbs(): Workload {
  // Multiplication of long numbers by 32-bit pieces, as the kernel's RSA does it: a quarter of a boot's instructions.
  const length = 64;
  const turns = 400;
  const limb = 0xfedcba9876543211n;
  const source = randomBytes(length * 8, 19);
  const data = new Uint8Array(length * 16);
  data.set(source);
  const words = new BigUint64Array(data.slice().buffer);
  for (let turn = 0; turn < turns; turn++) {
    let carry = 0n;
    for (let i = 0; i < length; i++) {
      const sum = words[length + i]! + words[i]! * limb + carry;
      words[length + i] = u64(sum);
      carry = sum >> 64n;
    }
  }
  return workload(
    'loops',
    'limb-multiply',
    '64 × 64 → 128 bits and add: mov, shr, imul, add, cmp, cmov, setb',
    (asm) => {
      asm.movImm32(Reg.rbp, 1);
      asm.shift('shl', 64, Reg.rbp, 32);
      asm.mov(64, Reg.r10, Reg.rcx);
      asm.shift('shr', 64, Reg.r10, 32);
      asm.mov(32, Reg.r9, Reg.rcx);
      const again = asm.here();
      asm.movImm(Reg.r8, -length);
      asm.alu('xor', 32, Reg.rsi, Reg.rsi);
      const top = asm.here();
      asm.load(64, Reg.rcx, indexed(Reg.rbx, Reg.r8, 8));
      asm.mov(64, Reg.rdx, Reg.rcx);
      asm.mov(32, Reg.rcx, Reg.rcx);
      asm.shift('shr', 64, Reg.rdx, 32);
      asm.mov(64, Reg.rax, Reg.rcx);
      asm.imul(64, Reg.rax, Reg.r9);
      asm.mov(64, Reg.r13, Reg.rdx);
      asm.imul(64, Reg.r13, Reg.r9);
      asm.imul(64, Reg.rcx, Reg.r10);
      asm.imul(64, Reg.rdx, Reg.r10);
      asm.mov(64, Reg.r14, Reg.rax);
      asm.mov(32, Reg.rax, Reg.rax);
      asm.shift('shr', 64, Reg.r14, 32);
      asm.alu('add', 64, Reg.rcx, Reg.r13);
      asm.alu('add', 64, Reg.rcx, Reg.r14);
      asm.mov(64, Reg.r14, Reg.rdx);
      asm.alu('add', 64, Reg.rdx, Reg.rbp);
      asm.alu('cmp', 64, Reg.rcx, Reg.r13);
      asm.mov(64, Reg.r13, Reg.rcx);
      asm.cmov(Cond.ae, 64, Reg.rdx, Reg.r14);
      asm.alu('add', 64, Reg.rax, Reg.rsi);
      asm.shift('shl', 64, Reg.r13, 32);
      asm.alu('add', 64, Reg.rax, Reg.r13);
      asm.alu('cmp', 64, Reg.rax, Reg.rsi);
      asm.setcc(Cond.b, Reg.rsi);
      asm.movzx(Reg.rsi, Reg.rsi);
      asm.shift('shr', 64, Reg.rcx, 32);
      asm.alu('add', 64, Reg.rdx, Reg.rcx);
      asm.alu('add', 64, Reg.rsi, Reg.rdx);
      asm.load(64, Reg.rdi, indexed(Reg.r11, Reg.r8, 8));
      asm.alu('add', 64, Reg.rdi, Reg.rax);
      asm.store(64, indexed(Reg.r11, Reg.r8, 8), Reg.rdi);
      asm.alu('cmp', 64, Reg.rdi, Reg.rax);
      asm.setcc(Cond.b, Reg.rax);
      asm.movzx(Reg.rax, Reg.rax);
      asm.alu('add', 64, Reg.rsi, Reg.rax);
      asm.inc(64, Reg.r8);
      asm.jcc(Cond.ne, top);
      asm.dec(32, Reg.r12);
      asm.jcc(Cond.ne, again);
      asm.ret();
    },
    {
      data,
      regs: { [Reg.rbx]: at(length * 8), [Reg.r11]: at(length * 16), [Reg.rcx]: limb, [Reg.r12]: BigInt(turns) },
      expected: { [Reg.r8]: 0n, [Reg.r12]: 0n },
      expectedData: hashOf(new Uint8Array(words.buffer)),
    },
  );
}

function repMovs(): Workload {
  const bytes = 0x10000;
  const source = randomBytes(bytes, 17);
  const data = new Uint8Array(2 * bytes);
  data.set(source);
  const after = new Uint8Array(2 * bytes);
  after.set(source);
  after.set(source, bytes);
  return workload(
    'costs',
    'rep-movs',
    '64 KiB by REP MOVSQ; an iteration counts as an instruction',
    (asm) => {
      const again = asm.here();
      asm.mov(64, Reg.rsi, Reg.rbx);
      asm.mov(64, Reg.rdi, Reg.rbp);
      asm.movImm32(Reg.rcx, bytes / 8);
      asm.repMovsq();
      asm.dec(32, Reg.r8);
      asm.jcc(Cond.ne, again);
      asm.ret();
    },
    {
      data,
      regs: { [Reg.rbx]: at(0), [Reg.rbp]: at(bytes), [Reg.r8]: 400n },
      expected: { [Reg.rsi]: at(bytes), [Reg.rdi]: at(2 * bytes), [Reg.rcx]: 0n },
      expectedData: hashOf(after),
    },
  );
}

function pageWalks(): Workload {
  const pages = 8192;
  return workload(
    'costs',
    'tlb-misses',
    'a load from each of 8,192 pages in turn: each misses the TLB',
    (asm) => {
      const again = asm.here();
      asm.mov(64, Reg.rsi, Reg.rbx);
      const top = asm.here();
      asm.alu('add', 64, Reg.rax, mem(Reg.rsi));
      asm.aluImm('add', 64, Reg.rsi, 4096);
      asm.alu('cmp', 64, Reg.rsi, Reg.rdx);
      asm.jcc(Cond.b, top);
      asm.dec(32, Reg.r8);
      asm.jcc(Cond.ne, again);
      asm.ret();
    },
    {
      dataBytes: pages * 4096,
      regs: { [Reg.rbx]: at(0), [Reg.rdx]: at(pages * 4096), [Reg.r8]: 10n },
      expected: { [Reg.rax]: 0n, [Reg.rsi]: at(pages * 4096) },
    },
  );
}

function syscalls(): Workload {
  const n = 200_000n;
  return workload(
    'costs',
    'syscall-exits',
    'SYSCALL, dec, jnz: each leaves the core and comes back',
    (asm) => {
      const top = asm.here();
      asm.syscall();
      asm.dec(64, Reg.rbx);
      asm.jcc(Cond.ne, top);
      asm.ret();
    },
    { regs: { [Reg.rbx]: n }, expected: { [Reg.rbx]: 0n }, syscalls: true },
  );
}

export const createLoops = (): Workload[] => [
  count(),
  copy(),
  crc32(),
  chase(),
  sse2Sum(),
  ...floatLoops(),
  fibonacci(),
  sieve(),
  bytecode(),
  rangeScan(),
  limbs(),
  repMovs(),
  pageWalks(),
  syscalls(),
];
