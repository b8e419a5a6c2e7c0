/**
 * Definitions as compiled code: operands are known, registers and flags live in
 * locals. Whatever is unusual leaves by a side exit before the instruction has
 * had any effect; the interpreter then does it.
 */
import { TlbField } from '@paravane/mmu';
import {
  callExpr,
  type Expr,
  type FunctionBuilder,
  i32,
  i64,
  load,
  OPERATORS,
  type Operator,
  op,
  select,
} from '@paravane/wasm-emit';
import { eflagsOfAnyKind } from '../flag-functions.js';
import { formsOf } from '../handlers.js';
import type { Operand } from '../operands.js';
import { callRoutine, type Routine, type Routines } from '../routines.js';
import { Sem } from '../sem.js';
import { FlagKind, MAX_REGION, State } from '../state.js';
import { entryOffset } from '../tlb-probe.js';
import type { KnownVectors, LaneType } from './known-vectors.js';
import { plainBase, STACK_POINTER } from './pages.js';
import type { Placed } from './region.js';

interface KnownPage {
  page: Expr;
  addend: Expr;
  write: boolean;
}

/** What the instructions of a region share. */
export interface RegionSite {
  readonly f: FunctionBuilder;
  readonly cpu: Expr;
  readonly tag: Expr;
  /** `placeOfTag` */
  readonly tagPlace: Expr;
  readonly pcBase: Expr;
  /** Instructions left behind the block, and how many of the block come from this one on. */
  readonly left: Expr;
  readonly behind: number;
  readonly tlbBase: number;
  readonly functions: {
    condition: number;
    routines: Routines;
  };
  /** Checks that the block has made; a call ends a block. */
  readonly checked: Set<string>;
  /** What of XMM registers the block has in locals. */
  readonly vectors: KnownVectors;
  readonly flags: { kind: Expr; a: Expr; b: Expr };
  /** By base register: linear address of a page that is known, what to add to an address in it, and if it is for writes. */
  readonly pages: ReadonlyMap<number, KnownPage>;
  /** The value of a general register. */
  read(n: number): Expr;
  write(n: number, value: Expr): void;
  /** Notes that the flags are read, or changed; tells whether they are so whichever way the instruction goes. */
  readFlags(): void;
  writeFlags(): boolean;
  /** Leaves before the instruction, for the interpreter to do it. */
  sideExit(): void;
  /** Goes to a linear address, for good or as a call; behind a call it goes on. */
  branchTo(target: Expr): void;
  /** Offset of a near branch's target, and going there. */
  readonly taken: number;
  branchNear(): void;
}

type IntWidth = 8 | 16 | 32 | 64;

/** 32-bit operators by the code of the 64-bit ones whose low halves depend on nothing but the operands' low halves. */
const NARROWED = new Map<number, Operator>(
  (['add', 'sub', 'mul', 'and', 'or', 'xor'] as const).map((name) => [OPERATORS[`i64.${name}`][0][0]!, `i32.${name}`]),
);

export class RegionSem extends Sem {
  private effective: Expr | null = null;
  /** What the instruction's values were made of. */
  private readonly defined = new Map<Expr, Expr>();

  constructor(
    private readonly site: RegionSite,
    private readonly placed: Placed,
    /** Kind of the lazy flags where the block has set them. */
    public knownKind: number | null,
  ) {
    const { insn } = placed;
    super(site.f, insn.mnemonic, formsOf(insn, true), insn.width, insn.mode);
  }

