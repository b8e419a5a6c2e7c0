/**
 * The language that instruction definitions are written in. A definition reads
 * operands, computes, and writes; what an operand is (a slot named by a
 * micro-operation, or a register known at translation time) is up to the
 * subclass, so one definition yields the interpreter's handler and compiled
 * code.
 *
 * Rules for definitions: read before write; translate every address before the
 * first write to a register, the flags or memory; never decide by a host `if`
 * on a run-time value. Integers travel sign-extended to 64 bits.
 */
import { type Expr, type FunctionBuilder, f32, f64, i32, i64, load, op, select } from '@paravane/wasm-emit';
import { conditionOfBits, EFL } from './flag-functions.js';
import type { Routine } from './routines.js';
import { FlagKind, State, widthNumber } from './state.js';

/** Shape of an operand: general register, memory, immediate (`i` 32-bit, `I` 64-bit), CL, XMM, MMX, x87 register (`t`), branch (`j` within its page, `J` out of it). */
export interface Form {
  kind: 'r' | 'm' | 'i' | 'I' | 'c' | 'x' | 'p' | 't' | 'j' | 'J' | 's';
  /** Bits. */
  width: number;
}

/** Condition codes as encoded in the low four bits of Jcc (Intel SDM vol. 1, appendix B). */
export const CONDITIONS = [
  'O',
  'NO',
  'B',
  'NB',
  'Z',
  'NZ',
  'BE',
  'NBE',
  'S',
  'NS',
  'P',
  'NP',
  'L',
  'NL',
  'LE',
  'NLE',
] as const;

const SIGNED_LOAD = { 8: 'i64.load8_s', 16: 'i64.load16_s', 32: 'i64.load32_s', 64: 'i64.load' } as const;
const UNSIGNED_LOAD = { 8: 'i64.load8_u', 16: 'i64.load16_u', 32: 'i64.load32_u', 64: 'i64.load' } as const;
const NARROW_STORE = { 8: 'i64.store8', 16: 'i64.store16', 32: 'i64.store32', 64: 'i64.store' } as const;
type IntWidth = 8 | 16 | 32 | 64;

export abstract class Sem {
  private readonly modified = new Map<number, Expr>();

  constructor(
    readonly f: FunctionBuilder,
    readonly mnemonic: string,
    readonly forms: readonly Form[],
    /** Operand size in bits. */
    readonly width: IntWidth,
    /** Code mode; decides the width of stack and instruction pointers. */
    readonly mode: 64 | 32,
  ) {}

  // What the subclass knows.
  /** Where the register of operand `i` is kept, for a read or write of `width` bits. */
  protected abstract readSlot(i: number, width: IntWidth, signed: boolean): Expr;
  protected abstract writeSlot(i: number, width: IntWidth, value: Expr): void;
  protected abstract vectorPlace(i: number): { base: Expr; offset: number };
  protected abstract immediate(i: number): Expr;
  /** Effective address of the memory operand, as i64. */
  abstract address(): Expr;
  /** A general register by number. */
  abstract gpr(n: number, width?: IntWidth, signed?: boolean): Expr;
  abstract setGpr(n: number, value: Expr, width?: IntWidth): void;
  /** Address in memory of a field of the state. */
  abstract statePlace(): Expr;
  abstract flagKind(): Expr;
  abstract flagA(): Expr;
  abstract flagB(): Expr;
  abstract setFlags(kind: number, a: Expr, b: Expr): void;
  /** Index of the module's function that materialises flags: (kind, a, b) → bits. */
  protected abstract eflagsOf(kind: Expr, a: Expr, b: Expr): Expr;
  protected abstract conditionOf(kind: Expr, a: Expr, b: Expr, code: number): Expr;
  /** Offset in memory of `bytes` bytes at a linear address; leaves with the fault if there are none. */
  abstract translate(address: Expr, bytes: number, write: boolean): Expr;
  /**
   * Offset in memory of a linear address, for accesses up to the end of its page; leaves the instruction to TypeScript
   * where there is no such page, or accesses to it have to be told to somebody. Stores to it need no `stored`.
   */
  abstract translateRun(address: Expr, write: boolean): Expr;
  /** Instructions that may be counted by `countExtra`, i32. */
  abstract allowance(): Expr;
  /** Counts instructions, i32, beside the one that every instruction is. */
  abstract countExtra(n: Expr): void;
  /** After a store to what `translate` gave: finishes one that went to the scratch area. */
  abstract stored(host: Expr): void;
  /** Raises an exception at this instruction. `errorCode` -1 for none. */
  abstract raise(vector: number, errorCode: number): void;
  /** Leaves the instruction, untouched so far, to its definition in TypeScript. */
  abstract bail(): void;
  /** Address of the next instruction. Only for branches. */
  abstract returnAddress(): Expr;
  /** Linear address of the instruction. Only of the x87. */
  abstract instructionAddress(): Expr;
  /** The numbers of the stack registers among the operands, i32: the first in the low byte, the second above it. */
  abstract stackRegisters(): Expr;
  /** Number of the segment register in operand `i`, i32. */
  abstract segment(i: number): Expr;
  /** Instructions that the vCPU has done before this one, f64. Only of handlers in the loop. */
  protected abstract count(): Expr;
  /** The answer of a routine, i32. */
  abstract routine(name: Routine, ...args: Expr[]): Expr;
  /** Goes to the branch operand. */
  abstract branch(): void;
  /** Goes to a linear address. */
  abstract branchTo(target: Expr): void;

