/** The flags that say how a domain is run; `run` and `start` share them. */
import { type ClockMode, type EngineKind, type LogLevel, logLevels } from '@paravane/toolstack';
import { parseEscape, parseMemory, parseSeed, parseTimeout, parseVcpus } from './flags.js';

export interface MachineFlags {
  readonly memory?: number;
  readonly vcpus?: number;
  readonly clock: ClockMode;
  readonly engine: EngineKind;
  readonly codeCache: boolean;
  readonly seed?: bigint;
  /** Milliseconds. */
  readonly timeout?: number;
  readonly log: LogLevel;
  readonly trace?: string;
  readonly record?: string;
  readonly replay?: string;
  readonly stats: boolean;
  readonly consoleLog?: string;
  readonly escape: { readonly byte: number | undefined };
}

export const fileName = (text: string): string => text;

export const machineFlags = {
  memory: { kind: 'parsed', parse: parseMemory, optional: true, placeholder: 'MIB', brief: 'Memory, in MiB (or 2G)' },
  vcpus: { kind: 'parsed', parse: parseVcpus, optional: true, placeholder: 'N', brief: 'Number of virtual CPUs' },
  clock: {
    kind: 'enum',
    values: ['virtual', 'wall'],
    default: 'wall',
    brief: "The guest's time: counted by instructions (equal input, equal run), or tied to the host's clock",
  },
  engine: {
    kind: 'enum',
    values: ['jit', 'interpreter'],
    default: 'jit',
    brief: 'Whether hot loops are compiled; a guest runs the same either way',
  },
  codeCache: {
    kind: 'boolean',
    default: true,
    brief: 'Whether compiled code is kept for later runs of the same kernel; a guest runs the same either way',
  },
  seed: {
    kind: 'parsed',
    parse: parseSeed,
    optional: true,
    placeholder: 'N',
    brief: 'Where randomness starts (with --clock virtual 0 if not given, else by chance)',
  },
  timeout: {
    kind: 'parsed',
    parse: parseTimeout,
    optional: true,
    placeholder: 'SECONDS',
    brief: 'End the domain after so many seconds, with status 4',
  },
  log: { kind: 'enum', values: logLevels, default: 'warning', brief: 'What to say on standard error' },
  trace: {
    kind: 'parsed',
    parse: fileName,
    optional: true,
    placeholder: 'FILE',
    brief: 'Write every event between guest and hypervisor to this file',
  },
  record: {
    kind: 'parsed',
    parse: fileName,
    optional: true,
    placeholder: 'FILE',
    brief: 'Record all that comes to the guest from outside, for --replay; time is virtual then',
  },
  replay: {
    kind: 'parsed',
    parse: fileName,
    optional: true,
    placeholder: 'FILE',
    brief: 'Make a recorded run again, to the same state, whatever is typed',
  },
  consoleLog: {
    kind: 'parsed',
    parse: fileName,
    optional: true,
    placeholder: 'FILE',
    brief: "Also write the guest's console to this file",
  },
  stats: {
    kind: 'boolean',
    default: false,
    withNegated: false,
    brief: 'Print figures at the end, and at the escape key and s',
  },
  escape: {
    kind: 'parsed',
    parse: parseEscape,
    default: '^]',
    placeholder: 'KEY',
    brief: 'The key that leaves the console: ^] and the like, a character, or none',
  },
} as const;
