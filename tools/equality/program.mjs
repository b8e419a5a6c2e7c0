// Writes random programs: loops, branches that data decides, calls and indirect jumps, memory accesses of all widths
// (over lines and pages, some to nowhere), strings, self-modification, SSE, x87, and instructions that stop the core.
// Registers: rbp is the middle of the data, rsp the stack; the counters of loops are in memory, so a program may do
// what it likes with everything else.

import { CONDITIONS } from './link.mjs';

const X87_ARITHMETIC = ['add', 'sub', 'subr', 'mul', 'div', 'divr'];
const NAMES = {
  8: ['al', 'bl', 'cl', 'dl', 'ah', 'ch'],
  16: ['ax', 'bx', 'cx', 'dx', 'si', 'di'],
  32: ['eax', 'ebx', 'ecx', 'edx', 'esi', 'edi'],
  64: ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r13'],
};
const MORE32 = ['r8d', 'r11d', 'r14d'];
const SIZES = { 8: 'byte', 16: 'word', 32: 'dword', 64: 'qword' };
const BINARY = ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp'];
const SHIFTS = ['rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'sar'];
const PACKED = [
  ...['paddb', 'paddw', 'paddd', 'paddq', 'psubb', 'psubd', 'pand', 'por', 'pxor', 'pandn', 'pcmpeqb', 'pcmpgtd'],
  ...['pmullw', 'pmuludq', 'punpcklbw', 'punpckhdq', 'packuswb', 'pmaxub', 'pavgb', 'pmaddwd', 'psadbw'],
  ...['addps', 'mulps', 'subpd', 'addpd', 'mulpd', 'divps', 'minps', 'maxpd', 'andps', 'xorpd', 'unpcklps', 'sqrtps'],
];
const SCALAR = [
  'addsd',
  'subsd',
  'mulsd',
  'divsd',
  'sqrtsd',
  'minsd',
  'addss',
  'mulss',
  'divss',
  'maxss',
  'cvtss2sd',
  'cvtsd2ss',
];
/** What reads or writes parts of registers. */
const LANES = ['movsd', 'movss', 'movaps', 'movhlps', 'movlhps', 'movddup', 'unpcklpd', 'unpcklps', 'movq', 'haddps'];
/** Distances from the base of the data: some at the ends of pages, and few enough for lines to come again. */
const PLACES = [
  ...Array.from({ length: 48 }, (_, i) => (i * 1109) % 7000),
  ...Array.from({ length: 10 }, (_, i) => 4096 * (1 + (i & 1)) - (1 + i)),
];
const BYTES = [0, 1, 2, 0x10, 0x55, 0x7f, 0x80, 0xfe, 0xff];
const NUMBERS = [0, 1, 2, 5, 9, 0x10, 0x3c, 0x7f, 0x80, 0xff, 0x100, 0x1234, 0x5555, 0x7fff];
const hex = (n) => `0x${n.toString(16)}`;

/** @param mode 64 or 32. `slow`: much of it is not generated code in any engine. */
export function writeProgram(random, mode) {
  const { below, between, one, rarely } = random;
  const width = () => one(mode === 64 ? [8, 16, 32, 32, 64, 64] : [8, 16, 32, 32, 32]);
  const wide = mode === 64 ? 64 : 32;
  const register = (bits) => one(mode === 64 && bits === 32 ? [...NAMES[32], ...MORE32] : NAMES[bits]);
  const pointer = mode === 64 ? 'r' : 'e';
  const [base, stack] = [`${pointer}bp`, `${pointer}sp`];
  const xmm = () => `xmm${below(mode === 64 ? 10 : 8)}`;
  const lines = [];
  let labels = 0;
  let loops = 0;
  const functions = between(0, 3);
  const [faults, patches] = [rarely(4), rarely(4)];
  // With a REX prefix there is no ah and no ch.
  const put = (...text) =>
    lines.push(...text.map((line) => (/\br\d/.test(line) ? line.replace(/\b([ac])h\b/, '$1l') : line)));

  /** An address in the data: mostly by the base, sometimes with an index that is masked before. */
  const address = () => {
    if (rarely(3)) {
      const index = register(wide);
      put(`and ${index}, ${hex(one([7, 0xff, 0x7ff, 0xfff]))}`);
      return `[${base}+${index}*${one([1, 2, 4, 8])}+${hex(one([0, 3, 0x20]))}]`;
    }
    return `[${base}+${hex(one(PLACES))}]`;
  };
  const memory = (bits) => {
    const at = address();
    return `${SIZES[bits]} ${at}`;
  };
  const immediate = (bits) => hex(one(bits === 8 ? BYTES : NUMBERS));
  const source = (bits) =>
    one([() => register(bits), () => register(bits), () => immediate(bits), () => memory(bits)])();

  const items = {
    binary() {
      const bits = width();
      if (rarely(3)) {
        const to = memory(bits);
        put(`${one(BINARY)} ${to}, ${one([register(bits), immediate(bits)])}`);
      } else {
        const from = source(bits);
        put(`${one(BINARY)} ${register(bits)}, ${from}`);
      }
    },
    unary() {
      const bits = width();
      put(`${one(['inc', 'dec', 'neg', 'not'])} ${rarely(3) ? memory(bits) : register(bits)}`);
    },
    move() {
      const bits = width();
      if (rarely(2)) {
        const to = memory(bits);
        put(`mov ${to}, ${register(bits)}`);
      } else {
        const from = source(bits);
        put(`mov ${register(bits)}, ${from}`);
      }
    },
    extend() {
      const bits = one([8, 16]);
      put(`${one(['movzx', 'movsx'])} ${register(32)}, ${rarely(2) ? memory(bits) : register(bits)}`);
    },
    lea: () =>
      put(
        `lea ${register(wide)}, [${register(wide)}+${register(wide)}*${one([1, 2, 4, 8])}+${hex(one([0, 7, 0xc0]))}]`,
      ),
    shift() {
      const bits = width();
      put(`${one(SHIFTS)} ${rarely(4) ? memory(bits) : register(bits)}, ${rarely(2) ? 'cl' : below(70)}`);
    },
    double() {
      const bits = one([32, wide]);
      put(`${one(['shld', 'shrd'])} ${register(bits)}, ${register(bits)}, ${rarely(2) ? 'cl' : below(33)}`);
    },
    multiply() {
      const bits = one([16, 32, wide]);
      const from = rarely(2) ? memory(bits) : register(bits);
      put(
        one([
          `imul ${register(bits)}, ${from}`,
          `mul ${register(bits)}`,
          `imul ${register(bits)}, ${register(bits)}, ${hex(one([3, 0x11, 0x5b]))}`,
        ]),
      );
    },
    divide() {
      const bits = one([8, 16, 32, wide]);
      // Mostly by something that fits; else the exception is what is compared.
      if (!rarely(4))
        put(bits === 8 ? 'and ah, 0x3' : `xor edx, edx`, bits === 8 ? 'or bl, 0x10' : `or ${NAMES[bits][1]}, 0x1`);
      put(`${one(['div', 'idiv'])} ${bits === 8 ? 'bl' : NAMES[bits][1]}`);
    },
    bits() {
      const wideEnough = one([16, 32, wide]);
      put(
        one([
          `${one(['bt', 'bts', 'btr', 'btc'])} ${register(wideEnough)}, ${below(64)}`,
          `${one(['bsf', 'bsr', 'popcnt'])} ${register(wideEnough)}, ${register(wideEnough)}`,
          `bswap ${register(one([32, wide]))}`,
        ]),
      );
    },
    condition() {
      const bits = one([16, 32, wide]);
      put(
        rarely(2)
          ? `set${one(CONDITIONS)} ${register(8)}`
          : `cmov${one(CONDITIONS)} ${register(bits)}, ${register(bits)}`,
      );
    },
    exchange() {
      const bits = width();
      const to = memory(bits);
      put(
        one([
          `xchg ${to}, ${register(bits)}`,
          `xadd ${to}, ${register(bits)}`,
          `lock cmpxchg ${to}, ${register(bits)}`,
        ]),
      );
    },
    stack: () =>
      put(`push ${register(wide)}`, `push ${register(wide)}`, `pop ${register(wide)}`, `pop ${register(wide)}`),
    flags: () =>
      put(one(['stc', 'clc', 'cmc', 'cld', 'sahf', 'lahf', 'cdq', 'cwde', ...(mode === 64 ? ['cqo', 'cdqe'] : [])])),
    string() {
      put(`lea ${pointer}si, [${base}+${hex(one(PLACES))}]`, `lea ${pointer}di, [${base}+${hex(one(PLACES))}]`);
      const size = one(['byte', 'word', 'dword']);
      if (rarely(2)) {
        put(
          `mov ecx, ${hex(below(40))}`,
          one([`rep movs ${size}`, `rep stos ${size}`, `repe cmps ${size}`, `repne scas ${size}`]),
        );
      } else put(`${one(['movs', 'lods', 'stos'])} ${size}`);
      if (rarely(8)) put('std', `movs ${size}`, 'cld');
    },
    packed() {
      const name = one(PACKED);
      if (rarely(3)) put(`${one(['cvtdq2ps', 'cvtdq2pd'])} ${xmm()}, ${xmm()}`);
      if (rarely(4)) put(`movups ${xmm()}, [${base}+${hex(one(PLACES))}]`);
      put(`${name} ${xmm()}, ${xmm()}`);
      if (rarely(4)) put(`movups [${base}+${hex(one(PLACES))}], ${xmm()}`);
    },
    scalar() {
      put(`${one(SCALAR)} ${xmm()}, ${xmm()}`);
      if (rarely(2)) put(`${one(LANES)} ${xmm()}, ${xmm()}`);
      if (rarely(3)) put(`ucomisd ${xmm()}, ${xmm()}`);
      if (rarely(3)) put(`cvtsi2sd ${xmm()}, ${register(32)}`, `cvttsd2si ${register(32)}, ${xmm()}`);
      if (rarely(5))
        put(`movsd ${xmm()}, [${base}+${hex(8 * below(60))}]`, `movsd [${base}+${hex(8 * below(60))}], ${xmm()}`);
    },
    control() {
      // Rounding, flush to zero and denormals are zero; exceptions stay masked.
      put(
        `mov dword [${base}+0x1f00], ${hex(0x1f80 | (below(4) << 13) | (below(2) << 15) | (below(2) << 6))}`,
        `ldmxcsr dword [${base}+0x1f00]`,
      );
    },
    x87() {
      const at = () => `[${base}+${hex(8 * below(60))}]`;
      if (rarely(6)) {
        // Any rounding and precision; seldom an exception that is not masked.
        const word = 0x7f | (below(4) << 10) | (below(4) << 8);
        put(`mov word [${base}+0x1f08], ${hex(rarely(8) ? word & ~(1 << below(6)) : word)}`);
        put(`fldcw word [${base}+0x1f08]`);
      }
      const pushes = ['fild dword', 'fild word', 'fild qword', 'fld dword', 'fld qword', 'fld tword'];
      const loads = () => one([...pushes.map((name) => `${name} ${at()}`), 'fld1', 'fldz', 'fldpi', 'fld st0']);
      const depth = between(1, 3);
      for (let i = 0; i < depth; i++) put(rarely(2) ? `fild dword ${at()}` : loads());
      const other = () => `st${below(rarely(20) ? 8 : depth)}`;
      for (let i = below(6); i > 0; i--) {
        const name = one(X87_ARITHMETIC);
        put(
          one([
            `f${name} st0, ${other()}`,
            `f${name} ${other()}, st0`,
            `f${name} ${one(['qword', 'dword'])} ${at()}`,
            `fi${name} ${one(['word', 'dword'])} ${at()}`,
            `fxch ${other()}`,
            `fcmov${one(['b', 'nb', 'e', 'ne', 'be', 'nbe', 'u', 'nu'])} st0, ${other()}`,
            `fst ${one(['qword', 'dword'])} ${at()}`,
            `fist ${one(['word', 'dword'])} ${at()}`,
            `${one(['fcom', 'fucom'])} st0, ${other()}`,
            one(['fchs', 'fabs', 'fsqrt', 'frndint', 'ftst', 'fincstp', 'fdecstp', 'fnop']),
          ]),
        );
        if (rarely(3)) put(`${one(['fcomi', 'fucomi'])} st0, ${other()}`, `set${one(CONDITIONS)} ${register(8)}`);
        if (rarely(6)) put('fnstsw');
      }
      for (let i = 1; i < depth; i++)
        put(one([`f${one(X87_ARITHMETIC)}p st1, st0`, `fstp ${other()}`, `fcomip st0, st1`, `fisttp dword ${at()}`]));
      const stores = [
        'fstp qword',
        'fstp dword',
        'fstp tword',
        'fistp word',
        'fistp dword',
        'fistp qword',
        'fisttp qword',
      ];
      put(`${one(stores)} ${at()}`);
      if (rarely(30)) put('fninit');
    },
    branch() {
      const label = `b${labels++}`;
      put(`${one(['cmp', 'test'])} ${register(32)}, ${register(32)}`, `j${one(CONDITIONS)} ${label}`);
      for (let i = between(1, 3); i > 0; i--) simple();
      put(`${label}:`);
    },
    jump() {
      const label = `b${labels++}`;
      if (mode === 64) put(`lea r12, [rel ${label}]`, 'jmp r12');
      else put(`mov edx, ${label}`, 'jmp edx');
      simple();
      put(`${label}:`);
    },
    call() {
      if (functions > 0) put(`call f${below(functions)}`);
    },
    patch() {
      // The constant of an instruction that comes next, or again in the loop's next turn.
      const label = `p${labels++}`;
      const store = mode === 64 ? `mov [rel ${label}+1], ecx` : `mov [${label}+1], ecx`;
      const patched = [`${label}:`, 'mov eax, 0x12345678'];
      // Not each time: code that is patched all the time is never compiled.
      const seldom = [`add dword [${base}-0x20], 1`, `test byte [${base}-0x20], ${one(['0x7f', '0xff'])}`];
      const guarded = [...seldom, `jnz q${label}`, store, `q${label}:`];
      put(...(rarely(2) ? [...guarded, ...patched] : [...patched, ...guarded]));
    },
    fault: () =>
      put(
        one([
          `mov eax, [${hex(one([0, 0x123]))}]`,
          'ud2',
          'int3',
          'cpuid',
          ...(mode === 64 ? ['syscall'] : []),
          'rdtsc',
        ]),
      ),
  };
  const often = [
    'binary',
    'binary',
    'binary',
    'move',
    'move',
    'unary',
    'extend',
    'lea',
    'shift',
    'condition',
    'multiply',
  ];
  // Some kinds are in some programs only, and often there: what is slow or ends a program soon hides the rest.
  const vectors = rarely(12) ? ['packed', 'packed', 'scalar'] : [];
  const x87 = rarely(12) ? ['x87', 'x87', 'control'] : [];
  const seldom = [...x87, ...(rarely(4) ? ['divide', 'string'] : [])];
  const plain = [...often, 'bits', 'double', 'exchange', 'stack', 'flags', ...vectors];
  const all = [...plain, ...plain, ...seldom, ...seldom, 'branch', 'branch', 'branch', 'jump', 'call', 'call'];
  const simple = () => items[one(plain)]();
  const any = () => {
    if (faults && rarely(20)) items.fault();
    else if (patches && rarely(12)) items.patch();
    else items[one(all)]();
  };

  put('start:');
  for (let outer = between(1, 3); outer > 0; outer--) loop(2);
  put('jmp start');
  for (let i = 0; i < functions; i++) {
    put(`f${i}:`, `sub ${stack}, 16`);
    for (let n = between(1, 6); n > 0; n--) simple();
    if (rarely(3)) loop(1);
    put(`add ${stack}, 16`, 'ret');
  }
  return { text: lines.join('\n'), slow: vectors.length + x87.length > 0 };

  function loop(depth) {
    const [label, counter] = [`l${labels++}`, `dword [${base}-${hex(64 + 4 * loops++)}]`];
    put(`mov ${counter}, ${between(2, 40)}`, `${label}:`);
    for (let n = between(1, 8); n > 0; n--) any();
    if (depth > 1 && rarely(4)) loop(depth - 1);
    put(`sub ${counter}, 1`, `jnz ${label}`);
  }
}
