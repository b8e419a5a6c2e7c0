/**
 * Definitions as compiled code: operands are known, registers and flags live in
 * locals. Whatever is unusual leaves by a side exit before the instruction has
 * had any effect; the interpreter then does it.
 */
import { TlbField } from '@paravane/mmu';
import { callExpr, type Expr, type FunctionBuilder, i32, i64, load, op } from '@paravane/wasm-emit';
import type { Operand } from '../decode.js';
import { formsOf } from '../handlers.js';
import { Sem } from '../sem.js';
import { State } from '../state.js';
import { entryOffset } from '../tlb-probe.js';
import type { Placed } from './region.js';

/** What the instructions of a region share. */
export interface RegionSite {
  readonly f: FunctionBuilder;
  readonly cpu: Expr;
  readonly tag: Expr;
  readonly pcBase: Expr;
  readonly tlbBase: number;
  readonly functions: { eflags: number; condition: number };
  readonly flags: { kind: Expr; a: Expr; b: Expr };
  /** The local of a general register; noted as used, and as changed if `write`. */
  register(n: number, write: boolean): Expr;
  /** Notes that flags are used or changed. */
  useFlags(write: boolean): void;
  /** Leaves before the instruction, for the interpreter to do it. */
  sideExit(): void;
  /** Leaves behind the instruction for a linear address. */
  leaveTo(target: Expr): void;
  /** The near branch at the end of the block is taken. */
  branchNear(): void;
}

type IntWidth = 8 | 16 | 32 | 64;

export class RegionSem extends Sem {
  private effective: Expr | null = null;

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
    const whole = this.site.register(n, false);
    const value = high ? op('i64.shr_u', whole, i64(8)) : whole;
    return signed ? this.signExtend(value, width) : this.zeroExtend(value, width);
  }
  private insert(n: number, value: Expr, width: IntWidth, high: boolean): void {
    const local = this.site.register(n, true);
    if (width >= 32) return this.f.set(local, this.zeroExtend(value, width));
    const shift = high ? 8 : 0;
    const mask = ((1n << BigInt(width)) - 1n) << BigInt(shift);
    const part = op('i64.and', op('i64.shl', value, i64(shift)), i64(mask));
    this.f.set(local, op('i64.or', op('i64.and', local, i64(~mask)), part));
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
      sum =
        memory.base < 0 ? i64(memory.disp) : op('i64.add', this.site.register(memory.base, false), i64(memory.disp));
      if (memory.index >= 0) {
        sum = op('i64.add', sum, op('i64.shl', this.site.register(memory.index, false), i64(memory.scale)));
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
    this.site.useFlags(false);
    return this.site.flags.kind;
  }
  flagA(): Expr {
    this.site.useFlags(false);
    return this.site.flags.a;
  }
  flagB(): Expr {
    this.site.useFlags(false);
    return this.site.flags.b;
  }
  setFlags(kind: number, a: Expr, b: Expr): void {
    this.site.useFlags(true);
    const { flags } = this.site;
    this.f.set(flags.kind, i32(kind));
    this.f.set(flags.a, a);
    this.f.set(flags.b, b);
    this.knownKind = kind;
  }
  protected eflagsOf(kind: Expr, a: Expr, b: Expr): Expr {
    return callExpr('i', this.site.functions.eflags, kind, a, b);
  }
  protected conditionOf(kind: Expr, a: Expr, b: Expr, code: number): Expr {
    return callExpr('i', this.site.functions.condition, kind, a, b, i32(code));
  }
  translate(address: Expr, bytes: number, write: boolean): Expr {
    const { site } = this;
    const va = this.let(address);
    const low = this.let(op('i32.wrap_i64', va));
    const entry = this.let(entryOffset(va, site.tag));
    const last = bytes === 1 ? va : op('i64.add', va, i64(bytes - 1));
    const tagged = op('i64.or', op('i64.and', last, i64(-4096)), site.tag);
    const field = write ? TlbField.writeTag : TlbField.readTag;
    this.f.if(op('i64.ne', load('i64.load', entry, site.tlbBase + field), tagged), () => site.sideExit());
    return this.let(op('i32.add', low, load('i32.load', entry, site.tlbBase + TlbField.addend)));
  }
  /** A frame with code has no write tag, so every store that was translated here is plain. */
  protected stored(): void {
    return undefined;
  }
  raise(): void {
    this.site.sideExit();
  }
  bail(): void {
    this.site.sideExit();
  }
  returnAddress(): Expr {
    const address = op('i64.add', this.site.pcBase, i64(this.placed.offset + this.placed.insn.length));
    return this.mode === 64 ? address : this.zeroExtend(address, 32);
  }
  branch(): void {
    const operand = this.operand(0, 'j');
    const target = this.placed.offset + this.placed.insn.length + operand.value;
    const near = target >= 0 && target < 4096 && this.width !== 16;
    if (near && this.mnemonic !== 'CALL') return this.site.branchNear();
    const linear = op('i64.add', this.site.pcBase, i64(target));
    this.branchTo(this.width === 16 ? this.zeroExtend(linear, 16) : linear);
  }
  branchTo(target: Expr): void {
    this.f.store('i32.store', this.site.cpu, i32(this.placed.offset), State.origin);
    this.site.leaveTo(this.mode === 64 ? target : this.zeroExtend(target, 32));
  }
}