  let(value: Expr): Expr {
    return this.f.let(value);
  }
  /** Where the state has what it keeps of the segment register in operand `i` in `bytes` bytes each, less the offset. */
  segmentPlace(i: number, bytes: number): Expr {
    return op('i32.add', this.statePlace(), op('i32.mul', this.segment(i), i32(bytes)));
  }
  /** Selector of the segment register in operand `i`, zero-extended. */
  selector(i: number): Expr {
    return this.let(load('i64.load16_u', this.segmentPlace(i, 2), State.selectors));
  }
  /** The time-stamp counter, i64: `timeStamp` of engine-api. */
  timeStamp(): Expr {
    const [ratio, offset] = [State.tscRatio, State.tscOffset].map((at) => load('f64.load', this.statePlace(), at));
    const ticks = op('f64.floor', op('f64.add', op('f64.mul', this.count(), ratio!), offset!));
    return this.let(op('i64.trunc_sat_f64_s', ticks));
  }
  /**
   * Emits a check that leaves the instruction unless something about the state holds, which nothing but definitions in
   * TypeScript can change; so one of a name is enough for instructions that follow each other.
   */
  once(_name: string, check: () => void): void {
    check();
  }
  if(condition: Expr, then: () => void, otherwise?: () => void): void {
    this.f.if(condition, then, otherwise);
  }
  /** `yes` or `no`, each evaluated in its own arm. */
  choose(condition: Expr, yes: () => Expr, no: () => Expr): Expr {
    if (condition.kind === 'const') return this.let(condition.value === 0 ? no() : yes());
    const result: Expr[] = [];
    this.f.if(
      condition,
      () => {
        const value = yes();
        result[0] = this.f.local(value.type);
        this.f.set(result[0], value);
      },
      () => this.f.set(result[0]!, no()),
    );
    return result[0]!;
  }
  operandWidth(i: number): IntWidth {
    return (this.forms[i]!.width || this.width) as IntWidth;
  }

