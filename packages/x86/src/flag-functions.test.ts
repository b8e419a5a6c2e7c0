import { FunctionBuilder, i32, ModuleBuilder } from '@paravane/wasm-emit';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { eflagsOfAnyKind } from './flag-functions.js';
import { FlagKind } from './state.js';

type Eflags = (kind: number, a: bigint, b: bigint) => number;

const build = (kind?: number): FunctionBuilder => {
  const f = new FunctionBuilder(['i', 'l', 'l'], ['i']);
  f.return(eflagsOfAnyKind(f, kind === undefined ? f.param(0) : i32(kind), f.param(1), f.param(2)));
  return f;
};
const kinds = Array.from({ length: FlagKind.bits + 1 }, (_, kind) => kind);

const module = new ModuleBuilder({ initial: 1, maximum: 1, shared: false });
module.add(build(), 'any');
for (const kind of kinds) module.add(build(kind), `of${kind}`);
const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.encode()), {
  env: { memory },
});
const functions = exports as Record<string, Eflags>;

const value = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(0n, 1n, -1n, 127n, -128n, 2n ** 31n, -(2n ** 31n), 2n ** 63n - 1n, -(2n ** 63n)),
);

it('a kind of flags that is known gives the same bits as one that is not', () => {
  const both = fc.property(fc.constantFrom(...kinds), value, value, (kind, a, b) => {
    expect(functions[`of${kind}`]!(kind, a, b)).toBe(functions.any!(kind, a, b));
  });
  fc.assert(both, { numRuns: 5000 });
});

it('a kind of flags that is known leaves nothing of the others in the code', () => {
  const bytes = (kind?: number): number => build(kind).encode().length;
  expect(Math.max(...kinds.map(bytes))).toBeLessThan(0.6 * bytes());
  expect(bytes(FlagKind.result)).toBeLessThan(0.6 * bytes(FlagKind.sub));
  expect(bytes(FlagKind.bits)).toBeLessThan(16);
});
