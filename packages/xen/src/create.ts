/**
 * Start of day of a PV domain, 64-bit or 32-bit with PAE: memory, the builder's image in it, shared_info,
 * the channels of console and store, and a first vCPU about to run its first
 * instruction (docs of public/xen.h, "start of day"; libxenguest's order).
 */
import {
  E820,
  FLAT_KERNEL,
  GNTTAB_RESERVED_CONSOLE,
  GNTTAB_RESERVED_XENSTORE,
  VCPU_INFO_BYTES,
  VCPU_INFO_UPCALL_MASK,
  VMASST_TYPE,
} from '@paravane/abi-xen';
import { buildPvDomain, type KernelImage, planPvDomain } from '@paravane/domain-builder';
import { Flag, Gpr, Seg } from '@paravane/engine-api';
import type { Hypervisor } from '@paravane/hypervisor';
import type { Domain } from '@paravane/personality-api';
import { port as asPort, type Maddr, type Mfn, ParavaneError } from '@paravane/types';
import { createWatchdogs } from './calls/sched.js';
import { crashReport, type Symbolize } from './crash.js';
import { HOST_DOMAIN, type XenDomain } from './domain.js';
import { BASELINE_FEATURES, type CpuFeatures, createCpuPolicy } from './emulate/cpuid.js';
import { allocUnbound, bindHost, type HostPort } from './events/channels.js';
import { createEventState } from './events/state.js';
import { createGrantState } from './grants/state.js';
import { growTable, seedEntry } from './grants/table.js';
import { allocatePage, allocateSharedPage, createMm, hostMayWrite, initialTables, machineMm } from './mm/index.js';
import { allowTransitions } from './personal.js';
import type { XenPersonality } from './personality.js';
import { startLegacyPeriodic, updateTime, updateWallclock } from './time.js';
import type { TraceSink } from './trace.js';
import { createXenVcpu } from './vcpu.js';

/** A page that the guest shares with a back end, and the event channel beside it. */
export interface GuestChannel {
  readonly page: { bytes(): Uint8Array | undefined };
  /** The guest's port. */
  readonly port: number;
  readonly frame: Mfn;
  notify(): void;
}

/** What serves the other end of a channel; `kick` runs between guest instructions when the guest sent an event. */
export interface ChannelServer {
  kick(): void;
}

export interface PvDomainSetup {
  name: string;
  image: KernelImage;
  ramdisk?: Uint8Array;
  cmdline?: string;
  memoryPages: number;
  /** The most the domain may grow to; `memoryPages` if not given. */
  maxPages?: number;
  vcpus?: number;
  /** Sixteen bytes; from the machine's seed if not given. */
  uuid?: Uint8Array;
  features?: CpuFeatures;
  /** Highest event-channel port; 1023 as xl has it. */
  maxEventChannels?: number;
  maxGrantFrames?: number;
  /** Makes the servers of the two channels that every domain has. */
  console?: (channel: GuestChannel, domain: XenDomain) => ChannelServer;
  store?: (channel: GuestChannel, domain: XenDomain) => ChannelServer;
  trace?: TraceSink;
  /** Takes what the guest writes to the hypervisor's own console, which it is refused. */
  refusedOutput?: (bytes: Uint8Array) => void;
  symbolize?: Symbolize;
}

export interface PvDomain {
  readonly domain: Domain;
  readonly xen: XenDomain;
  readonly consoleChannel: GuestChannel;
  readonly storeChannel: GuestChannel;
  /** Starts or goes on. The domain is made paused. */
  unpause(): void;
  /** Asks for a trace, or ends it. */
  trace(sink: TraceSink | null): void;
  destroy(): void;
}

const MAX_VCPUS = 128;
const DEFAULT_PORTS = 1023;

