import { FunctionBuilder, i32, ModuleBuilder, op } from '@paravane/wasm-emit';

const f = new FunctionBuilder(['i'], ['i']);
const [n, sum] = [f.param(0), f.local('i')];
f.loop((again) => {
  f.set(sum, op('i32.add', sum, n));
  f.set(n, op('i32.sub', n, i32(1)));
  f.brIf(n, again);
});
f.return(sum);

const module = new ModuleBuilder({ initial: 1, maximum: 1, shared: false });
module.add(f, 'sum');
const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.encode()), { env: { memory } });
console.log((exports.sum as (n: number) => number)(100)); // 5050
