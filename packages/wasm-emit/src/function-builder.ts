/** Builds one function body as statements over expressions; labels are objects, depths are found at encoding. */
import type { Expr, ValueType } from './expr.js';
import { STORES, type Store } from './operators.js';
import { leb, Writer } from './writer.js';

export interface Label {
  readonly name: string;
}

/** Statements that were built and not yet placed. */
export interface Statements {
  readonly kind: 'statements';
  readonly body: readonly Statement[];
}

type Statement =
  | { kind: 'op'; args: readonly Expr[]; bytes: readonly number[] }
  | { kind: 'block' | 'loop'; label: Label; body: Statement[] }
  | { kind: 'hole'; body: Statement[] }
  | { kind: 'if'; label: Label; condition: Expr; then: Statement[]; otherwise: Statement[]; unlikely: boolean }
  | { kind: 'br'; label: Label; condition: Expr | null; unlikely: boolean }
  | { kind: 'table'; index: Expr; labels: Label[]; fallback: Label };

const TYPE_BYTES: Record<ValueType, number> = { i: 0x7f, l: 0x7e, f: 0x7d, d: 0x7c, v: 0x7b };
export const typeByte = (type: ValueType): number => TYPE_BYTES[type];

export class FunctionBuilder {
  private readonly locals: ValueType[] = [];
  private free: Record<ValueType, number[]> = { i: [], l: [], f: [], d: [], v: [] };
  private taken: { type: ValueType; local: number }[] | null = null;
  private body: Statement[] = [];
  private level = 0;

  constructor(
    readonly params: readonly ValueType[],
    readonly results: readonly ValueType[],
  ) {}

  /** Locals so far, parameters included. */
  get localCount(): number {
    return this.params.length + this.locals.length;
  }
  /** Blocks, loops and arms that the next statement will be within. */
  get depth(): number {
    return this.level;
  }
  param(index: number): Expr {
    return { kind: 'get', type: this.params[index]!, local: index };
  }
  /** A new local; inside `scope` it is given back at the end of the scope. */
  local(type: ValueType): Expr & { kind: 'get' } {
    let local = this.free[type].pop();
    if (local === undefined) {
      local = this.params.length + this.locals.length;
      this.locals.push(type);
    }
    this.taken?.push({ type, local });
    return { kind: 'get', type, local };
  }
  /** A new local that no scope gives back. */
  lasting(type: ValueType): Expr & { kind: 'get' } {
    const local = this.params.length + this.locals.length;
    this.locals.push(type);
    return { kind: 'get', type, local };
  }
  /** Runs `build`; locals that it takes can be used again by later scopes. */
  scope(build: () => void): void {
    const outer = this.taken;
    this.taken = [];
    build();
    for (const { type, local } of this.taken) this.free[type].push(local);
    this.taken = outer;
  }
  /** Evaluates now; the value may then be used any number of times. */
  let(value: Expr): Expr {
    if (value.kind === 'const') return value;
    const local = this.local(value.type);
    this.set(local, value);
    return local;
  }
  set(local: Expr, value: Expr): void {
    if (local.kind !== 'get' || local.type !== value.type) throw new TypeError('set of a local with another type');
    this.body.push({ kind: 'op', args: [value], bytes: [0x21, ...leb(local.local)] });
  }
  store(name: Store, address: Expr, value: Expr, offset = 0): void {
    this.body.push({ kind: 'op', args: [address, value], bytes: [...STORES[name], 0, ...leb(offset)] });
  }
  /** Calls a function without a result. */
  call(index: number, ...args: Expr[]): void {
    this.body.push({ kind: 'op', args, bytes: [0x10, ...leb(index)] });
  }
  /** `memory.copy` of bytes within the memory. */
  memoryCopy(to: Expr, from: Expr, length: Expr): void {
    this.body.push({ kind: 'op', args: [to, from, length], bytes: [0xfc, 10, 0, 0] });
  }
  memoryFill(to: Expr, value: Expr, length: Expr): void {
    this.body.push({ kind: 'op', args: [to, value, length], bytes: [0xfc, 11, 0] });
  }
  private within(build: () => void): Statement[] {
    const outer = this.body;
    this.body = [];
    this.level++;
    build();
    this.level--;
    const inner = this.body;
    this.body = outer;
    return inner;
  }
  /** Builds statements without placing them; `splice` puts them where they belong. */
  detached(build: () => void): Statements {
    return { kind: 'statements', body: this.within(build) };
  }
  splice(code: Statements): void {
    this.body.push(...code.body);
  }
  /** A place in the code for statements that are not known yet; the answer builds them there. */
  hole(): (build: () => void) => void {
    const body: Statement[] = [];
    this.body.push({ kind: 'hole', body });
    return (build) => void body.push(...this.within(build));
  }
  block(build: (end: Label) => void, name = ''): void {
    const label = { name };
    this.body.push({ kind: 'block', label, body: this.within(() => build(label)) });
  }
  loop(build: (top: Label) => void, name = ''): void {
    const label = { name };
    this.body.push({ kind: 'loop', label, body: this.within(() => build(label)) });
  }
  /** Where the condition is a constant, the arm that is taken is built in place, and the other not at all. */
  if(condition: Expr, then: () => void, otherwise: () => void = () => undefined): void {
    if (condition.kind === 'const') return condition.value === 0 ? otherwise() : then();
    this.pushIf(condition, then, otherwise, false);
  }
  /** The same with a hint for the host that the condition is seldom true. */
  ifUnlikely(condition: Expr, then: () => void, otherwise: () => void = () => undefined): void {
    this.pushIf(condition, then, otherwise, true);
  }
  private pushIf(condition: Expr, then: () => void, otherwise: () => void, unlikely: boolean): void {
    this.body.push({
      kind: 'if',
      label: { name: 'if' },
      condition,
      then: this.within(then),
      otherwise: this.within(otherwise),
      unlikely,
    });
  }
  br(label: Label): void {
    this.body.push({ kind: 'br', label, condition: null, unlikely: false });
  }
  brIf(condition: Expr, label: Label): void {
    this.body.push({ kind: 'br', label, condition, unlikely: false });
  }
  brIfUnlikely(condition: Expr, label: Label): void {
    this.body.push({ kind: 'br', label, condition, unlikely: true });
  }
  brTable(index: Expr, labels: Label[], fallback: Label): void {
    this.body.push({ kind: 'table', index, labels, fallback });
  }
  return(...values: Expr[]): void {
    this.body.push({ kind: 'op', args: values, bytes: [0x0f] });
  }
  /** Leaves by a tail call of a function with the same results. */
  returnCall(index: number, ...args: Expr[]): void {
    this.body.push({ kind: 'op', args, bytes: [0x12, ...leb(index)] });
  }
  /** Leaves by a tail call through table 0, of a function with the same results. */
  returnCallIndirect(typeIndex: number, slot: Expr, ...args: Expr[]): void {
    this.body.push({ kind: 'op', args: [...args, slot], bytes: [0x13, ...leb(typeIndex), 0] });
  }
  unreachable(): void {
    this.body.push({ kind: 'op', args: [], bytes: [0x00] });
  }

