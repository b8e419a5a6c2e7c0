/**
 * Definitions as handlers of the interpreter: operands come from the
 * micro-operation at `ip`.
 */

import { TlbField } from '@paravane/mmu';
import { callExpr, type Expr, type FunctionBuilder, i32, i64, load, op } from '@paravane/wasm-emit';
import type { HandlerShape } from './handlers.js';
import { callRoutine, type Routine, type Routines } from './routines.js';
import { Sem } from './sem.js';
import { MISS_RUN, MISS_WRITE, SCRATCH_TOP, State, Uop } from './state.js';
import { entryOffset } from './tlb-probe.js';

/** What a handler shares with the function it is part of. */
export interface HandlerSite {
  readonly f: FunctionBuilder;
  readonly cpu: Expr;
  readonly ip: Expr;
  /** Address-space tag, i64. */
  readonly tag: Expr;
  /** `placeOfTag` */
  readonly tagPlace: Expr;
  readonly tlbBase: number;
  readonly functions: { miss: number; eflags: number; condition: number; routines: Routines };
  readonly flagKind: Expr;
  readonly flagA: Expr;
  readonly flagB: Expr;
  writeFlags(kind: Expr, a: Expr, b: Expr): void;
  /** Leaves the function: the engine has recorded a fault. */
  fault(): void;
  raise(): void;
  bail(): void;
  /** Goes on at the micro-operation linked in the branch at `ip`. */
  branchLinked(): void;
  branchTo(target: Expr): void;
  /** Instructions left, less the reserve of a block. Only of handlers in the loop. */
  readonly left: Expr;
}

type IntWidth = 8 | 16 | 32 | 64;
const SIGNED = { 8: 'i64.load8_s', 16: 'i64.load16_s', 32: 'i64.load32_s', 64: 'i64.load' } as const;
const UNSIGNED = { 8: 'i64.load8_u', 16: 'i64.load16_u', 32: 'i64.load32_u', 64: 'i64.load' } as const;

export class DynamicSem extends Sem {
  /** Offsets in memory that the handler stored to; one in the scratch area has to be finished. */
  readonly stores: Expr[] = [];
  /** Kind of the lazy flags where it is known: set by this handler, or by the one it is fused behind. */
  knownKind: number | null;
  private effective: Expr | null = null;
  private readonly slotFields: number[] = [];

  constructor(
    private readonly site: HandlerSite,
    shape: HandlerShape,
    knownKind: number | null = null,
  ) {
    super(site.f, shape.mnemonic, shape.forms, shape.width, shape.mode);
    this.knownKind = knownKind;
    let next = 0;
    for (const [i, form] of shape.forms.entries()) {
      if (form.kind === 'r' || form.kind === 'x' || form.kind === 'p' || form.kind === 's')
        this.slotFields[i] = [Uop.slot1, Uop.slot2, Uop.base][next++]!;
    }
  }