export function createPvDomain(hypervisor: Hypervisor, personality: XenPersonality, setup: PvDomainSetup): PvDomain {
  const { memoryPages, vcpus: vcpuCount = 1 } = setup;
  if (!(vcpuCount >= 1 && vcpuCount <= MAX_VCPUS)) {
    throw new ParavaneError('vcpu-count', `a domain has 1 to ${MAX_VCPUS} vCPUs, ${vcpuCount} were asked for`);
  }
  const plan = planPvDomain(setup.image, { memoryPages, ramdisk: setup.ramdisk, cmdline: setup.cmdline });
  const { frames } = hypervisor.mmu;
  machineMm(hypervisor.mmu);
  if (frames.freeCount < memoryPages + 16) {
    throw new ParavaneError(
      'machine-full',
      `"${setup.name}" needs ${memoryPages} pages, the machine has ${frames.freeCount} left; give the machine more memory or the domain less`,
    );
  }
  const hv = hypervisor.createDomain({ name: setup.name, personality });
  const domain = createRecord(personality, hv, setup);
  personality.records.set(domain.id, domain);
  for (let id = 0; id < vcpuCount; id++) domain.vcpus.push(createXenVcpu(domain, hv.addVcpu()));
  const p2m = takeMemory(domain, memoryPages);
  setUpSharedInfo(domain);

  const storePort = allocUnbound(domain, HOST_DOMAIN);
  const consolePort = allocUnbound(domain, HOST_DOMAIN);
  const entry = buildPvDomain(plan, hypervisor.mmu, {
    p2m,
    sharedInfo: (domain.sharedInfo * 4096) as Maddr,
    storePort: asPort(storePort),
    consolePort: asPort(consolePort),
  });
  const rc = initialTables(domain, entry.cr3);
  if (rc !== 0) {
    hypervisor.destroyDomain(hv);
    throw new ParavaneError(
      'initial-tables',
      `the page tables built for "${setup.name}" were refused with errno ${-rc}; this is a fault of the builder`,
    );
  }
  startVcpu0(domain, entry);
  growTable(domain, 1);
  seedEntry(domain, GNTTAB_RESERVED_CONSOLE, HOST_DOMAIN, entry.consoleMfn);
  seedEntry(domain, GNTTAB_RESERVED_XENSTORE, HOST_DOMAIN, entry.storeMfn);
  const consoleChannel = openChannel(domain, consolePort, entry.consoleMfn, setup.console);
  const storeChannel = openChannel(domain, storePort, entry.storeMfn, setup.store);
  return {
    domain: hv,
    xen: domain,
    consoleChannel,
    storeChannel,
    unpause: () => hv.unpause(),
    trace(sink) {
      domain.trace = sink;
      domain.vcpus.forEach(allowTransitions);
    },
    destroy: () => hypervisor.destroyDomain(hv),
  };
}

function createRecord(personality: XenPersonality, hv: Domain, setup: PvDomainSetup): XenDomain {
  const { machine } = personality;
  const { services } = machine;
  const handle = setup.uuid ?? randomHandle(() => services.random());
  // The record lives as long as the domain: no closure of it may hold the setup, with the kernel's image.
  const { symbolize } = setup;
  const domain: XenDomain = {
    id: hv.id,
    machine,
    mmu: machine.mmu,
    hv,
    is64: setup.image.bits === 64,
    privileged: false,
    maxPages: setup.maxPages ?? setup.memoryPages,
    totPages: 0,
    vcpus: [],
    mm: undefined as never,
    events: createEventState(setup.maxEventChannels ?? DEFAULT_PORTS),
    grants: createGrantState(setup.maxGrantFrames),
    vmAssist: setup.image.bits === 32 && setup.image.notes.extendedCr3 ? 1 << VMASST_TYPE.pae_extended_cr3 : 0,
    m2pStrict: false,
    sharedInfo: 0 as Mfn,
    spareInfo: [],
    watchdogs: createWatchdogs(() => domain, services),
    profile: [],
    pirqs: new Set(),
    eoiPage: 0,
    handle,
    shutdownCode: -1,
    dying: false,
    goneListeners: new Set(),
    pciAddress: 0,
    rtcIndex: 0,
    cpu: createCpuPolicy(featuresFor(setup)),
    refusedOutput: setup.refusedOutput ?? null,
    crash(reason, vcpu) {
      const who = vcpu ?? domain.vcpus[0];
      hv.shutdown({
        reason: 'crash',
        code: 3,
        detail: reason,
        report: crashReport(who, reason, symbolize),
        vcpu: who.id,
        time: services.now(),
      });
    },
    trace: setup.trace ?? null,
  };
  (domain as { mm: XenDomain['mm'] }).mm = createMm(domain);
  hv.context = domain;
  return domain;
}

/** A 32-bit domain is shown no long mode, nor what needs it: CMPXCHG16B, LAHF there. */
function featuresFor({ features = BASELINE_FEATURES, image }: PvDomainSetup): CpuFeatures {
  if (image.bits === 64) return features;
  const { leaf1Ecx, extendedEdx, extendedEcx } = features;
  return {
    ...features,
    leaf1Ecx: leaf1Ecx & ~CMPXCHG16B,
    extendedEdx: extendedEdx & ~LONG_MODE,
    extendedEcx: extendedEcx & ~LAHF_LONG,
  };
}
const CMPXCHG16B = 1 << 13;
const LONG_MODE = 1 << 29;
const LAHF_LONG = 1;

