/**
 * The machine that the toolstack boots domains on. Each domain gets a machine of its own: memory, core, hypervisor,
 * personality, store and console, made from what the request says and from nothing else, so that equal requests and
 * equal input make equal runs.
 *
 * Trusts the caller's request; the kernel and all that the guest does are the parts' to distrust.
 */
import { type ConsoleBackend, createConsoleBackend } from '@paravane/console-back';
import { type DecompressorTable, type KernelImage, loadKernelImage } from '@paravane/domain-builder';
import { createHypervisor, type Hypervisor } from '@paravane/hypervisor';
import { createMmu } from '@paravane/mmu';
import type { BootRequest, DomainEnd, DomainStats, Machine, RunningDomain, StepResult } from '@paravane/toolstack';
import { isParavaneError, ParavaneError } from '@paravane/types';
import { CORE_BYTES, CORE_FEATURES, createX86Engine, type X86Engine } from '@paravane/x86';
import { createPvDomain, createXenPersonality, narrowFeatures, type PvDomain, xenTransitions } from '@paravane/xen';
import { createXenstore, createXenstoreRing, populateDomain, populateHost } from '@paravane/xenstore';
import { attachChannels, type Channels } from './channels.js';
import { createDomainControl, type OwnedControl } from './control.js';
import { describeCrash, type SymbolSource, symbolSource } from './crash.js';
import { attachDisks, type Disks } from './disks.js';
import { createEarlyOutput, type EarlyOutput } from './early-output.js';
import { createGuestProfile, type GuestProfile, PROFILE_INTERVAL } from './profile.js';
import { attachVifs, type Vifs } from './vifs.js';

const PAGES_PER_MIB = 256;
/** Frames beside the guest's memory: shared_info, grant tables and the hypervisor's own. */
const SPARE_FRAMES = 512;
/** One entry of eight bytes a frame, in the machine-to-physical table; 32-bit guests have one of four bytes beside it. */
const M2P_ENTRIES_PER_FRAME = 512;
const COMPAT_M2P_ENTRIES_PER_FRAME = 1024;
const CONSOLE = 'console';

export interface MachineOptions {
  /** What the host can unpack beyond what every host can: kernels in gzip and zstd. */
  readonly decompress?: DecompressorTable;
}

export function createMachine(options: MachineOptions = {}): Machine {
  return {
    async bootDomain(request) {
      try {
        return new BootedDomain(request, await loadKernelImage(request.kernel, options));
      } catch (error) {
        throw ofKernel(error, request.config.kernel);
      }
    },
  };
}

/** What is wrong with a kernel, with the name of its file. */
function ofKernel(error: unknown, file: string): unknown {
  if (!isParavaneError(error) || !/^(kernel|elf)-/.test(error.code)) return error;
  return new ParavaneError(error.code, `${file}: ${error.message}`, { cause: error, data: error.data });
}

class BootedDomain implements RunningDomain {
  private readonly engine: X86Engine;
  private readonly hypervisor: Hypervisor;
  private readonly guest: PvDomain;
  private readonly symbols: SymbolSource;
  private readonly profile: GuestProfile | undefined;
  private console!: ConsoleBackend;
  private earlyOutput!: EarlyOutput;
  private disks!: Disks;
  private vifs!: Vifs;
  private channels!: Channels;
  control!: OwnedControl;
  /** Typed, and more than the console's back end holds. */
  private typed: Uint8Array[] = [];

