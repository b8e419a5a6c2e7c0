import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { type Routine, routineImports, routinesModule } from '../routines.js';
import {
  add,
  BIAS,
  compare,
  divide,
  F80,
  fromDouble,
  fromInteger,
  fromSingle,
  multiply,
  type Rounding,
  roundToInteger,
  squareRoot,
  subtract,
  toDouble,
  toInteger,
  toSingle,
} from '../softfloat80.js';
import { State } from '../state.js';
import { Operand } from './routines.js';

const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(routinesModule(false)), { env: { memory } });
const routines = routineImports(exports) as unknown as Record<string, (...args: (number | bigint)[]) => number>;
const CPU = 0x1000;
const HOST = 0x800;
const view = new DataView(memory.buffer);
const [PE, C1] = [0x20, 0x200];
const PRECISIONS = [64, 53, 24] as const;
const PRECISION_BITS = { 64: 0x300, 53: 0x200, 24: 0 };

interface Control {
  control: number;
  precision: 64 | 53 | 24;
}
const rounding = ({ control, precision }: Control): Rounding => ({
  control,
  precision,
  masks: 0x3f,
  flags: 0,
  up: false,
});
function put(n: number, { sign, exp, sig }: F80): void {
  view.setBigUint64(CPU + State.x87 + 16 * n, sig, true);
  view.setUint16(CPU + State.x87 + 16 * n + 8, (sign << 15) | exp, true);
}
function take(n: number): F80 {
  const head = view.getUint16(CPU + State.x87 + 16 * n + 8, true);
  return new F80(head >> 15, head & 0x7fff, view.getBigUint64(CPU + State.x87 + 16 * n, true));
}
const TOP = 3;
/** A unit with R3, R4, … on its stack, whose status word has C1 and nothing else. */
function begin({ control, precision }: Control, ...stack: F80[]): void {
  view.setUint16(CPU + State.fcw, 0x7f | PRECISION_BITS[precision] | (control << 10), true);
  view.setUint16(CPU + State.fsw, (TOP << 11) | C1, true);
  view.setUint8(CPU + State.ftw, ((1 << stack.length) - 1) << TOP);
  stack.forEach((value, i) => put(TOP + i, value));
}
const status = (): number => view.getUint16(CPU + State.fsw, true);
const stateBytes = (): Buffer => Buffer.from(memory.buffer.slice(CPU, CPU + 0x400));
/** What a routine answers; where it declines, it must have changed nothing. */
function call(name: Routine, ...args: (number | bigint)[]): number {
  const before = stateBytes();
  const answer = routines[name]!(CPU, ...args);
  if (answer === 0 && !before.equals(stateBytes())) throw new Error(`${name} declines and has changed the state`);
  return answer;
}
/** What is in R`n` and the status word after a routine. */
const outcome = (done: number, n: number): unknown => (done ? { value: take(n), status: status() } : 'declined');
/** The status word that the flags of a result make. */
const statusOf = (r: Rounding, top = TOP): number => (top << 11) | r.flags | (r.flags & PE && r.up ? C1 : 0);

const significand = fc.oneof(
  fc.bigInt({ min: 1n << 63n, max: (1n << 64n) - 1n }),
  fc.integer({ min: 0, max: 62 }).map((n) => (1n << 63n) | (1n << BigInt(n))),
  fc.integer({ min: 1, max: 64 }).map((n) => (1n << 64n) - (1n << BigInt(64 - n))),
  fc.integer({ min: 0, max: 40 }).map((n) => (1n << 63n) + BigInt(n)),
  fc.double({ min: 1, max: 2, maxExcluded: true, noNaN: true }).map((x) => BigInt(Math.round(x * 2 ** 52)) << 11n),
);
const exponentOf = fc.oneof(
  fc.integer({ min: BIAS - 70, max: BIAS + 70 }),
  fc.integer({ min: BIAS - 2, max: BIAS + 2 }),
  fc.integer({ min: 2, max: 0x7ffc }),
);
const normal = fc
  .tuple(fc.integer({ min: 0, max: 1 }), exponentOf, significand)
  .map(([sign, exp, sig]) => new F80(sign, exp, sig));
const zero = fc.integer({ min: 0, max: 1 }).map((sign) => new F80(sign, 0, 0n));
const usual = fc.oneof({ weight: 9, arbitrary: normal }, { weight: 1, arbitrary: zero });
/** Denormals, infinities, NaNs, and what is no number at all. */
const odd = fc
  .tuple(
    fc.integer({ min: 0, max: 1 }),
    fc.constantFrom(0, 0x7fff, 1, BIAS),
    fc.bigInt({ min: 1n, max: (1n << 63n) - 1n }),
  )
  .map(([sign, exp, sig]) => new F80(sign, exp, exp === 0x7fff ? sig | (1n << 63n) : sig));
