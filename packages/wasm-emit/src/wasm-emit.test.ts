import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import {
  callExpr,
  callIndirect,
  type Expr,
  extractLane,
  FunctionBuilder,
  f32,
  f64,
  globalGet,
  i32,
  i64,
  LANES,
  type Lane,
  LOADS,
  type Load,
  leb,
  load,
  ModuleBuilder,
  OPERATORS,
  type Operator,
  op,
  replaceLane,
  STORES,
  type Store,
  select,
  shuffle,
  type ValueType,
  v128,
  Writer,
} from './index.js';

type Fn = (...args: (number | bigint)[]) => number | bigint;

/** Loads a module of functions, which `build` exports by name. */
function link(build: (module: ModuleBuilder) => void, imports: Record<string, Fn> = {}) {
  const module = new ModuleBuilder({ initial: 1, maximum: 1, shared: false });
  build(module);
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.encode()), { env: { memory, ...imports } });
  return { memory, exports: instance.exports as Record<string, Fn> };
}
function one(params: ValueType[], results: ValueType[], build: (f: FunctionBuilder) => void): Fn {
  const f = new FunctionBuilder(params, results);
  build(f);
  return link((module) => module.add(f, 'f')).exports.f!;
}
const types = (letters: string): ValueType[] => Array.from(letters, (letter) => letter as ValueType);
const valid = (f: FunctionBuilder): boolean => {
  const module = new ModuleBuilder({ initial: 1, maximum: 1, shared: true });
  module.add(f);
  return WebAssembly.validate(module.encode());
};

describe('the README', () => {
  it('runs', async () => {
    const example = readFileSync(new URL('./testing/readme-example.ts', import.meta.url), 'utf8');
    expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(`\`\`\`ts\n${example}\`\`\``);
    const said = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    await import('./testing/readme-example.js');
    expect(said.mock.calls).toEqual([[5050]]);
    said.mockRestore();
  });
});

describe('globals', () => {
  it('are exported, and read as they were set from outside', () => {
    const module = new ModuleBuilder({ initial: 0, maximum: 1, shared: false });
    const [first, second] = [module.global('a'), module.global('b')];
    const f = new FunctionBuilder([], ['i']);
    f.return(op('i32.sub', globalGet('i', first), globalGet('i', second)));
    module.add(f, 'f');
    const memory = new WebAssembly.Memory({ initial: 0, maximum: 1 });
    const { a, b, ...rest } = new WebAssembly.Instance(new WebAssembly.Module(module.encode() as never), {
      env: { memory },
    }).exports;
    const difference = rest.f as () => number;
    expect(difference()).toBe(0);
    (a as WebAssembly.Global).value = 7;
    (b as WebAssembly.Global).value = -5;
    expect(difference()).toBe(12);
  });
});