  /** Operand `i`, sign-extended to 64 bits and evaluated now. */
  get(i: number): Expr {
    return this.read(i, true);
  }
  /** Operand `i`, zero-extended. */
  getUnsigned(i: number): Expr {
    return this.read(i, false);
  }
  private read(i: number, signed: boolean): Expr {
    const form = this.forms[i]!;
    const width = this.operandWidth(i);
    switch (form.kind) {
      case 'r':
        return this.let(this.readSlot(i, width, signed));
      case 'm':
        return this.let(
          load(signed ? SIGNED_LOAD[width] : UNSIGNED_LOAD[width], this.translate(this.address(), width / 8, false)),
        );
      case 'c':
        return this.let(this.gpr(1, 8, signed));
      case 'i':
      case 'I':
        return this.let(signed ? this.immediate(i) : this.zeroExtend(this.immediate(i), width));
      default:
        throw new TypeError(`${this.mnemonic}: operand ${i} is not an integer`);
    }
  }
  /** Operand `i` to be read and then written: its address is translated for the write. */
  modify(i: number): Expr {
    if (this.forms[i]!.kind === 'r') return this.get(i);
    const width = this.operandWidth(i);
    const host = this.let(this.translate(this.address(), width / 8, true));
    this.modified.set(i, host);
    return this.let(load(SIGNED_LOAD[width], host));
  }
  /** Writes the low bits of `value`; a 32-bit register write clears the upper half. */
  set(i: number, value: Expr): void {
    const width = this.operandWidth(i);
    if (this.forms[i]!.kind === 'r') return this.writeSlot(i, width, value);
    const host = this.modified.get(i) ?? this.let(this.translate(this.address(), width / 8, true));
    this.f.store(NARROW_STORE[width], host, value);
    this.stored(host);
  }
  /** Makes sure that a later `set` of operand `i` can't fault. */
  prepare(i: number): void {
    if (this.forms[i]!.kind !== 'm' || this.modified.has(i)) return;
    this.modified.set(i, this.let(this.translate(this.address(), this.operandWidth(i) / 8, true)));
  }
  loadAt(address: Expr, width: IntWidth, signed = true): Expr {
    return this.let(
      load(signed ? SIGNED_LOAD[width] : UNSIGNED_LOAD[width], this.translate(address, width / 8, false)),
    );
  }
  storeAt(address: Expr, width: IntWidth, value: Expr): void {
    const host = this.let(this.translate(address, width / 8, true));
    this.f.store(NARROW_STORE[width], host, value);
    this.stored(host);
  }

  // Vectors.
  /** Operand `i` as a vector: a whole register, or memory of its width with zeros above. */
  vector(i: number): Expr {
    const form = this.forms[i]!;
    if (form.kind === 'x' || form.kind === 'p') {
      const { base, offset } = this.vectorPlace(i);
      return this.let(load(form.kind === 'p' ? 'v128.load64_zero' : 'v128.load', base, offset));
    }
    const host = this.translate(this.address(), form.width / 8, false);
    return this.let(
      load(form.width === 128 ? 'v128.load' : form.width === 64 ? 'v128.load64_zero' : 'v128.load32_zero', host),
    );
  }
  /** Writes a whole XMM register, the 64 bits of an MMX register, or the low bits to memory. */
  setVector(i: number, value: Expr): void {
    const form = this.forms[i]!;
    if (form.kind === 'm') {
      const host = this.modified.get(i) ?? this.let(this.translate(this.address(), form.width / 8, true));
      if (form.width === 128) this.f.store('v128.store', host, value);
      else this.f.store(form.width === 64 ? 'i64.store' : 'i32.store', host, this.low(value, form.width));
      this.stored(host);
      return;
    }
    const { base, offset } = this.vectorPlace(i);
    if (form.kind === 'p') {
      // The register is the significand of an x87 register, whose exponent becomes all ones.
      this.f.store('i64.store', base, this.low(value, 64), offset);
      this.f.store('i64.store16', base, i64(0xffff), offset + 8);
    } else this.f.store('v128.store', base, value, offset);
  }
  private low(value: Expr, width: number): Expr {
    return width === 64
      ? { kind: 'op', type: 'l', args: [value], bytes: [0xfd, 29, 0] }
      : { kind: 'op', type: 'i', args: [value], bytes: [0xfd, 27, 0] };
  }
  /** The low lane of vector operand `i`: `d` f64, `f` f32, `l` 64 bits, `i` 32 bits. */
  lane(i: number, type: 'd' | 'f' | 'l' | 'i'): Expr {
    const name = ({ d: 'f64.load', f: 'f32.load', l: 'i64.load', i: 'i32.load' } as const)[type];
    const form = this.forms[i]!;
    if (form.kind === 'm')
      return this.let(load(name, this.translate(this.address(), type === 'd' || type === 'l' ? 8 : 4, false)));
    const { base, offset } = this.vectorPlace(i);
    return this.let(load(name, base, offset));
  }
  /** Writes the low lane of a vector register, the rest unchanged; or memory. */
  setLane(i: number, value: Expr): void {
    const name = ({ d: 'f64.store', f: 'f32.store', l: 'i64.store', i: 'i32.store', v: 'v128.store' } as const)[
      value.type
    ];
    const form = this.forms[i]!;
    if (form.kind === 'm') {
      const host = this.let(this.translate(this.address(), value.type === 'd' || value.type === 'l' ? 8 : 4, true));
      this.f.store(name, host, value);
      this.stored(host);
      return;
    }
    const { base, offset } = this.vectorPlace(i);
    this.f.store(name, base, value, offset);
  }
  /** #GP unless the memory operand `i` lies on a 16-byte boundary. */
  requireAligned(i: number): void {
    if (this.forms[i]!.kind !== 'm') return;
    this.if(op('i32.and', op('i32.wrap_i64', this.address()), i32(15)), () => this.raise(13, 0));
  }