  constructor(
    private readonly request: BootRequest,
    image: KernelImage,
  ) {
    const { config, clock, seed } = request;
    const pages = Math.max(config.memory, config.maxmem) * PAGES_PER_MIB;
    const compatM2p = image.bits === 32 ? Math.ceil(pages / COMPAT_M2P_ENTRIES_PER_FRAME) : 0;
    const mmu = createMmu({
      frames: pages + Math.ceil(pages / M2P_ENTRIES_PER_FRAME) + compatM2p + SPARE_FRAMES,
      coreBytes: CORE_BYTES,
    });
    const random = (): bigint => BigInt(hypervisor.services.random());
    const engine = createX86Engine({
      mmu,
      random: () => (random() << 32n) | random(),
      jit: request.engine !== 'interpreter',
      transitions: xenTransitions,
      ...(request.code === undefined ? {} : { code: request.code.bytes }),
    });
    this.engine = engine;
    this.profile = request.profile ? createGuestProfile(engine, () => this.guest.xen) : undefined;
    const hypervisor = createHypervisor({
      mmu,
      engine,
      clock,
      hostTime: () => Math.round(request.now() * 1e6),
      seed: Number(BigInt.asUintN(32, seed ^ (seed >> 32n))),
      epoch: request.epoch * 1e6,
      log: (message) => request.log?.('info', message),
      ...(this.profile === undefined ? {} : { profile: { interval: PROFILE_INTERVAL, sample: this.profile.sample } }),
    });
    this.hypervisor = hypervisor;
    this.symbols = symbolSource(image);
    const { onInput, replay } = request;
    if (onInput !== undefined) hypervisor.inbox.record(onInput);
    if (replay !== undefined) hypervisor.inbox.replay(replay.inputs.map((input) => ({ ...input, time: 0 })));
    this.guest = this.build(image);
    hypervisor.inbox.source(CONSOLE, (bytes) => {
      this.typed.push(bytes);
      this.feedConsole();
    });
    this.guest.unpause();
  }

  input(bytes: Uint8Array): void {
    this.hypervisor.inbox.post(CONSOLE, bytes);
  }

  step(until?: number): StepResult {
    const { hypervisor, guest } = this;
    const { replay } = this.request;
    if (replay !== undefined && hypervisor.steps >= replay.steps) return { state: 'ended', end: { kind: 'replayed' } };
    const done = this.disks.waitFor();
    if (done !== undefined) return { state: 'busy', done };
    const { steps } = hypervisor;
    const limit = until === undefined ? Number.POSITIVE_INFINITY : Math.round(until * 1e6);
    const result = hypervisor.runSlice(undefined, limit);
    const record = guest.domain.shutdownRecord;
    if (record !== null) {
      this.earlyOutput.end();
      return { state: 'ended', end: this.end() };
    }
    if (replay !== undefined && result === 'idle' && hypervisor.steps === steps) {
      throw new ParavaneError(
        'replay-differs',
        `this run is not the recorded one: it waits after ${hypervisor.instructions} instructions, where the recorded one went on; replay with the same version, kernel and disks`,
      );
    }
    const atLimit = hypervisor.now() >= limit;
    // What a back end did in this very slice may have brought the guest an input.
    if (result === 'ran' || (result === 'idle' && hypervisor.inbox.pending && !atLimit)) return { state: 'running' };
    if (atLimit && hypervisor.ready && !this.control.paused) return { state: 'waiting', milliseconds: 0 };
    if (this.control.paused) return { state: 'waiting' };
    const { sleepNs } = hypervisor;
    return sleepNs === Number.POSITIVE_INFINITY
      ? { state: 'waiting' }
      : { state: 'waiting', milliseconds: sleepNs / 1e6 };
  }

  get guestMilliseconds(): number {
    return this.hypervisor.now() / 1e6;
  }

  stats(): DomainStats {
    const { hypervisor, guest } = this;
    const { instructions, systemTimeNs, ...counters } = hypervisor.stats();
    return {
      instructions: BigInt(instructions ?? 0),
      guestMilliseconds: (systemTimeNs ?? 0) / 1e6,
      // Runs in wall time are never equal, and to look at all memory takes its time.
      ...(this.request.clock === 'virtual' ? { stateHash: hypervisor.stateHash(guest.domain) } : {}),
      counters: { ...counters, ...this.tlbHits(counters), ...this.disks.counters(), ...this.vifs.counters() },
      ...(this.profile === undefined ? {} : { hottest: this.profile.hottest(this.symbols.find(guest, 0)) }),
    };
  }

