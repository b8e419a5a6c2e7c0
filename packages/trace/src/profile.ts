/**
 * The profile of a trace: which kinds of requests a guest made, in the order of their first use, how often, and how
 * each kind ended. Trace lines are `DOM.VCPU microseconds KIND …`, as @paravane/xen writes them.
 *
 * Requests are named as follows; what a name leaves out (addresses, other arguments) differs from run to run.
 *
 *     memory_op.memory_map     a hypercall, with its sub-operation where it takes one (H, and R for its result)
 *     iret                     (I)
 *     mc:update_va_mapping     an entry of a multicall (M)
 *     mmuext_op:pin_l4_table   an operation of an mmuext_op batch (X)
 *     trap 14                  an exception bounced to the guest, by vector (T)
 *     ptwr                     a page-table write that was trapped and emulated (W)
 *     MSRr c0000102, MSRw …, CRr 4, CRw …, IOr cfc, IOw …      privileged accesses, numbers in hexadecimal
 *     CPUID 80000001, CPUID 7.1       a leaf; with its sub-leaf for leaves that have them
 *     CPUID 40xxxx00           the bases above 0x40000000 at which a guest looks for hypervisors, all in one
 */
import { errnoName, hypercall, hypercallLabel, mmuextName } from '@paravane/abi-xen';
import { ParavaneError } from '@paravane/types';

export interface ProfileEntry {
  readonly key: string;
  readonly count: number;
  /** How often each class of result was seen: `ok`, `preempted`, `fault`, or the name of an errno. */
  readonly results?: Readonly<Record<string, number>>;
  /** What was read or written, in hexadecimal: of MSR reads and control registers, unless it varies much. */
  readonly values?: readonly string[];
}

/** In the order of first use. */
export type Profile = readonly ProfileEntry[];

export interface Profiler {
  /** Takes one line of a trace, without its newline. Throws `trace-invalid` for a line that is none. */
  line(text: string): void;
  profile(): Profile;
}

interface Growing {
  key: string;
  count: number;
  results: Map<string, number>;
  values: Set<string>;
}

/** More values than these vary with the run. */
const MANY_VALUES = 4;
const LARGEST_ERRNO = 4095n;
/** CPUID leaves that have sub-leaves; elsewhere ECX holds whatever the guest had in it. */
const leavesWithSubLeaves = new Set(['4', '7', 'b', 'd', 'f', '10', '12', '14', '17', '18', '8000001d', '40000003']);
const hypervisorBase = /^40(?!0000)[0-9a-f]{4}00$/;
const lineForm = /^(\d+\.\d+) \d+ (\w+) ?(.*)$/;

export function createProfiler(): Profiler {
  const entries = new Map<string, Growing>();
  /** The hypercall that has not returned yet, by vCPU. */
  const open = new Map<string, string>();
  let lineNumber = 0;

  const entry = (key: string): Growing => {
    let found = entries.get(key);
    if (!found) {
      found = { key, count: 0, results: new Map(), values: new Set() };
      entries.set(key, found);
    }
    return found;
  };
  const count = (key: string): Growing => {
    const found = entry(key);
    found.count++;
    return found;
  };
  const end = (of: Growing, result: string): void => {
    of.results.set(result, (of.results.get(result) ?? 0) + 1);
  };
  const access = (key: string, code: string | undefined, value: string | null): void => {
    const found = count(key);
    const done = code === 'rc0';
    end(found, done ? 'ok' : 'fault');
    if (done && value !== null) found.values.add(value);
  };

  return {
    line(text) {
      lineNumber++;
      if (text === '') return;
      const [, vcpu, kind, rest] = lineForm.exec(text) ?? [];
      if (vcpu === undefined || kind === undefined || rest === undefined) throw invalid(lineNumber, text);
      const words = rest.split(' ');
      const [first = '', second = '', third = ''] = words;
      switch (kind) {
        case 'H': {
          const key = callKey(words);
          count(key);
          open.set(vcpu, key);
          break;
        }
        case 'R': {
          const key = open.get(vcpu);
          if (key !== undefined) end(entry(key), second === 'P' ? 'preempted' : resultClass(first));
          open.delete(vcpu);
          break;
        }
        case 'I':
          count('iret');
          break;
        case 'M':
          count(`mc:${callKey(words)}`);
          break;
        case 'X':
          count(`mmuext_op:${mmuextName(Number(first))}`);
          break;
        case 'T':
          count(`trap ${first}`);
          break;
        case 'W':
          count('ptwr');
          break;
        case 'MSRr':
        case 'CRr':
        case 'CRw':
          access(`${kind} ${first}`, third, second);
          break;
        case 'MSRw':
          access(`${kind} ${first}`, third, null);
          break;
        case 'IOr':
        case 'IOw':
          access(`${kind} ${first}`, words.at(-1), null);
          break;
        case 'CPUID':
          count(cpuidKey(first, second));
          break;
        default:
          throw invalid(lineNumber, text);
      }
    },
    profile: () => [...entries.values()].map(settle),
  };
}

/** The profile of a whole trace. */
export function profileOf(trace: string): Profile {
  const profiler = createProfiler();
  for (const line of trace.split('\n')) profiler.line(line);
  return profiler.profile();
}

function settle({ key, count, results, values }: Growing): ProfileEntry {
  return {
    key,
    count,
    ...(results.size > 0 ? { results: Object.fromEntries(results) } : {}),
    ...(values.size > 0 && values.size <= MANY_VALUES ? { values: [...values].sort() } : {}),
  };
}

/** `words`: the number in decimal, then the arguments in hexadecimal. */
function callKey(words: readonly string[]): string {
  const call = Number(words[0]);
  return hypercallLabel(call, subOperation(call, low32(words[1])), low32(words[2]));
}

/** Continuations of two calls carry their progress in the upper bits of the sub-operation. */
function subOperation(call: number, claimed: number): number {
  if (call === hypercall.memory_op) return claimed & 0x3f;
  return call === hypercall.grant_table_op ? claimed & 0xfff : claimed;
}

const low32 = (word: string | undefined): number => Number.parseInt(word?.slice(-8) || '0', 16);

function resultClass(result: string): string {
  const value = BigInt(`0x${result}`);
  // A 32-bit guest's results are 32 bits wide.
  const negated = result.length > 8 ? BigInt.asUintN(64, -value) : BigInt.asUintN(32, -value);
  return negated > 0n && negated <= LARGEST_ERRNO ? errnoName(Number(negated)) : 'ok';
}

function cpuidKey(leaf: string, subLeaf: string): string {
  if (hypervisorBase.test(leaf)) return 'CPUID 40xxxx00';
  return leavesWithSubLeaves.has(leaf) ? `CPUID ${leaf}.${subLeaf}` : `CPUID ${leaf}`;
}

function invalid(line: number, text: string): ParavaneError {
  return new ParavaneError(
    'trace-invalid',
    `line ${line} is not a line of a trace: "${text.slice(0, 80)}"; a trace is what \`paravane run … --trace FILE\` writes`,
    { data: { line } },
  );
}