  // Arithmetic.
  zeroExtend(value: Expr, width: number = this.width): Expr {
    if (width === 32) return op('i64.extend_i32_u', op('i32.wrap_i64', value));
    return width === 64 ? value : op('i64.and', value, i64((1n << BigInt(width)) - 1n));
  }
  signExtend(value: Expr, width: number = this.width): Expr {
    if (width === 64) return value;
    // By two operators, as hosts see through those where only the low half is used in the end.
    if (width === 32) return op('i64.extend_i32_s', op('i32.wrap_i64', value));
    return op(width === 16 ? 'i64.extend16_s' : 'i64.extend8_s', value);
  }
  /** A mask of -1 or 0 sign-bit style test: the bit `width - 1` of a sign-extended value. */
  negative(value: Expr): Expr {
    return op('i64.lt_s', value, i64(0));
  }

  // Flags.
  flagsSub(a: Expr, b: Expr, width: number = this.width): void {
    this.setFlags(FlagKind.sub + widthNumber(width), a, b);
  }
  flagsAdd(a: Expr, b: Expr, width: number = this.width): void {
    this.setFlags(FlagKind.add + widthNumber(width), a, b);
  }
  flagsLogic(result: Expr, width: number = this.width): void {
    this.setFlags(FlagKind.sub + widthNumber(width), result, i64(0));
  }
  /** ZF, SF, PF of a sign-extended result; CF, OF, AF from `bits` (i32, RFLAGS positions). */
  flagsResult(result: Expr, bits: Expr, width: number = this.width): void {
    this.setFlags(FlagKind.result + widthNumber(width), result, op('i64.extend_i32_u', bits));
  }
  flagsBits(bits: Expr): void {
    this.setFlags(FlagKind.bits, i64(0), op('i64.extend_i32_u', bits));
  }
  /** The arithmetic flags as bits of RFLAGS, i32. */
  eflags(): Expr {
    return this.let(this.eflagsOf(this.flagKind(), this.flagA(), this.flagB()));
  }
  /** CF as 0 or 1, i32. */
  carry(): Expr {
    const kind = this.flagKind();
    if (kind.kind === 'const') return this.let(this.knownCarry(kind.value as number));
    return this.choose(
      op('i32.lt_u', kind, i32(4)),
      () => op('i64.lt_u', this.flagA(), this.flagB()),
      () =>
        this.choose(
          op('i32.ge_u', kind, i32(8)),
          () => op('i32.and', op('i32.wrap_i64', this.flagB()), i32(1)),
          () => op('i32.and', this.eflagsOf(kind, this.flagA(), this.flagB()), i32(1)),
        ),
    );
  }
  private knownCarry(kind: number): Expr {
    if (kind < FlagKind.add) return op('i64.lt_u', this.flagA(), this.flagB());
    if (kind >= FlagKind.result) return op('i32.and', op('i32.wrap_i64', this.flagB()), i32(1));
    return op('i64.lt_u', this.signExtend(op('i64.add', this.flagA(), this.flagB()), 8 << (kind & 3)), this.flagA());
  }
  /** A condition by its code, as 0 or 1, i32. */
  condition(code: number): Expr {
    const kind = this.flagKind();
    const [a, b] = [this.flagA(), this.flagB()];
    if (kind.kind === 'const') return this.let(this.knownCondition(kind.value as number, a, b, code));
    const general = (): Expr => this.conditionOf(kind, a, b, code);
    const direct = DIRECT[code];
    if (!direct) return this.let(general());
    return this.choose(
      op('i32.lt_u', kind, i32(4)),
      () => op(direct, a, b),
      () =>
        code === 4 || code === 5
          ? this.choose(
              op('i32.eq', op('i32.and', kind, i32(12)), i32(FlagKind.result)),
              () => op(direct, a, i64(0)),
              general,
            )
          : general(),
    );
  }
  /** A condition on flags whose kind is known: without calls, and of what it asks for only. */
  private knownCondition(kind: number, a: Expr, b: Expr, code: number): Expr {
    const width = 8 << (kind & 3);
    const direct = DIRECT[code];
    if (kind < FlagKind.add && direct) {
      if (width === 32) return op(NARROW[direct], op('i32.wrap_i64', a), op('i32.wrap_i64', b));
      return op(direct, a, b);
    }
    const negated = (code & 1) !== 0;
    const either = (value: Expr): Expr => (negated ? op('i32.eqz', value) : value);
    if (kind >= FlagKind.bits) return either(conditionOfBits(op('i32.wrap_i64', b), code >> 1));
    const isPlain = kind >= FlagKind.result;
    const isSum = !isPlain && kind >= FlagKind.add;
    const result = isPlain ? a : this.let(this.signExtend(op(isSum ? 'i64.add' : 'i64.sub', a, b), width));
    if (code === 4 || code === 5) return op(DIRECT[code]!, result, i64(0));
    if (code === 8 || code === 9) return op(negated ? 'i64.ge_s' : 'i64.lt_s', result, i64(0));
    const zero = (): Expr => op('i64.eqz', result);
    const carry = (): Expr => this.knownCarry(kind);
    const bitsOverflow = op('i32.and', op('i32.shr_u', op('i32.wrap_i64', b), i32(11)), i32(1));
    const changed = op('i64.and', op('i64.xor', a, result), op('i64.xor', b, isSum ? result : a));
    const overflow = (): Expr => (isPlain ? bitsOverflow : this.negative(changed));
    const less = (): Expr => op('i32.xor', this.negative(result), overflow());
    switch (code >> 1) {
      case 0:
        return either(overflow());
      case 1:
        return either(carry());
      case 3:
        return either(op('i32.or', carry(), zero()));
      case 5: {
        const ones = op('i32.popcnt', op('i32.and', op('i32.wrap_i64', result), i32(255)));
        return op('i32.and', negated ? ones : op('i32.xor', ones, i32(1)), i32(1));
      }
      case 6:
        return either(less());
      default:
        return either(op('i32.or', less(), zero()));
    }
  }
  bit(condition: Expr, bit: number): Expr {
    return op('i32.shl', condition, i32(Math.log2(bit)));
  }