  /** The part of the accesses that the TLB answered; how many there were is known from samples. */
  private tlbHits({ tlbMisses = 0 }: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
    const accesses = (this.profile?.accessing ?? 0) * this.hypervisor.instructions;
    if (accesses === 0) return {};
    return { tlbHitPercent: Math.max(0, Math.round(1e5 * (1 - tlbMisses / accesses)) / 1e3) };
  }

  destroy(): void {
    const code = this.request.code && this.engine.compiledCode();
    if (code) this.request.code?.keep(code);
    this.guest.destroy();
    this.control.close();
    this.disks.close();
    this.vifs.close();
    this.channels.close();
  }

  settled(): Promise<void> {
    return this.disks.settled();
  }

  private build(image: KernelImage): PvDomain {
    const { hypervisor, request } = this;
    const { config } = request;
    const personality = createXenPersonality(hypervisor.services);
    const store = createXenstore({
      clock: hypervisor.services,
      warn: (message) => request.log?.('warning', message),
    });
    populateHost(store);
    const guest = createPvDomain(hypervisor, personality, {
      name: config.name,
      image,
      features: narrowFeatures(CORE_FEATURES, config.hiddenFeatures ?? []),
      cmdline: config.cmdline,
      memoryPages: config.memory * PAGES_PER_MIB,
      maxPages: config.maxmem * PAGES_PER_MIB,
      vcpus: config.vcpus,
      ...(request.ramdisk === undefined ? {} : { ramdisk: request.ramdisk }),
      ...(request.trace === undefined ? {} : { trace: (line: string) => request.trace?.(line) }),
      refusedOutput: (bytes) => this.earlyOutput.write(bytes),
      console: ({ page, notify }) => {
        this.earlyOutput = createEarlyOutput(
          () => page.bytes(),
          (bytes) => request.onOutput(bytes),
        );
        this.console = createConsoleBackend({
          page,
          notify,
          onOutput: (bytes) => request.onOutput(bytes),
          onInputDrained: () => this.feedConsole(),
        });
        return this.console;
      },
      store: ({ page, notify }, { id }) => createXenstoreRing({ connection: store.connect(id), page, notify }),
    });
    hypervisor.setShare(guest.domain, { weight: config.cpuWeight, cap: config.cap });
    const { id } = guest.domain;
    populateDomain(store, {
      domid: id,
      name: config.name,
      uuid: formatUuid(guest.xen.handle),
      memoryKiB: config.memory * 1024,
      maxMemoryKiB: config.maxmem * 1024,
      vcpus: config.vcpus,
      consolePort: guest.consoleChannel.port,
      consoleRingRef: guest.consoleChannel.frame,
      storePort: guest.storeChannel.port,
      storeRingRef: guest.storeChannel.frame,
    });
    this.disks = attachDisks({ hypervisor, store, guest, request });
    this.vifs = attachVifs({ hypervisor, store, guest, request });
    this.channels = attachChannels({ hypervisor, store, guest, request });
    this.control = createDomainControl({ hypervisor, store, guest, request, disks: this.disks.media });
    store.introduceDomain(id);
    request.log?.('info', `built "${config.name}": ${config.memory} MiB, ${config.vcpus} vCPUs`);
    return guest;
  }

  private feedConsole(): void {
    for (;;) {
      // Taken from the queue first: the console calls back here when it has passed on what it got.
      const bytes = this.typed.shift();
      if (bytes === undefined) return;
      const taken = this.console.input(bytes);
      if (taken < bytes.length) {
        this.typed.unshift(bytes.subarray(taken));
        return;
      }
    }
  }

  private end(): DomainEnd {
    const record = this.guest.domain.shutdownRecord!;
    if (record.reason === 'poweroff' || record.reason === 'reboot' || record.reason === 'suspend') {
      return { kind: record.reason };
    }
    return { kind: 'crash', report: describeCrash(this.guest, this.symbols, record) };
  }
}

function formatUuid(bytes: Uint8Array): string {
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