function randomHandle(random: () => number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < 16; at += 4) view.setUint32(at, random(), true);
  // Version 4, variant 1 (RFC 4122).
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes;
}

function takeMemory(domain: XenDomain, pages: number): Mfn[] {
  const p2m: Mfn[] = [];
  for (let pfn = 0; pfn < pages; pfn++) {
    const mfn = allocatePage(domain);
    if (mfn === -1) {
      throw new ParavaneError(
        'machine-full',
        `no frame is left for page ${pfn} of "${domain.hv.name}"; give the machine more memory`,
      );
    }
    domain.mm.machine.m2p.set(mfn, BigInt(pfn));
    p2m.push(mfn);
  }
  domain.mm.memoryMap = [{ address: 0, size: domain.maxPages * 4096, type: E820.RAM }];
  return p2m;
}

/** Allocates shared_info and gives each vCPU its vcpu_info, events masked. */
function setUpSharedInfo(domain: XenDomain): void {
  const { mmu } = domain;
  const shared = allocateSharedPage(domain);
  if (shared === -1) throw new ParavaneError('machine-full', `no frame is left for shared_info of "${domain.hv.name}"`);
  domain.sharedInfo = shared;
  let spare = shared;
  domain.vcpus.forEach((vcpu, id) => {
    if (id >= 32 && id % 32 === 0) {
      // Beyond the 32 of shared_info a vCPU has none of the guest's until it registers one.
      const frame = allocateSharedPage(domain);
      if (frame === -1)
        throw new ParavaneError('machine-full', `no frame is left for vCPU ${id} of "${domain.hv.name}"`);
      spare = frame;
      domain.spareInfo.push(frame);
    }
    vcpu.vcpuInfo = spare * 4096 + (id % 32) * VCPU_INFO_BYTES;
    allowTransitions(vcpu);
    mmu.writeU8((vcpu.vcpuInfo + VCPU_INFO_UPCALL_MASK) as Maddr, 1);
    updateTime(vcpu);
  });
  for (let id = domain.vcpus.length; id < 32; id++) {
    mmu.writeU8((shared * 4096 + id * VCPU_INFO_BYTES + VCPU_INFO_UPCALL_MASK) as Maddr, 1);
  }
  updateWallclock(domain);
}

function startVcpu0(domain: XenDomain, entry: { rip: bigint; rsp: bigint; rsi: bigint }): void {
  const [vcpu] = domain.vcpus;
  const { core } = vcpu;
  core.regs[Gpr.rsp] = entry.rsp;
  core.regs[Gpr.rsi] = entry.rsi;
  core.rip = entry.rip;
  core.rflags = Flag.IF | 2;
  const abi = domain.is64 ? 64 : 32;
  core.selectors[Seg.cs] = FLAT_KERNEL[abi].CS;
  core.selectors[Seg.ss] = FLAT_KERNEL[abi].SS;
  const data = abi === 64 ? [Seg.ds, Seg.es] : [Seg.ds, Seg.es, Seg.fs, Seg.gs];
  for (const register of data) core.selectors[register] = FLAT_KERNEL[abi].DS;
  core.mode = abi;
  vcpu.kernelSs = FLAT_KERNEL[abi].SS;
  vcpu.kernelSp = entry.rsp;
  vcpu.initialised = true;
  vcpu.online = true;
  startLegacyPeriodic(vcpu);
  vcpu.hv.online();
}

function openChannel(domain: XenDomain, port: number, frame: Mfn, serve: PvDomainSetup['console']): GuestChannel {
  const { mmu } = domain;
  let server: ChannelServer | null = null;
  let host: HostPort | null = null;
  const channel: GuestChannel = {
    page: {
      bytes() {
        if (domain.dying || !hostMayWrite(domain.mm, frame)) return undefined;
        // Pinned for the moment only: the server reads and writes before it returns.
        const bytes = mmu.pin(frame, 'write');
        mmu.unpin(frame);
        return bytes;
      },
    },
    port,
    frame,
    notify: () => void host?.notify(),
  };
  server = serve?.(channel, domain) ?? null;
  host = bindHost(domain, port, () => server?.kick());
  return channel;
}
