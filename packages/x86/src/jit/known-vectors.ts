/**
 * What of XMM registers a block of a region has in locals: whole registers, and
 * their lowest lanes as a double or a single. The state has them at all times
 * too; here they are so that what the block has written or read before need not
 * be loaded.
 */
import { type Expr, extractLane, type FunctionBuilder, load, op, replaceLane } from '@paravane/wasm-emit';

type Part = 'v' | 'd' | 'f';
/** Types of the lowest lane. */
export type LaneType = 'd' | 'f' | 'l' | 'i';

const LOADS = { v: 'v128.load', d: 'f64.load', f: 'f32.load', l: 'i64.load', i: 'i32.load' } as const;
const LANES = {
  d: 'f64x2.extract_lane',
  f: 'f32x4.extract_lane',
  l: 'i64x2.extract_lane',
  i: 'i32x4.extract_lane',
} as const;
const REPLACEMENTS = {
  d: 'f64x2.replace_lane',
  f: 'f32x4.replace_lane',
  l: 'i64x2.replace_lane',
  i: 'i32x4.replace_lane',
} as const;

export class KnownVectors {
  private readonly known = new Map<string, Expr>();

  /**
   * @param locals of the region, by part and number
   * @param isStraight whether what is emitted now is done whichever way the instruction goes
   */
  constructor(
    private readonly f: FunctionBuilder,
    private readonly locals: Map<string, Expr>,
    private readonly isStraight: () => boolean,
  ) {}

  private get(n: number, part: Part): Expr | undefined {
    return this.known.get(`${part}${n}`);
  }
  /** A value that register `n` has from now on. */
  private keep(n: number, part: Part, value: Expr): Expr {
    const key = `${part}${n}`;
    const local = this.locals.get(key) ?? this.f.lasting(part);
    this.locals.set(key, local);
    this.f.set(local, value);
    this.known.set(key, local);
    return local;
  }
  private forget(n: number): void {
    for (const part of ['v', 'd', 'f']) this.known.delete(`${part}${n}`);
  }

  readVector(n: number, base: Expr, offset: number): Expr {
    const known = this.get(n, 'v');
    if (known) return known;
    const value = load('v128.load', base, offset);
    return this.isStraight() ? this.keep(n, 'v', value) : this.f.let(value);
  }
  readLane(n: number, type: LaneType, base: Expr, offset: number): Expr {
    const part = type === 'l' ? 'd' : type === 'i' ? 'f' : type;
    const known = this.get(n, part);
    if (known && part === type) return known;
    if (known) return this.f.let(op(type === 'l' ? 'i64.reinterpret_f64' : 'i32.reinterpret_f32', known));
    const whole = this.get(n, 'v');
    const value = whole ? extractLane(LANES[type], 0, whole) : load(LOADS[type], base, offset);
    return part === type && this.isStraight() ? this.keep(n, part, value) : this.f.let(value);
  }
  /** Notes a register's new value, and answers it as it is to be stored. */
  writeVector(n: number, value: Expr): Expr {
    if (this.isStraight()) {
      const local = this.keep(n, 'v', value);
      this.forget(n);
      this.known.set(`v${n}`, local);
      return local;
    }
    this.forget(n);
    return value;
  }
  writeLane(n: number, type: LaneType, value: Expr): Expr {
    const whole = this.get(n, 'v');
    if (!this.isStraight()) {
      this.forget(n);
      return value;
    }
    const isPart = type === 'd' || type === 'f';
    const lane = isPart ? this.keep(n, type, value) : this.f.let(value);
    this.forget(n);
    if (isPart) this.known.set(`${type}${n}`, lane);
    // Where nobody asks for the whole register, the host leaves this out.
    if (whole) this.keep(n, 'v', replaceLane(REPLACEMENTS[type], 0, whole, lane));
    return lane;
  }
}