describe('expressions', () => {
  it.each(Object.entries(OPERATORS))(
    '%s is what WebAssembly takes for its operand types',
    (name, [, params, result]) => {
      const f = new FunctionBuilder(types(params), types(result));
      f.return(op(name as Operator, ...types(params).map((_, i) => f.param(i))));
      expect(valid(f)).toBe(true);
    },
  );
  it.each(Object.keys(LOADS) as Load[])('%s loads', (name) => {
    const f = new FunctionBuilder(['i'], [LOADS[name][1]]);
    f.return(load(name, f.param(0), 0x1234));
    expect(valid(f)).toBe(true);
  });
  it.each(Object.keys(STORES) as Store[])('%s stores', (name) => {
    const type = name[0] === 'v' ? 'v' : ({ i32: 'i', i64: 'l', f32: 'f', f64: 'd' } as const)[name.slice(0, 3)]!;
    const f = new FunctionBuilder(['i', type], []);
    f.store(name, f.param(0), f.param(1), 0x1234);
    expect(valid(f)).toBe(true);
  });
  it.each(Object.keys(LANES) as Lane[])('%s reaches a lane', (name) => {
    const type = LANES[name][1];
    const extract = name.includes('extract');
    const f = new FunctionBuilder(['v', type], [extract ? type : 'v']);
    f.return(extract ? extractLane(name, 1, f.param(0)) : replaceLane(name, 1, f.param(0), f.param(1)));
    expect(valid(f)).toBe(true);
  });
  it('refuse operands of other types, and name the operator', () => {
    expect(() => op('i32.add', i32(1), i64(1))).toThrow('i32.add takes (ii), given (il)');
    expect(() => op('i64.eqz')).toThrow(TypeError);
    const f = new FunctionBuilder([], []);
    expect(() => f.set(f.local('i'), i64(1))).toThrow(TypeError);
  });

  const integers = (Object.keys(OPERATORS) as Operator[]).filter(
    (name) => /^i(32|64)\./.test(name) && /^[il]{1,2}$/.test(OPERATORS[name][1]) && !/div|rem/.test(name),
  );
  const interesting = [0n, 1n, -1n, 31n, 32n, 63n, 64n, 0x7fffffffn, 0x80000000n, 1n << 63n];
  const value = fc.oneof(fc.constantFrom(...interesting), fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }));
  it('fold to what WebAssembly computes', () => {
    const constant = (type: ValueType, x: bigint): Expr => (type === 'i' ? i32(Number(BigInt.asIntN(32, x))) : i64(x));
    fc.assert(
      fc.property(fc.constantFrom(...integers), value, value, (name, x, y) => {
        const [, params, result] = OPERATORS[name];
        const run = (given: (type: ValueType, i: number, f: FunctionBuilder) => Expr): number | bigint =>
          one([], types(result), (f) => f.return(op(name, ...types(params).map((type, i) => given(type, i, f)))))();
        const constants = run((type, i) => constant(type, [x, y][i]!));
        const locals = run((type, i, f) => {
          const local = f.local(type);
          f.set(local, constant(type, [x, y][i]!));
          return local;
        });
        const half = run((type, i, f) => {
          if (i === 1) return constant(type, y);
          const local = f.local(type);
          f.set(local, constant(type, x));
          return local;
        });
        expect(constants).toBe(locals);
        expect(half).toBe(locals);
      }),
      { numRuns: 2000 },
    );
  });
  it('of constants are constants', () => {
    expect(op('i32.add', i32(0x7fffffff), i32(1))).toEqual(i32(-0x80000000));
    expect(op('i64.shr_u', i64(-1), i64(60))).toEqual(i64(15));
    const x = new FunctionBuilder(['l'], []).param(0);
    expect(op('i64.or', x, i64(0))).toBe(x);
    expect(op('i64.and', x, i64(0))).not.toBe(x);
  });
  it('carry constants of every type', () => {
    expect(one([], ['d'], (f) => f.return(f64(Math.PI)))()).toBe(Math.PI);
    expect(one([], ['f'], (f) => f.return(f32(-0.5)))()).toBe(-0.5);
    expect(one([], ['l'], (f) => f.return(i64(-(1n << 63n))))()).toBe(-(1n << 63n));
    expect(one([], ['i'], (f) => f.return(i32(0x80000000)))()).toBe(-0x80000000);
    const bytes = Array.from({ length: 16 }, (_, i) => i + 1);
    const lane = one([], ['i'], (f) => {
      const reversed = shuffle(
        v128(bytes),
        v128(bytes),
        bytes.map((b) => 16 - b),
      );
      f.return(extractLane('i8x16.extract_lane_u', 15, reversed));
    });
    expect(lane()).toBe(1);
  });
  it('select by a condition, vectors too', () => {
    const pick = one(['i'], ['l'], (f) => f.return(select(f.param(0), i64(1), i64(2))));
    expect([pick(7), pick(0)]).toEqual([1n, 2n]);
    const vector = one(['i'], ['i'], (f) => {
      const chosen = select(f.param(0), op('i32x4.splat', i32(8)), op('i32x4.splat', i32(9)));
      f.return(extractLane('i32x4.extract_lane', 2, chosen));
    });
    expect([vector(1), vector(0)]).toEqual([8, 9]);
  });
});

describe('functions', () => {
  it('evaluate a `let` once and now', () => {
    let calls = 0;
    const f = new FunctionBuilder([], ['i']);
    const { exports } = link(
      (module) => {
        const next = module.import('next', [], ['i']);
        const now = f.let(callExpr('i', next));
        f.set(f.local('i'), callExpr('i', next));
        f.return(op('i32.add', op('i32.mul', now, i32(10)), now));
        module.add(f, 'f');
      },
      { next: () => ++calls },
    );
    expect(exports.f!()).toBe(11);
    expect(calls).toBe(2);
  });
  it('give the locals of a scope to the next one', () => {
    const f = new FunctionBuilder([], []);
    const seen: number[] = [];
    const take = (type: ValueType): void => void seen.push(f.local(type).local);
    f.scope(() => [take('i'), take('l')]);
    f.scope(() => [take('l'), take('i')]);
    take('i');
    expect(seen).toEqual([0, 1, 1, 0, 0]);
  });
  it('branch out of nested blocks, and through a table', () => {
    const choose = one(['i'], ['i'], (f) => {
      f.block((outer) => {
        f.block((middle) => {
          f.block((inner) => f.brTable(f.param(0), [inner, middle], outer));
          f.return(i32(100));
        });
        f.return(i32(200));
      });
      f.return(i32(300));
    });
    expect([choose(0), choose(1), choose(2), choose(99)]).toEqual([100, 200, 300, 300]);
  });
  it('take either arm of an if', () => {
    const sign = one(['i'], ['i'], (f) => {
      f.if(
        op('i32.lt_s', f.param(0), i32(0)),
        () => f.return(i32(-1)),
        () => f.return(i32(1)),
      );
      f.unreachable();
    });
    expect([sign(-5), sign(5)]).toEqual([-1, 1]);
  });
  it('place detached statements where they are spliced in, and labels with them', () => {
    const f = one([], ['i'], (b) => {
      const n = b.local('i');
      const times10 = b.detached(() => b.set(n, op('i32.mul', n, i32(10))));
      b.set(n, i32(4));
      b.splice(times10);
      b.set(n, op('i32.add', n, i32(2)));
      b.block((end) => {
        const leave = b.detached(() => b.br(end));
        b.splice(times10);
        b.splice(leave);
        b.unreachable();
      });
      b.return(n);
    });
    expect(f()).toBe(420);
  });
  it('refuse a branch to a label that they have left', () => {
    const f = new FunctionBuilder([], []);
    let left: { name: string } | undefined;
    f.block((label) => {
      left = label;
    }, 'done');
    f.br(left!);
    expect(() => f.encode()).toThrow('label done is not in scope');
  });
  it('copy and fill memory', () => {
    const f = new FunctionBuilder([], []);
    f.memoryFill(i32(16), i32(0xab), i32(4));
    f.memoryCopy(i32(18), i32(16), i32(4));
    const { exports, memory } = link((module) => module.add(f, 'f'));
    exports.f!();
    expect([...new Uint8Array(memory.buffer, 15, 8)]).toEqual([0, 0xab, 0xab, 0xab, 0xab, 0xab, 0xab, 0]);
  });
});