const control = fc.record({ control: fc.integer({ min: 0, max: 3 }), precision: fc.constantFrom(...PRECISIONS) });
const runs = { numRuns: 3000 };

type Binary = (a: F80, b: F80, r: Rounding) => F80;
const OPERATIONS: readonly (readonly [string, Routine, number, Binary])[] = [
  ['a + b', 'add', 0, add],
  ['a − b', 'add', Operand.negateSource, subtract],
  ['b − a', 'add', Operand.negateDestination, (a, b, r) => subtract(b, a, r)],
  ['a × b', 'multiply', 0, multiply],
  ['a ÷ b', 'divide', 0, divide],
  ['b ÷ a', 'divide', Operand.reverse, (a, b, r) => divide(b, a, r)],
];
/** A result that every routine has to give: far from the ends of the range, and no exception but PE. */
const isEasy = (result: F80, r: Rounding): boolean =>
  (r.flags & ~PE) === 0 && (result.exp > 1 || result.sig === 0n) && result.exp < 0x7ffd;

describe('arithmetic is that of the exact definitions', () => {
  it.each(OPERATIONS)('%s', (_, routine, flags, exact) => {
    fc.assert(
      fc.property(usual, usual, control, fc.boolean(), (a, b, c, pop) => {
        const r = rounding(c);
        const expected = exact(a, b, r);
        begin(c, b, a);
        const done = call(routine, flags | 1 | (pop ? Operand.pop : 0), 0n);
        const wanted = { value: expected, status: statusOf(r, pop ? TOP + 1 : TOP) };
        expect(outcome(done, TOP + 1)).toEqual(done || isEasy(expected, r) ? wanted : 'declined');
        expect(view.getUint8(CPU + State.ftw)).toBe(done && pop ? 0x10 : 0x18);
      }),
      runs,
    );
  });

  it('of memory operands too', () => {
    const sources = fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => {
        view.setFloat64(0, x);
        return { kind: Operand.double, bits: view.getBigUint64(0), convert: fromDouble };
      }),
      fc.float({ noNaN: true, noDefaultInfinity: true }).map((x) => {
        view.setFloat32(0, x);
        return { kind: Operand.single, bits: BigInt(view.getUint32(0)), convert: fromSingle };
      }),
      fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }).map((bits) => ({
        kind: Operand.integer,
        bits,
        convert: () => (bits < 0n ? fromInteger(1, -bits) : fromInteger(0, bits)),
      })),
    );
    fc.assert(
      fc.property(usual, sources, control, (a, { kind, bits, convert }, c) => {
        const r = rounding(c);
        const expected = add(a, convert(bits, r), r);
        begin(c, a);
        const added = call('add', kind, bits);
        const sum = { value: expected, status: statusOf(r) };
        expect(outcome(added, TOP)).toEqual(added || isEasy(expected, r) ? sum : 'declined');
        begin(c, a);
        r.flags = 0;
        const pushed = convert(bits, r);
        const done = call('push', kind, bits);
        expect(outcome(done, TOP - 1)).toEqual(r.flags ? 'declined' : { value: pushed, status: (TOP - 1) << 11 });
      }),
      runs,
    );
  });

  it('square root', () => {
    fc.assert(
      fc.property(usual, control, (a, c) => {
        const r = rounding(c);
        const expected = squareRoot(a, r);
        begin(c, a);
        const wanted = { value: expected, status: statusOf(r) };
        expect(outcome(call('squareRoot'), TOP)).toEqual(isEasy(expected, r) ? wanted : 'declined');
      }),
      runs,
    );
  });
  it('square root of squares and their neighbours', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 1n << 31n, max: (1n << 32n) - 1n }),
        fc.integer({ min: -1, max: 1 }),
        control,
        (n, by, c) => {
          const a = fromInteger(0, n * n + BigInt(by));
          const r = rounding(c);
          const expected = squareRoot(a, r);
          begin(c, a);
          expect(call('squareRoot')).toBe(1);
          expect(take(TOP)).toEqual(expected);
          expect(status()).toBe(statusOf(r));
        },
      ),
      runs,
    );
  });

  it('rounding to an integer, in the register and to memory', () => {
    const widths = [16, 32, 64] as const;
    fc.assert(
      fc.property(usual, control, fc.boolean(), (a, c, truncate) => {
        const r = rounding(c);
        const rounded = roundToInteger(a, r);
        begin(c, a);
        const wanted = { value: rounded, status: statusOf(r) };
        expect(outcome(call('roundToInteger'), TOP)).toEqual(a.exp < BIAS + 63 ? wanted : 'declined');
        for (const bits of widths) {
          const each = rounding(c);
          const expected = toInteger(a, bits, truncate ? 3 : c.control, each);
          begin(c, a);
          const done = call(`storeInteger${bits}`, Operand.pop | (truncate ? Operand.truncate : 0), HOST);
          expect(done).toBe(expected === null ? 0 : 1);
          if (expected === null) continue;
          const stored = bits === 16 ? view.getUint16(HOST, true) : bits === 32 ? view.getUint32(HOST, true) : 0;
          expect(bits === 64 ? view.getBigUint64(HOST, true) : BigInt(stored)).toBe(BigInt.asUintN(bits, expected));
          expect(status()).toBe(statusOf(each, TOP + 1));
        }
      }),
      runs,
    );
  });

  it('narrowing to singles and doubles', () => {
    const near = normal.map((a) => new F80(a.sign, BIAS - 1030 + (a.exp % 2100), a.sig));
    fc.assert(
      fc.property(fc.oneof(usual, near), control, (a, c) => {
        for (const [name, narrow, low, high] of [
          ['storeSingle', toSingle, 126, 127],
          ['storeDouble', toDouble, 1022, 1023],
        ] as const) {
          const r = rounding(c);
          const expected = narrow(a, r);
          begin(c, a);
          const done = call(name, Operand.pop, HOST);
          const easy = a.sig === 0n || (a.exp >= BIAS - low && a.exp < BIAS + high);
          expect(done).toBe(easy ? 1 : 0);
          if (!done) continue;
          expect(narrow === toSingle ? BigInt(view.getUint32(HOST, true)) : view.getBigUint64(HOST, true)).toBe(
            expected,
          );
          expect(status()).toBe(statusOf(r, TOP + 1));
        }
      }),
      runs,
    );
  });

  it('comparison', () => {
    const close = fc.tuple(usual, fc.integer({ min: -1, max: 1 }), fc.boolean()).map(([a, by, flip]): [F80, F80] => {
      const moved = a.sig + BigInt(by);
      const sig = moved >> 63n === 1n ? moved : a.sig;
      return [a, new F80(flip ? a.sign ^ 1 : a.sign, a.exp, sig)];
    });
    fc.assert(
      fc.property(fc.oneof(close, fc.tuple(usual, usual)), fc.boolean(), ([a, b], toFlags) => {
        const c = { control: 0, precision: 64 } as const;
        const order = compare(a, b, true, rounding(c));
        begin(c, a, b);
        const answer = call('compare', (1 << 8) | Operand.popTwice | (toFlags ? Operand.toFlags : 0), 0n);
        const flags = order < 0 ? 1 : order === 0 ? 0x40 : 0;
        expect(answer).toBe(flags | 2);
        expect(status()).toBe(((TOP + 2) << 11) | (toFlags ? C1 : flags << 8));
        expect(view.getUint8(CPU + State.ftw)).toBe(0);
      }),
      runs,
    );
  });
});

