/**
 * What the toolstack needs of a hypervisor: to build a domain from bytes in memory and to run it a slice at a time.
 * It says nothing of files, terminals or clocks: whoever calls passes bytes and time in.
 */
import type { DiskImage } from '@paravane/image-api';
import type { Link } from '@paravane/link-api';
import type { DiskConfig } from './disk-config.js';
import type { DomainConfig } from './domain-config.js';
import type { VifConfig } from './vif-config.js';

export type ClockMode = 'virtual' | 'wall';
/** What runs the guest's code: the interpreter alone, or with hot loops compiled. */
export type EngineKind = 'jit' | 'interpreter';

export const logLevels = ['error', 'warning', 'info', 'debug'] as const;
export type LogLevel = (typeof logLevels)[number];

export interface BootDisk {
  readonly config: DiskConfig;
  /**
   * Open, and the caller's to close once the domain has ended. Undefined for a drive without a medium; the machine sets
   * what has been put into a drive.
   */
  image?: DiskImage | undefined;
}

export interface BootVif {
  readonly config: VifConfig;
  /** The interface's address: that of `config`, or one made up. */
  readonly mac: string;
  /** Makes the link behind it, anew for each boot; the domain closes it at its end. */
  openLink(): Link;
}

/** The host's end of a further console. */
export interface BootChannel {
  /** What the guest may know it by, and what a terminal of the host that shows it is called. */
  readonly name?: string;
  readonly tty?: string;
  /** Takes what the guest writes. The bytes are the receiver's to keep. */
  onOutput(bytes: Uint8Array): void;
  /** Called at each boot with what takes input; the guest takes it at its own pace. */
  onOpen(input: (bytes: Uint8Array) => void): void;
}

/** Where compiled code is kept for later runs. */
export interface CodeKeeper {
  /** What was given to `keep` last; null where that was never. It must be as it was given. */
  readonly bytes: Uint8Array | null;
  /** Called at the end of a domain that has compiled more. */
  keep(bytes: Uint8Array): void;
}

export interface BootRequest {
  readonly config: DomainConfig;
  readonly kernel: Uint8Array;
  readonly ramdisk?: Uint8Array;
  readonly disks?: readonly BootDisk[];
  readonly vifs?: readonly BootVif[];
  readonly channels?: readonly BootChannel[];
  /** Called when the host has done what a domain that waits may be waiting for. */
  wake?(): void;
  /** Takes what the guest writes to its console. The bytes are the receiver's to keep. */
  onOutput(bytes: Uint8Array): void;
  readonly clock: ClockMode;
  /** `jit` if not given. What the guest does is the same with either. */
  readonly engine?: EngineKind;
  /** Compiled code of earlier runs, and where to keep that of this one. What the guest does is the same without it. */
  readonly code?: CodeKeeper;
  /** Where every random choice of the machine comes from. */
  readonly seed: bigint;
  /** The guest's wall clock when it starts: milliseconds since 1970. */
  readonly epoch: number;
  /** The host's monotonic clock in milliseconds; the machine reads it only where `clock` is `wall`. */
  now(): number;
  log?(level: LogLevel, message: string): void;
  /** Whether it is looked where the guest spends its instructions; `DomainStats.hottest` tells. Results are the same. */
  readonly profile?: boolean;
  /** Takes one line for each event between the guest and the hypervisor. */
  trace?(line: string): void;
  /** Takes each input from outside as the guest gets it. */
  onInput?(input: RecordedInput): void;
  /** In virtual time: gives the guest these inputs and no others. */
  readonly replay?: RecordedBoot;
}

/** What came from outside, and the place in the run at which the guest got it. */
export interface RecordedInput {
  /** Steps of the machine until then. */
  readonly step: number;
  readonly instructions: number;
  /** Which part of the machine it is for. */
  readonly source: string;
  readonly data: Uint8Array;
}

export interface RecordedBoot {
  readonly inputs: readonly RecordedInput[];
  /** Steps of the machine at the end of the recorded run: there the domain ends, as `replayed`, if it did not before. */
  readonly steps: number;
}

export interface Machine {
  /** Builds a domain that is ready to run. Rejects with a ParavaneError where the kernel cannot be booted. */
  bootDomain(request: BootRequest): Promise<RunningDomain>;
}

