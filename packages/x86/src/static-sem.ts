/**
 * Definitions as compiled code, at its smallest: one function for a straight-line
 * block. Registers are WebAssembly locals, immediates and addresses constants,
 * flags locals whose kind is mostly known, so that the conditions that ask for it
 * fold away. Tests judge definitions by it, apart from the regions of `jit/`.
 *
 * Everything unusual is one mechanism: a precise side exit. Whatever inline code
 * can't do (a TLB miss, an access over two pages, a store to code, an exception, a
 * case that a definition leaves to TypeScript) leaves before the instruction has
 * changed anything, and the interpreter goes on from there. Whether code can be
 * fetched where a branch goes is a question to those who go on there.
 */
import { TlbField } from '@paravane/mmu';
import { callExpr, type Expr, FunctionBuilder, i32, i64, load, ModuleBuilder, op } from '@paravane/wasm-emit';
import type { Instruction } from './decode.js';
import { formsOf } from './handlers.js';
import { Sem } from './sem.js';
import { DEFINITIONS } from './semantics/definitions.js';
import { State } from './state.js';
import { entryOffset } from './tlb-probe.js';

type IntWidth = 8 | 16 | 32 | 64;

/** What the instructions of a block share. */
class Block {
  readonly f = new FunctionBuilder(['i', 'l'], ['i']);
  readonly cpu = this.f.param(0);
  readonly tag = this.f.param(1);
  readonly registers = Array.from({ length: 16 }, () => this.f.local('l'));
  readonly kind = this.f.local('i');
  readonly a = this.f.local('l');
  readonly b = this.f.local('l');
  /** Kind of the flags where it is known at this point. */
  knownKind: number | null = null;
  private readonly dirty = new Set<number>();
  private flagsDirty = false;

  constructor(
    readonly tlbBase: number,
    readonly eflags: number,
  ) {
    this.registers.forEach((local, n) => this.f.set(local, load('i64.load', this.cpu, State.gpr + n * 8)));
    this.f.set(this.kind, load('i32.load', this.cpu, State.flagKind));
    this.f.set(this.a, load('i64.load', this.cpu, State.flagA));
    this.f.set(this.b, load('i64.load', this.cpu, State.flagB));
  }
  setRegister(n: number, value: Expr): void {
    this.dirty.add(n);
    this.f.set(this.registers[n]!, value);
  }
  setFlags(kind: number, a: Expr, b: Expr): void {
    this.flagsDirty = true;
    this.knownKind = kind;
    this.f.set(this.kind, i32(kind));
    this.f.set(this.a, a);
    this.f.set(this.b, b);
  }
  /** Leaves with `done` instructions done, to go on at `rip`. */
  leave(done: number, rip: Expr): void {
    for (const n of this.dirty) this.f.store('i64.store', this.cpu, this.registers[n]!, State.gpr + n * 8);
    if (this.flagsDirty) {
      this.f.store('i32.store', this.cpu, this.kind, State.flagKind);
      this.f.store('i64.store', this.cpu, this.a, State.flagA);
      this.f.store('i64.store', this.cpu, this.b, State.flagB);
    }
    this.f.store('i64.store', this.cpu, rip, State.rip);
    this.f.return(i32(done));
  }
}

export class StaticSem extends Sem {
  private effective: Expr | null = null;

  constructor(
    private readonly block: Block,
    private readonly insn: Instruction,
    private readonly rip: bigint,
    /** Instructions of the block before this one. */
    private readonly number: number,
  ) {
    super(block.f, insn.mnemonic, formsOf(insn, false), insn.width, insn.mode);
  }

  override if(condition: Expr, then: () => void, otherwise: () => void = () => undefined): void {
    if (condition.kind === 'const') return condition.value !== 0 ? then() : otherwise();
    const { block } = this;
    const before = block.knownKind;
    let afterThen: number | null = null;
    super.if(
      condition,
      () => {
        then();
        afterThen = block.knownKind;
        block.knownKind = before;
      },
      otherwise,
    );
    if (block.knownKind !== afterThen) block.knownKind = null;
  }
  override choose(condition: Expr, yes: () => Expr, no: () => Expr): Expr {
    if (condition.kind === 'const') return this.let(condition.value !== 0 ? yes() : no());
    return super.choose(condition, yes, no);
  }

