/**
 * Which part of Paravane the main thread spends its time in, by V8's sampling profiler. It costs a few hundredths while
 * it runs and nothing before. Parts are told by the files that functions come from; generated code by its module: the
 * interpreter's is entered from JavaScript, that of compiled regions from generated code.
 */
import { readFileSync } from 'node:fs';
import { type Profiler, Session } from 'node:inspector';

export type Part =
  | 'compiled code'
  | 'interpreter'
  | 'translating and compiling'
  | 'decoding, page walks, rare instructions'
  | 'hypercalls and traps'
  | 'devices'
  | 'garbage collection'
  | 'idle'
  | 'everything else';

export interface TimeShares {
  /** Seconds of each part, largest first. */
  readonly parts: readonly (readonly [Part, number])[];
}

export interface TimeProfile {
  /** All since the start. */
  read(): TimeShares;
  stop(): void;
}

const INTERVAL_MICROSECONDS = 2000;
/** V8 keeps every sample until it is asked for them. */
const COLLECT_MS = 20_000;

const packages: readonly (readonly [RegExp, Part])[] = [
  [/[/\\]x86[/\\](dist|src)[/\\]jit[/\\]|[/\\]wasm-emit[/\\]/, 'translating and compiling'],
  [/[/\\](x86|mmu)[/\\](dist|src)[/\\]/, 'decoding, page walks, rare instructions'],
  [/[/\\](xen|hypervisor|abi-xen|domain-builder)[/\\](dist|src)[/\\]/, 'hypercalls and traps'],
  [/[/\\](xenstore|xenbus|ring|images|network|[a-z]+-back|host-node)[/\\](dist|src)[/\\]/, 'devices'],
];

export function profileTime(): TimeProfile {
  const seconds = new Map<Part, number>();
  const session = new Session();
  session.connect();
  const start = (): void => {
    session.post('Profiler.start');
  };
  const collect = (): void => {
    // The answer comes before `post` returns: the session is one of this thread's own.
    session.post('Profiler.stop', (error, result) => {
      if (error === null)
        for (const [part, more] of partsOf(result.profile)) seconds.set(part, (seconds.get(part) ?? 0) + more);
    });
  };
  session.post('Profiler.enable');
  session.post('Profiler.setSamplingInterval', { interval: INTERVAL_MICROSECONDS });
  start();
  const timer = setInterval(() => {
    collect();
    start();
  }, COLLECT_MS);
  timer.unref();
  let running = true;
  return {
    read() {
      if (running) {
        collect();
        start();
      }
      return { parts: [...seconds].sort(([, a], [, b]) => b - a) };
    },
    stop() {
      if (!running) return;
      running = false;
      clearInterval(timer);
      collect();
      session.disconnect();
    },
  };
}

/** Seconds by part. A frame that says nothing (a built-in function) is of its caller's part. */
export function partsOf({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): Map<Part, number> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parts = new Map<number, Part>();
  const interpreters = new Set<string>();
  const generated = ({ url }: Profiler.ProfileNode['callFrame'], callerIsGenerated: boolean): Part => {
    if (!callerIsGenerated) interpreters.add(url);
    return interpreters.has(url) ? 'interpreter' : 'compiled code';
  };
  const walk = (id: number, caller: Part | undefined, callerIsGenerated: boolean): void => {
    const { callFrame, children = [] } = byId.get(id)!;
    const isGenerated = callFrame.url.startsWith('wasm://');
    const own = isGenerated ? generated(callFrame, callerIsGenerated) : partOfFrame(callFrame);
    const part = own ?? caller;
    parts.set(id, part ?? 'everything else');
    for (const child of children) walk(child, part, isGenerated);
  };
  if (nodes[0] !== undefined) walk(nodes[0].id, undefined, false);
  const seconds = new Map<Part, number>();
  samples.forEach((id, i) => {
    const part = parts.get(id) ?? 'everything else';
    seconds.set(part, (seconds.get(part) ?? 0) + Math.max(0, timeDeltas[i] ?? 0) / 1e6);
  });
  return seconds;
}

/** Where modules begin in a file that a bundler has put them into: line, from 0, and the file that each was. */
const bundles = new Map<string, readonly (readonly [line: number, file: string])[]>();

function modulesIn(url: string): readonly (readonly [number, string])[] {
  const known = bundles.get(url);
  if (known !== undefined) return known;
  let modules: (readonly [number, string])[] = [];
  try {
    const lines = url.startsWith('file:') ? readFileSync(new URL(url), 'utf8').split('\n') : [];
    modules = lines.flatMap((text, line) => {
      const file = /^\/\/ (\S+[/\\](?:dist|src)[/\\]\S+\.[jt]s)$/.exec(text)?.[1];
      return file === undefined ? [] : [[line, file] as const];
    });
  } catch {
    // What can't be read is taken for what its name says.
  }
  bundles.set(url, modules);
  return modules;
}

function partOfFrame({ functionName, url, lineNumber }: Profiler.ProfileNode['callFrame']): Part | undefined {
  if (functionName === '(garbage collector)') return 'garbage collection';
  if (functionName === '(idle)') return 'idle';
  const file = modulesIn(url).findLast(([line]) => line <= lineNumber)?.[1] ?? url;
  return packages.find(([pattern]) => pattern.test(file))?.[1];
}

/** Processor seconds of this process's other threads (compilers, collectors, files); undefined where it can't be known. */
export function otherThreadsSeconds(): number | undefined {
  const { user, system } = process.cpuUsage();
  try {
    const [nanoseconds] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ');
    return Math.max(0, (user + system) / 1e6 - Number(nanoseconds) / 1e9);
  } catch {
    // Only Linux has it, and not every kernel.
    return undefined;
  }
}