  private operand<K extends Operand['kind']>(i: number, kind: K): Operand & { kind: K } {
    const operand = this.placed.insn.operands[i]!;
    if (operand.kind !== kind) throw new TypeError(`${this.mnemonic}: operand ${i} is no ${kind}`);
    return operand as Operand & { kind: K };
  }
  private extract(n: number, width: IntWidth, signed: boolean, high: boolean): Expr {
    const whole = this.site.read(n);
    const value = high ? op('i64.shr_u', whole, i64(8)) : whole;
    return signed ? this.signExtend(value, width) : this.zeroExtend(value, width);
  }
  private insert(n: number, value: Expr, width: IntWidth, high: boolean): void {
    if (width === 64) return this.site.write(n, value);
    if (width === 32) return this.site.write(n, op('i64.extend_i32_u', this.narrow(value)));
    const shift = high ? 8 : 0;
    const mask = ((1n << BigInt(width)) - 1n) << BigInt(shift);
    const part = op('i64.and', op('i64.shl', value, i64(shift)), i64(mask));
    this.site.write(n, op('i64.or', op('i64.and', this.site.read(n), i64(~mask)), part));
  }
  protected readSlot(i: number, width: IntWidth, signed: boolean): Expr {
    const { n, high } = this.operand(i, 'r');
    return this.extract(n, width, signed, high);
  }
  protected writeSlot(i: number, width: IntWidth, value: Expr): void {
    const { n, high } = this.operand(i, 'r');
    this.insert(n, value, width, high);
  }
  protected vectorPlace(i: number): { base: Expr; offset: number } {
    const operand = this.placed.insn.operands[i]!;
    if (operand.kind === 'x') return { base: this.site.cpu, offset: State.xmm + operand.n * 16 };
    return { base: this.site.cpu, offset: State.x87 + this.operand(i, 'p').n * 16 };
  }
  protected immediate(i: number): Expr {
    const { value, wide } = this.operand(i, 'i');
    return i64(wide ?? value);
  }
  address(): Expr {
    this.effective ??= this.let(this.computeAddress());
    return this.effective;
  }
  private computeAddress(): Expr {
    const { insn, offset } = this.placed;
    const memory = insn.memory!;
    let sum: Expr;
    if (memory.wide !== undefined) sum = i64(memory.wide);
    else if (memory.base === -2) sum = op('i64.add', this.site.pcBase, i64(memory.disp + offset + insn.length));
    else {
      sum = memory.base < 0 ? i64(memory.disp) : op('i64.add', this.site.read(memory.base), i64(memory.disp));
      if (memory.index >= 0) {
        sum = op('i64.add', sum, op('i64.shl', this.site.read(memory.index), i64(memory.scale)));
      }
    }
    if (insn.addressWidth !== 64) sum = this.zeroExtend(sum, insn.addressWidth);
    if (this.mnemonic === 'LEA') return sum;
    if (insn.mode === 32 && (insn.segment === 1 || insn.segment >= 4)) {
      const limited = load('i32.load', this.site.cpu, State.limited);
      this.f.if(op('i32.and', limited, i32(1 << insn.segment)), () => this.site.sideExit());
    }
    if (insn.segment < 4) return sum;
    const linear = op(
      'i64.add',
      sum,
      load('i64.load', this.site.cpu, insn.segment === 4 ? State.fsBase : State.gsBase),
    );
    return insn.mode === 32 ? this.zeroExtend(linear, 32) : linear;
  }
  override let(value: Expr): Expr {
    const local = super.let(value);
    if (local !== value) this.defined.set(local, value);
    return local;
  }
  /** The low 32 bits: of sums and the like, worked out in 32 bits. */
  private narrow(value: Expr): Expr {
    const whole = this.defined.get(value) ?? value;
    const name = whole.kind === 'op' && whole.args.length === 2 ? NARROWED.get(whole.bytes[0]!) : undefined;
    if (name && whole.kind === 'op' && whole.args.every((arg) => arg.kind === 'const' || this.defined.has(arg))) {
      return op(name, op('i32.wrap_i64', whole.args[0]!), op('i32.wrap_i64', whole.args[1]!));
    }
    return op('i32.wrap_i64', value);
  }
  gpr(n: number, width: IntWidth = 64, signed = true): Expr {
    return this.extract(n, width, signed, false);
  }
  setGpr(n: number, value: Expr, width: IntWidth = 64): void {
    this.insert(n, value, width, false);
  }
  statePlace(): Expr {
    return this.site.cpu;
  }
  flagKind(): Expr {
    if (this.knownKind !== null) return i32(this.knownKind);
    this.site.readFlags();
    return this.site.flags.kind;
  }
  flagA(): Expr {
    this.site.readFlags();
    return this.site.flags.a;
  }
  flagB(): Expr {
    this.site.readFlags();
    return this.site.flags.b;
  }
  /** Without branches, so that the host leaves it out where nobody asks for flags that keep CF. */
  override carry(): Expr {
    const kind = this.flagKind();
    if (kind.kind === 'const') return super.carry();
    const [a, b] = [this.flagA(), this.flagB()];
    const below = op('i64.lt_u', a, b);
    const bits = op('i32.sub', i32(64), op('i32.shl', i32(8), op('i32.and', kind, i32(3))));
    const shift = this.let(op('i64.extend_i32_u', bits));
    const sum = op('i64.shl', op('i64.add', a, b), shift);
    const added = op('i64.lt_u', sum, op('i64.shl', a, shift));
    const kept = op('i32.and', op('i32.wrap_i64', b), i32(1));
    const other = select(op('i32.lt_u', kind, i32(FlagKind.result)), added, kept);
    return this.let(select(op('i32.lt_u', kind, i32(FlagKind.add)), below, other));
  }
  setFlags(kind: number, a: Expr, b: Expr): void {
    const always = this.site.writeFlags();
    const { flags } = this.site;
    this.f.set(flags.kind, i32(kind));
    this.f.set(flags.a, a);
    this.f.set(flags.b, b);
    if (always || this.knownKind !== kind) this.knownKind = always ? kind : null;
  }
  protected eflagsOf(kind: Expr, a: Expr, b: Expr): Expr {
    return eflagsOfAnyKind(this.f, kind, a, b);
  }
  protected conditionOf(kind: Expr, a: Expr, b: Expr, code: number): Expr {
    return callExpr('i', this.site.functions.condition, kind, a, b, i32(code));
  }
  translate(address: Expr, bytes: number, write: boolean): Expr {
    const { site } = this;
    const va = this.let(address);
    const low = this.let(op('i32.wrap_i64', va));
    const known = this.site.pages.get(this.baseOf(address));
    if (known && (known.write || !write)) return this.translateKnown(known, va, low, bytes);
    const { entry } = this.lookUp(va, bytes, write);
    return this.let(op('i32.add', low, load('i32.load', entry, site.tlbBase + TlbField.addend)));
  }
  /** The TLB's entry for an access, and the page it is of; leaves where it has none, or not for all of the bytes. */
  private lookUp(va: Expr, bytes: number, write: boolean): { entry: Expr; page: Expr } {
    const { site } = this;
    const entry = this.let(entryOffset(va, site.tagPlace));
    // An access over two pages finds the first one's entry and asks for the second's tag.
    const last = bytes === 1 ? va : op('i64.add', va, i64(bytes - 1));
    const page = this.let(op('i64.and', last, i64(-4096)));
    const tag = load('i64.load', entry, site.tlbBase + (write ? TlbField.writeTag : TlbField.readTag));
    this.f.ifUnlikely(op('i64.ne', tag, op('i64.or', page, site.tag)), () => site.sideExit());
    return { entry, page };
  }
  translateRun(address: Expr, write: boolean): Expr {
    return this.translate(address, 1, write);
  }
  /** A region looks at the budget in loops only, and may do so much until then. */
  allowance(): Expr {
    return op('i32.sub', this.site.left, i32(MAX_REGION));
  }
  countExtra(n: Expr): void {
    this.f.set(this.site.left, op('i32.sub', this.site.left, n));
  }
  /** Register that an address comes from, but for a displacement; -1 if it is not so simple. */
  private baseOf(address: Expr): number {
    if (address === this.effective) return plainBase(this.placed.insn);
    return /^(PUSH|POP|CALL|RET)$/.test(this.mnemonic) ? STACK_POINTER : -1;
  }
  /** One compare tells that all bytes lie in the page. */
  private translateKnown({ page, addend, write }: KnownPage, va: Expr, low: Expr, bytes: number): Expr {
    const { f, site } = this;
    const { cpu } = site;
    f.ifUnlikely(op('i64.gt_u', op('i64.xor', va, page), i64(4096 - bytes)), () => {
      const found = this.lookUp(va, bytes, write);
      f.set(page, found.page);
      f.set(addend, load('i32.load', found.entry, site.tlbBase + TlbField.addend));
      if (page === site.pages.get(STACK_POINTER)!.page) {
        f.store('i64.store', cpu, page, State.stackPage);
        f.store('i32.store', cpu, addend, State.stackAddend);
      }
    });
    return this.let(op('i32.add', low, addend));
  }
  /** A frame with code has no write tag, so every store that was translated here is plain. */
  stored(): void {
    return undefined;
  }
  raise(): void {
    this.site.sideExit();
  }
  bail(): void {
    this.site.sideExit();
  }
  override once(name: string, check: () => void): void {
    const { checked } = this.site;
    if (checked.has(name)) return;
    check();
    checked.add(name);
  }
  instructionAddress(): Expr {
    const address = op('i64.add', this.site.pcBase, i64(this.placed.offset));
    return this.mode === 64 ? address : this.zeroExtend(address, 32);
  }
  stackRegisters(): Expr {
    const [first, second] = this.placed.insn.operands.map((operand) => (operand.kind === 'st' ? operand.n : 0));
    return i32((first ?? 0) | ((second ?? 0) << 8));
  }
  segment(i: number): Expr {
    return i32(this.operand(i, 's').n);
  }
  protected count(): Expr {
    const done = op('f64.convert_i32_s', op('i32.sub', i32(-this.site.behind), this.site.left));
    return op('f64.add', load('f64.load', this.site.cpu, State.countBase), done);
  }
  routine(name: Routine, ...args: Expr[]): Expr {
    return callRoutine(this.site.functions.routines, name, args);
  }
  /** Number of the XMM register in operand `i`, or -1. */
  private xmm(i: number): number {
    const operand = this.placed.insn.operands[i]!;
    return operand.kind === 'x' ? operand.n : -1;
  }
  override vector(i: number): Expr {
    const n = this.xmm(i);
    return n < 0 ? super.vector(i) : this.site.vectors.readVector(n, this.site.cpu, State.xmm + n * 16);
  }
  override setVector(i: number, value: Expr): void {
    const n = this.xmm(i);
    super.setVector(i, n < 0 ? value : this.site.vectors.writeVector(n, value));
  }
  override lane(i: number, type: LaneType): Expr {
    const n = this.xmm(i);
    return n < 0 ? super.lane(i, type) : this.site.vectors.readLane(n, type, this.site.cpu, State.xmm + n * 16);
  }
  override setLane(i: number, value: Expr): void {
    const n = this.xmm(i);
    super.setLane(i, n < 0 ? value : this.site.vectors.writeLane(n, value.type as LaneType, value));
  }
  returnAddress(): Expr {
    const address = op('i64.add', this.site.pcBase, i64(this.placed.offset + this.placed.insn.length));
    return this.mode === 64 ? address : this.zeroExtend(address, 32);
  }
  branch(): void {
    const operand = this.operand(0, 'j');
    const target = this.placed.offset + this.placed.insn.length + operand.value;
    if (target === this.site.taken) return this.site.branchNear();
    const linear = op('i64.add', this.site.pcBase, i64(target));
    this.branchTo(this.width === 16 ? this.zeroExtend(linear, 16) : linear);
  }
  branchTo(target: Expr): void {
    this.site.branchTo(this.mode === 64 ? target : this.zeroExtend(target, 32));
  }
}