  private slot(i: number): Expr {
    return op('i32.add', this.site.cpu, load('i32.load8_u', this.site.ip, this.slotFields[i]!));
  }
  protected readSlot(i: number, width: IntWidth, signed: boolean): Expr {
    return load((signed ? SIGNED : UNSIGNED)[width], this.slot(i), State.gpr);
  }
  protected writeSlot(i: number, width: IntWidth, value: Expr): void {
    this.writeRegister(this.slot(i), State.gpr, width, value);
  }
  private writeRegister(base: Expr, offset: number, width: IntWidth, value: Expr): void {
    if (width === 64) this.f.store('i64.store', base, value, offset);
    else if (width === 32) this.f.store('i64.store', base, op('i64.and', value, i64(0xffffffffn)), offset);
    else this.f.store(width === 16 ? 'i64.store16' : 'i64.store8', base, value, offset);
  }
  protected vectorPlace(i: number): { base: Expr; offset: number } {
    return { base: this.slot(i), offset: this.forms[i]!.kind === 'p' ? State.x87 : State.xmm };
  }
  protected immediate(i: number): Expr {
    return this.forms[i]!.kind === 'I'
      ? load('i64.load', this.site.ip, Uop.disp)
      : load('i64.load32_s', this.site.ip, Uop.imm);
  }
  address(): Expr {
    if (!this.effective) {
      const { cpu, ip } = this.site;
      const at = (field: number): Expr =>
        load('i64.load', op('i32.add', cpu, load('i32.load8_u', ip, field)), State.gpr);
      const scaled = op('i64.shl', at(Uop.index), load('i64.load8_u', ip, Uop.scale));
      this.effective = this.let(op('i64.add', op('i64.add', at(Uop.base), load('i64.load32_s', ip, Uop.disp)), scaled));
    }
    return this.effective;
  }
  gpr(n: number, width: IntWidth = 64, signed = true): Expr {
    return load((signed ? SIGNED : UNSIGNED)[width], this.site.cpu, State.gpr + n * 8);
  }
  setGpr(n: number, value: Expr, width: IntWidth = 64): void {
    this.writeRegister(this.site.cpu, State.gpr + n * 8, width, value);
  }
  statePlace(): Expr {
    return this.site.cpu;
  }
  flagKind(): Expr {
    return this.knownKind === null ? this.site.flagKind : i32(this.knownKind);
  }
  flagA(): Expr {
    return this.site.flagA;
  }
  flagB(): Expr {
    return this.site.flagB;
  }
  setFlags(kind: number, a: Expr, b: Expr): void {
    this.knownKind = kind;
    this.site.writeFlags(i32(kind), a, b);
  }
  protected eflagsOf(kind: Expr, a: Expr, b: Expr): Expr {
    return callExpr('i', this.site.functions.eflags, kind, a, b);
  }
  protected conditionOf(kind: Expr, a: Expr, b: Expr, code: number): Expr {
    return callExpr('i', this.site.functions.condition, kind, a, b, i32(code));
  }
  translate(address: Expr, bytes: number, write: boolean): Expr {
    return this.lookUp(address, bytes, write, bytes, (host) =>
      this.f.if(op('i32.eq', host, i32(-1)), () => this.site.fault()),
    );
  }
  translateRun(address: Expr, write: boolean): Expr {
    return this.lookUp(address, 1, write, MISS_RUN, (host) =>
      this.f.if(op('i32.lt_u', host, i32(SCRATCH_TOP)), () => this.site.bail()),
    );
  }
  /** Asks the TLB, and where it has no answer `miss`, of which `failed` is to look at the answer. */
  private lookUp(address: Expr, bytes: number, write: boolean, how: number, failed: (host: Expr) => void): Expr {
    const { f, site } = this;
    const va = this.let(address);
    const low = this.let(op('i32.wrap_i64', va));
    const entry = this.let(entryOffset(va, site.tagPlace));
    // The tag is that of the last byte: an access over two pages never matches.
    const last = bytes === 1 ? va : op('i64.add', va, i64(bytes - 1));
    const tagged = op('i64.or', op('i64.and', last, i64(-4096)), site.tag);
    const field = write ? TlbField.writeTag : TlbField.readTag;
    const host = f.local('i');
    f.if(
      op('i64.eq', load('i64.load', entry, site.tlbBase + field), tagged),
      () => f.set(host, op('i32.add', low, load('i32.load', entry, site.tlbBase + TlbField.addend))),
      () => {
        const kind = i32(how | (write ? MISS_WRITE : 0));
        f.set(host, callExpr('i', site.functions.miss, site.cpu, va, kind, site.ip, site.tag));
        failed(host);
      },
    );
    return host;
  }
  allowance(): Expr {
    return this.site.left;
  }
  countExtra(n: Expr): void {
    this.f.set(this.site.left, op('i32.sub', this.site.left, n));
  }
  stored(host: Expr): void {
    this.stores.push(host);
  }
  raise(vector: number, errorCode: number): void {
    this.f.store('i32.store', this.site.cpu, i32(vector), State.vector);
    this.f.store('i32.store', this.site.cpu, i32(errorCode), State.errorCode);
    this.site.raise();
  }
  bail(): void {
    this.site.bail();
  }
  returnAddress(): Expr {
    const distance = load('i64.load16_u', this.site.ip, Uop.imm + 2);
    const address = op('i64.add', load('i64.load', this.site.cpu, State.pcBase), distance);
    return this.let(this.mode === 64 ? address : this.zeroExtend(address, 32));
  }
  /** Where there is a memory operand its page offset is in the slots, else in the displacement. */
  instructionAddress(): Expr {
    const { cpu, ip } = this.site;
    const offset = this.hasMemory ? load('i64.load16_u', ip, Uop.slot1) : load('i64.load16_u', ip, Uop.disp);
    return op('i64.add', load('i64.load', cpu, State.pcBase), offset);
  }
  private get hasMemory(): boolean {
    return this.forms.some((form) => form.kind === 'm');
  }
  stackRegisters(): Expr {
    return this.forms.some((form) => form.kind === 't') ? load('i32.load16_u', this.site.ip, Uop.slot1) : i32(0);
  }
  segment(i: number): Expr {
    return op('i32.shr_u', load('i32.load8_u', this.site.ip, this.slotFields[i]!), i32(1));
  }
  protected count(): Expr {
    const number = load('i32.load8_u', this.site.ip, Uop.number);
    const done = op('f64.convert_i32_s', op('i32.sub', number, this.site.left));
    return op('f64.add', load('f64.load', this.site.cpu, State.countBase), done);
  }
  routine(name: Routine, ...args: Expr[]): Expr {
    return callRoutine(this.site.functions.routines, name, args);
  }
  branch(): void {
    if (this.forms[0]!.kind === 'j') return this.site.branchLinked();
    const target = op(
      'i64.add',
      load('i64.load', this.site.cpu, State.pcBase),
      load('i64.load32_s', this.site.ip, Uop.disp),
    );
    this.branchTo(this.width === 16 ? this.zeroExtend(target, 16) : target);
  }
  branchTo(target: Expr): void {
    this.site.branchTo(this.let(this.mode === 64 ? target : this.zeroExtend(target, 32)));
  }
  /** True where a store went to the scratch area. */
  inScratch(): Expr {
    return this.stores.map((host) => op('i32.lt_u', host, i32(SCRATCH_TOP))).reduce((a, b) => op('i32.or', a, b));
  }
}