  /** The function's body; `hints` takes the offsets in it of the branches that are seldom taken. */
  encode(hints: number[] = []): Writer {
    const out = new Writer();
    const groups: [ValueType, number][] = [];
    for (const type of this.locals) {
      const last = groups.at(-1);
      if (last?.[0] === type) last[1]++;
      else groups.push([type, 1]);
    }
    out.u32(groups.length);
    for (const [type, count] of groups) {
      out.u32(count);
      out.byte(typeByte(type));
    }
    encodeStatements(out, this.body, [], hints);
    out.byte(0x0b);
    return out;
  }
}

function encodeExpr(out: Writer, expr: Expr): void {
  if (expr.kind === 'op') {
    for (const arg of expr.args) encodeExpr(out, arg);
    out.raw(expr.bytes);
  } else if (expr.kind === 'get') {
    out.byte(0x20);
    out.u32(expr.local);
  } else if (expr.type === 'i') {
    out.byte(0x41);
    out.s32(expr.value as number);
  } else if (expr.type === 'l') {
    out.byte(0x42);
    out.s64(expr.value as bigint);
  } else if (expr.type === 'd') {
    out.byte(0x44);
    out.f64(expr.value as number);
  } else {
    out.byte(0x43);
    out.f32(expr.value as number);
  }
}

function encodeStatements(out: Writer, statements: readonly Statement[], scopes: Label[], hints: number[]): void {
  const depth = (label: Label): number => {
    const at = scopes.lastIndexOf(label);
    if (at < 0) throw new TypeError(`label ${label.name} is not in scope`);
    return scopes.length - 1 - at;
  };
  for (const statement of statements) {
    switch (statement.kind) {
      case 'op':
        for (const arg of statement.args) encodeExpr(out, arg);
        out.raw(statement.bytes);
        break;
      case 'block':
      case 'loop':
        out.raw([statement.kind === 'block' ? 0x02 : 0x03, 0x40]);
        scopes.push(statement.label);
        encodeStatements(out, statement.body, scopes, hints);
        scopes.pop();
        out.byte(0x0b);
        break;
      case 'hole':
        encodeStatements(out, statement.body, scopes, hints);
        break;
      case 'if':
        encodeExpr(out, statement.condition);
        if (statement.unlikely) hints.push(out.length);
        out.raw([0x04, 0x40]);
        scopes.push(statement.label);
        encodeStatements(out, statement.then, scopes, hints);
        if (statement.otherwise.length > 0) {
          out.byte(0x05);
          encodeStatements(out, statement.otherwise, scopes, hints);
        }
        scopes.pop();
        out.byte(0x0b);
        break;
      case 'br':
        if (statement.condition) encodeExpr(out, statement.condition);
        if (statement.unlikely) hints.push(out.length);
        out.byte(statement.condition ? 0x0d : 0x0c);
        out.u32(depth(statement.label));
        break;
      case 'table':
        encodeExpr(out, statement.index);
        out.byte(0x0e);
        out.u32(statement.labels.length);
        for (const label of statement.labels) out.u32(depth(label));
        out.u32(depth(statement.fallback));
        break;
    }
  }
}

/** The value of a call with one result. */
export const callExpr = (type: ValueType, index: number, ...args: Expr[]): Expr => ({
  kind: 'op',
  type,
  args,
  bytes: [0x10, ...leb(index)],
});
/** The value of a call through table 0. `typeIndex` comes from `ModuleBuilder.type`. */
export const callIndirect = (type: ValueType, typeIndex: number, slot: Expr, ...args: Expr[]): Expr => ({
  kind: 'op',
  type,
  args: [...args, slot],
  bytes: [0x11, ...leb(typeIndex), 0],
});
