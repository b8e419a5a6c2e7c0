/**
 * Functions of the interpreter's module that its handlers and compiled code call:
 * what is too long to stand wherever an instruction is. Each answers 0 where it
 * has changed nothing and leaves the instruction to its definition in TypeScript.
 */
import { ANY_MEMORY, callExpr, type Expr, ModuleBuilder } from '@paravane/wasm-emit';
import { SSE_ROUTINES } from './sse-routines.js';
import { X87_ROUTINES } from './x87/routines.js';

const ROUTINES = { ...X87_ROUTINES, ...SSE_ROUTINES } as const;
export type Routine = keyof typeof ROUTINES;
/** Functions of a module by routine. */
export type Routines = Readonly<Record<Routine, number>>;
const NAMES = Object.keys(ROUTINES) as Routine[];
const each = (make: (name: Routine) => number): Routines =>
  Object.fromEntries(NAMES.map((name) => [name, make(name)])) as Record<Routine, number>;

export const addRoutines = (module: ModuleBuilder): Routines => each((name) => module.add(ROUTINES[name](), name));
type RoutineType = Pick<ReturnType<(typeof ROUTINES)[Routine]>, 'params' | 'results'>;
/** Types of the routines, which many modules import; made when the first does, since all of them are built for that. */
const types = new Map<Routine, RoutineType>();
/** The routines of another module, which `routineImports` gives. */
export const importRoutines = (module: ModuleBuilder): Routines =>
  each((name) => {
    let type = types.get(name);
    if (type === undefined) {
      const { params, results } = ROUTINES[name]();
      type = { params, results };
      types.set(name, type);
    }
    return module.import(name, type.params, type.results);
  });
/** What a module with imported routines takes of the one that has them. */
export const routineImports = (exports: WebAssembly.Exports): Record<string, WebAssembly.ExportValue> =>
  Object.fromEntries(NAMES.map((name) => [name, exports[name]!]));
export const callRoutine = (routines: Routines, name: Routine, args: readonly Expr[]): Expr =>
  callExpr('i', routines[name], ...args);

/** The routines alone, in a module that takes `env.memory`. */
export function routinesModule(shared: boolean): Uint8Array {
  const module = new ModuleBuilder({ ...ANY_MEMORY, shared });
  addRoutines(module);
  return module.encode();
}