describe('what is unusual is declined and left alone', () => {
  const c = { control: 0, precision: 64 } as const;
  const answers: number[] = [];
  const tries = (name: Routine, ...args: (number | bigint)[]): void => void answers.push(call(name, ...args));
  afterEach(() => void answers.splice(0));
  it('odd operands', () => {
    fc.assert(
      fc.property(odd, usual, fc.boolean(), (a, b, first) => {
        for (const name of ['add', 'multiply', 'divide', 'compare'] as const) {
          begin(c, ...(first ? [a, b] : [b, a]));
          tries(name, 1 << 8, 0n);
        }
        begin(c, a);
        tries('squareRoot');
        tries('roundToInteger');
        for (const name of ['storeSingle', 'storeDouble', 'storeInteger16', 'storeInteger64'] as const) {
          tries(name, 0, HOST);
        }
      }),
    );
    expect(answers.length).toBeGreaterThan(900);
    expect(answers.filter((answer) => answer !== 0)).toEqual([]);
  });
  it('empty registers and a full stack', () => {
    const one = new F80(0, BIAS, 1n << 63n);
    begin(c, one);
    for (const name of ['add', 'multiply', 'divide', 'compare'] as const) tries(name, 1 << 8, 0n);
    for (const name of ['add', 'multiply', 'divide', 'push'] as const) tries(name, 1 | (1 << 8), 0n);
    tries('exchange', 1);
    tries('conditionalMove', 1 << 8, 1);
    begin(c);
    for (const name of ['squareRoot', 'roundToInteger'] as const) tries(name);
    for (const name of ['storeSingle', 'storeExtended', 'storeInteger32'] as const) tries(name, 0, HOST);
    tries('storeRegister', 1);
    tries('changeSign', 0, 0);
    begin(c, one, one, one, one, one);
    view.setUint8(CPU + State.ftw, 0xff);
    tries('push', 0, 0n);
    tries('push', Operand.double, 0n);
    tries('pushExtended', 0, 0n);
    expect(answers.filter((answer) => answer !== 0)).toEqual([]);
  });
});