describe('modules', () => {
  it('call through their table', () => {
    const { exports } = link((module) => {
      const slots = [3, 5].map((factor) => {
        const f = new FunctionBuilder(['i'], ['i']);
        f.return(op('i32.mul', f.param(0), i32(factor)));
        return module.tableSlot(module.add(f));
      });
      expect(slots).toEqual([0, 1]);
      const f = new FunctionBuilder(['i', 'i'], ['i']);
      f.return(callIndirect('i', module.type(['i'], ['i']), f.param(0), f.param(1)));
      module.add(f, 'f');
    });
    expect([exports.f!(0, 7), exports.f!(1, 7)]).toEqual([21, 35]);
  });
  it('call through a table that they share', () => {
    const table = new WebAssembly.Table({ element: 'anyfunc', initial: 2 });
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    const load = (build: (module: ModuleBuilder) => void): Record<string, Fn> => {
      const module = new ModuleBuilder({ initial: 1, maximum: 1, shared: false }, true);
      build(module);
      const code = new WebAssembly.Module(module.encode());
      return new WebAssembly.Instance(code, { env: { memory, table } }).exports as Record<string, Fn>;
    };
    const callee = new FunctionBuilder(['i'], ['i']);
    callee.return(op('i32.add', callee.param(0), i32(1)));
    table.set(1, load((module) => module.add(callee, 'callee')).callee);
    const caller = new FunctionBuilder(['i'], ['i']);
    const { f } = load((module) => {
      caller.return(callIndirect('i', module.type(['i'], ['i']), i32(1), caller.param(0)));
      module.add(caller, 'f');
    });
    expect(f!(41)).toBe(42);
  });
  it('want imports before functions', () => {
    const module = new ModuleBuilder({ initial: 1, maximum: 1, shared: false });
    module.add(new FunctionBuilder([], []));
    expect(() => module.import('late', [], [])).toThrow('imports come before functions');
  });
  it('link with a shared memory, and only where they were made for one', () => {
    const module = (shared: boolean): InstanceType<typeof WebAssembly.Module> => {
      const builder = new ModuleBuilder({ initial: 1, maximum: 1, shared });
      builder.add(new FunctionBuilder([], []), 'f');
      return new WebAssembly.Module(builder.encode());
    };
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    expect(() => new WebAssembly.Instance(module(true), { env: { memory } })).not.toThrow();
    expect(() => new WebAssembly.Instance(module(false), { env: { memory } })).toThrow(/memory/);
  });
});

describe('LEB128', () => {
  /** Decodes as the specification does (5.2.2). */
  const read = (bytes: Uint8Array | number[], signed: boolean): bigint => {
    let result = 0n;
    let shift = 0n;
    for (const byte of bytes) {
      result |= BigInt(byte & 0x7f) << shift;
      shift += 7n;
    }
    return signed ? BigInt.asIntN(Number(shift), result) : result;
  };
  const written = (write: (w: Writer) => void): Uint8Array => {
    const w = new Writer();
    write(w);
    return w.take();
  };
  it('comes back', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }), fc.nat(60), (wide, down) => {
        const x = wide >> BigInt(down);
        expect(
          read(
            written((w) => w.s64(x)),
            true,
          ),
        ).toBe(x);
        const narrow = Number(BigInt.asIntN(32, x));
        expect(
          read(
            written((w) => w.s32(narrow)),
            true,
          ),
        ).toBe(BigInt(narrow));
        expect(
          read(
            written((w) => w.u32(narrow)),
            false,
          ),
        ).toBe(BigInt(narrow >>> 0));
        expect(read(leb(narrow), false)).toBe(BigInt(narrow >>> 0));
      }),
    );
  });
});