  // Stack. The stack pointer is 64 bits wide, or 32 in compatibility mode.
  stackAddress(pointer: Expr): Expr {
    return this.mode === 64 ? pointer : this.zeroExtend(pointer, 32);
  }
  push(value: Expr, width: IntWidth = this.width): void {
    const pointer = this.let(this.stackAddress(op('i64.sub', this.gpr(4), i64(width / 8))));
    this.storeAt(pointer, width, value);
    this.setGpr(4, pointer, this.mode);
  }
  /** The value on top of the stack; `drop` moves the pointer. */
  top(width: IntWidth = this.width): Expr {
    return this.loadAt(this.stackAddress(this.gpr(4)), width);
  }
  drop(bytes: number | Expr): void {
    const amount = typeof bytes === 'number' ? i64(bytes) : bytes;
    this.setGpr(4, this.stackAddress(op('i64.add', this.gpr(4), amount)), this.mode);
  }
}

type Comparison = 'lt_u' | 'ge_u' | 'eq' | 'ne' | 'le_u' | 'gt_u' | 'lt_s' | 'ge_s' | 'le_s' | 'gt_s';

/** Comparisons that answer a condition directly from a − b. */
const DIRECT: Partial<Record<number, `i64.${Comparison}`>> = {
  2: 'i64.lt_u',
  3: 'i64.ge_u',
  4: 'i64.eq',
  5: 'i64.ne',
  6: 'i64.le_u',
  7: 'i64.gt_u',
  12: 'i64.lt_s',
  13: 'i64.ge_s',
  14: 'i64.le_s',
  15: 'i64.gt_s',
};
/** The same of 32-bit operands. */
const NARROW = Object.fromEntries(Object.values(DIRECT).map((name) => [name, name!.replace('i64', 'i32')])) as Record<
  `i64.${Comparison}`,
  `i32.${Comparison}`
>;

export type { Expr };
export { EFL, f32, f64, i32, i64, load, op, select };