  protected readSlot(i: number, width: IntWidth, signed: boolean): Expr {
    const operand = this.insn.operands[i]!;
    if (operand.kind !== 'r') throw new TypeError(`${this.mnemonic}: operand ${i} is no register`);
    const value = this.block.registers[operand.n]!;
    const low = operand.high ? op('i64.shr_u', value, i64(8)) : value;
    return signed ? this.signExtend(low, width) : this.zeroExtend(low, width);
  }
  protected writeSlot(i: number, width: IntWidth, value: Expr): void {
    const operand = this.insn.operands[i]!;
    if (operand.kind !== 'r') throw new TypeError(`${this.mnemonic}: operand ${i} is no register`);
    this.writeRegister(operand.n, width, value, operand.high ? 8n : 0n);
  }
  private writeRegister(n: number, width: IntWidth, value: Expr, shift = 0n): void {
    if (width >= 32) return this.block.setRegister(n, this.zeroExtend(value, width));
    const mask = (1n << BigInt(width)) - 1n;
    const kept = op('i64.and', this.block.registers[n]!, i64(~(mask << shift)));
    this.block.setRegister(n, op('i64.or', kept, op('i64.shl', op('i64.and', value, i64(mask)), i64(shift))));
  }
  protected vectorPlace(i: number): { base: Expr; offset: number } {
    const operand = this.insn.operands[i]!;
    if (operand.kind !== 'x' && operand.kind !== 'p')
      throw new TypeError(`${this.mnemonic}: operand ${i} is no vector`);
    return { base: this.block.cpu, offset: (operand.kind === 'p' ? State.x87 : State.xmm) + operand.n * 16 };
  }
  protected immediate(i: number): Expr {
    const operand = this.insn.operands[i]!;
    if (operand.kind !== 'i') throw new TypeError(`${this.mnemonic}: operand ${i} is no immediate`);
    return i64(operand.wide ?? operand.value);
  }
  address(): Expr {
    this.effective ??= this.let(this.effectiveAddress());
    return this.effective;
  }
  private effectiveAddress(): Expr {
    const { insn, block } = this;
    const m = insn.memory!;
    if (m.base === -2) return i64(this.next() + BigInt(m.disp));
    let sum = i64(m.wide ?? m.disp);
    if (m.base >= 0) sum = op('i64.add', block.registers[m.base]!, sum);
    if (m.index >= 0) sum = op('i64.add', sum, op('i64.shl', block.registers[m.index]!, i64(m.scale)));
    const cut = this.zeroExtend(sum, insn.addressWidth);
    if (insn.segment < 4 || insn.mnemonic === 'LEA') return cut;
    return op('i64.add', cut, load('i64.load', block.cpu, insn.segment === 4 ? State.fsBase : State.gsBase));
  }
  gpr(n: number, width: IntWidth = 64, signed = true): Expr {
    const value = this.block.registers[n]!;
    return signed ? this.signExtend(value, width) : this.zeroExtend(value, width);
  }
  setGpr(n: number, value: Expr, width: IntWidth = 64): void {
    this.writeRegister(n, width, value);
  }
  statePlace(): Expr {
    return this.block.cpu;
  }
  flagKind(): Expr {
    return this.block.knownKind === null ? this.block.kind : i32(this.block.knownKind);
  }
  flagA(): Expr {
    return this.block.a;
  }
  flagB(): Expr {
    return this.block.b;
  }
  setFlags(kind: number, a: Expr, b: Expr): void {
    this.block.setFlags(kind, a, b);
  }
  protected eflagsOf(kind: Expr, a: Expr, b: Expr): Expr {
    return callExpr('i', this.block.eflags, kind, a, b);
  }
  protected conditionOf(kind: Expr, a: Expr, b: Expr, code: number): Expr {
    const flags = this.let(this.eflagsOf(kind, a, b));
    const bit = (position: number): Expr => op('i32.and', op('i32.shr_u', flags, i32(position)), i32(1));
    const less = (): Expr => op('i32.xor', bit(7), bit(11));
    const values = [
      () => bit(11),
      () => bit(0),
      () => bit(6),
      () => op('i32.or', bit(0), bit(6)),
      () => bit(7),
      () => bit(2),
      less,
      () => op('i32.or', less(), bit(6)),
    ];
    return op('i32.xor', values[code >> 1]!(), i32(code & 1));
  }
  translate(address: Expr, bytes: number, write: boolean): Expr {
    const va = this.let(address);
    const low = this.let(op('i32.wrap_i64', va));
    const entry = this.let(entryOffset(va, this.block.tag));
    const last = bytes === 1 ? va : op('i64.add', va, i64(bytes - 1));
    const tagged = op('i64.or', op('i64.and', last, i64(-4096)), this.block.tag);
    const field = this.block.tlbBase + (write ? TlbField.writeTag : TlbField.readTag);
    this.if(op('i64.ne', load('i64.load', entry, field), tagged), () => this.bail());
    return this.let(op('i32.add', low, load('i32.load', entry, this.block.tlbBase + TlbField.addend)));
  }
  protected stored(): void {
    // A page of code has no write tag, so there is nothing to finish.
  }
  raise(): void {
    this.bail();
  }
  bail(): void {
    this.block.leave(this.number, i64(this.rip));
  }
  private next(): bigint {
    return BigInt.asUintN(this.mode, this.rip + BigInt(this.insn.length));
  }
  returnAddress(): Expr {
    return i64(this.next());
  }
  branch(): void {
    const operand = this.insn.operands[0]!;
    if (operand.kind !== 'j') throw new TypeError(`${this.mnemonic}: operand 0 is no branch target`);
    this.branchTo(i64(BigInt.asUintN(this.mode, this.next() + BigInt(operand.value))));
  }
  branchTo(target: Expr): void {
    this.block.leave(this.number + 1, this.zeroExtend(target, this.mode));
  }
}

/**
 * A module with the instructions from `rip` on as one function, `block(cpu, tag)`:
 * the address of a vCPU's state and its TLB tag to the number of instructions
 * done; `State.rip` says where to go on. It imports the memory and the
 * interpreter's `eflags`.
 */
export function compileBlock(
  instructions: readonly Instruction[],
  rip: bigint,
  tlbBase: number,
  memory: { pages: number; shared: boolean },
): Uint8Array {
  const module = new ModuleBuilder({ initial: memory.pages, maximum: memory.pages, shared: memory.shared });
  const block = new Block(tlbBase, module.import('eflags', ['i', 'l', 'l'], ['i']));
  let at = rip;
  instructions.forEach((insn, number) => {
    const s = new StaticSem(block, insn, at, number);
    block.f.scope(() => DEFINITIONS.get(insn.mnemonic)!(s));
    at += BigInt(insn.length);
  });
  block.leave(instructions.length, i64(at));
  block.f.unreachable();
  module.add(block.f, 'block');
  return module.encode();
}