export interface RunningDomain {
  /** Queues bytes typed at the console; the domain takes them at its own pace. */
  input(bytes: Uint8Array): void;
  /**
   * Runs the guest for about a hundredth of a second, or until it waits or ends. In virtual time also until
   * `guestMilliseconds` is `until`: there it answers `waiting`, for 0 milliseconds where there is something to do.
   */
  step(until?: number): StepResult;
  /** The guest's time since it started. */
  readonly guestMilliseconds: number;
  stats(): DomainStats;
  /** Gives back what the domain holds. It is not stepped again. */
  destroy(): void;
  /** What the host may do with it from outside while it runs. Undefined where the machine offers none of that. */
  readonly control?: DomainControl;
  /** Resolves when no I/O of the domain is in progress. To be waited for between `destroy` and the end of its images. */
  settled?(): Promise<void>;
}

export interface DomainControl {
  readonly domid: number;
  /** MiB that the domain has now. */
  readonly memory: number;
  readonly store: DomainStore;
  readonly disks: DomainDisks;
  /** Stops the vCPUs: `step` answers `waiting` until `unpause`. Doing it again changes nothing. */
  pause(): void;
  unpause(): void;
}

/**
 * The domain's xenstore, as the host sees it. Values have one character per byte; a malformed path is a ParavaneError.
 * Changes take effect at the next step, so that a recorded run can repeat them.
 */
export interface DomainStore {
  read(path: string): string | undefined;
  /** All nodes at and below a path, parents first; none if there is no such node. */
  entries(path: string): Iterable<{
    readonly path: string;
    readonly value: string;
    readonly permissions: readonly string[];
  }>;
  write(path: string, value: string): Promise<void>;
  /** Removes a node and all below it. */
  remove(path: string): Promise<void>;
  /** Calls `onChange` once now, and after every change at or below the path. The result ends the watch. */
  watch(path: string, onChange: (path: string) => void): () => void;
}

/** The domain's disks, each by the name or number of its virtual device. What can't be done is a ParavaneError. */
export interface DomainDisks {
  /** Gives a disk and its image another size, in bytes, and tells the guest. */
  resize(vdev: string, size: number): Promise<void>;
  /** Puts a medium into a CD-ROM drive, which closes what was in it; undefined leaves it empty. */
  changeMedium(vdev: string, medium: DiskImage | undefined): Promise<void>;
}

export type StepResult =
  | { readonly state: 'running' }
  /** Nothing to do before input arrives, or, where given, before so many milliseconds have passed. */
  | { readonly state: 'waiting'; readonly milliseconds?: number }
  /** In virtual time: the domain goes on only after `done`, so that how long the host takes makes no difference. */
  | { readonly state: 'busy'; readonly done: Promise<void> }
  | { readonly state: 'ended'; readonly end: DomainEnd };

export type DomainEnd =
  | { readonly kind: 'poweroff' | 'reboot' | 'suspend' | 'replayed' }
  | { readonly kind: 'crash'; readonly report: CrashReport };

export interface CrashReport {
  /** Why the domain was stopped, in a sentence. */
  readonly reason: string;
  /** How wide registers and addresses are. */
  readonly bits: 32 | 64;
  /** By name, in the order to print them. */
  readonly registers: readonly (readonly [name: string, value: bigint])[];
  /** Return addresses found on the stack, innermost first. */
  readonly backtrace: readonly { readonly address: bigint; readonly symbol?: string }[];
}

export interface DomainStats {
  readonly instructions: bigint;
  /** The guest's time since it started. */
  readonly guestMilliseconds: number;
  /** Of everything that a guest could observe; equal for equal runs. */
  readonly stateHash?: string;
  /** Further figures, by name, for `--stats`. */
  readonly counters: Readonly<Record<string, number | bigint>>;
  /** Where the guest's instructions were, the hottest first. Only of a domain that is profiled. */
  readonly hottest?: readonly HotSpot[];
}

export interface HotSpot {
  /** A function of the kernel, or a page of code. */
  readonly where: string;
  /** Of all instructions, from 0 to 1. */
  readonly share: number;
}
