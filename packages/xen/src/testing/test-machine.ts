/** For tests: a machine whose processors run a script of exits in place of instructions. */
import { readKernelImage } from '@paravane/domain-builder';
import {
  type Engine,
  type Exit,
  type ExitReason,
  PERSONAL_BYTES,
  type PrivilegedInstruction,
  Seg,
  type Segment,
  type VcpuCore,
} from '@paravane/engine-api';
import { helloKernel } from '@paravane/guest-stubs';
import { createHypervisor, type Hypervisor, type HypervisorOptions } from '@paravane/hypervisor';
import { createMmu, emptySpace } from '@paravane/mmu';
import { type DomId } from '@paravane/types';
import { createPvDomain, type PvDomain, type PvDomainSetup } from '../create.js';
import type { XenVcpu } from '../domain.js';
import { createXenPersonality, type XenPersonality } from '../personality.js';

export type Step = (core: VcpuCore) => Partial<Exit> & { reason: ExitReason; instructions?: number };

export interface ScriptedCore extends VcpuCore {
  /** Exits to come; without one the core uses its budget up. */
  readonly script: Step[];
}

function createScriptedCore(): ScriptedCore {
  const exit: Exit = { reason: 'budget', vector: 0, errorCode: -1, address: 0n, length: 0, dr6: 0, instruction: null };
  let count = 0;
  const script: Step[] = [];
  const segments: Segment[] = Array.from({ length: 6 }, () => ({ base: 0n, limit: 0xffffffff, rights: 0xc0f3 }));
  return {
    script,
    regs: new BigUint64Array(16),
    rip: 0n,
    rflags: 2,
    selectors: new Uint16Array(6),
    fsBase: 0n,
    gsBase: 0n,
    cr0: 0,
    cr4: 0,
    xcr0: 1,
    mode: 64,
    get count() {
      return count;
    },
    tscRatio: 1,
    tscOffset: 0,
    tscAux: 0,
    spaces: [emptySpace(0 as DomId), emptySpace(0 as DomId)],
    activeSpace: 0,
    get space() {
      return this.spaces[this.activeSpace]!;
    },
    set space(space) {
      this.spaces[this.activeSpace] = space;
    },
    personal: new DataView(new ArrayBuffer(PERSONAL_BYTES)),
    transitionFrame: 0,
    run(budget) {
      const step = script.shift();
      Object.assign(exit, {
        reason: 'budget',
        vector: 0,
        errorCode: -1,
        address: 0n,
        length: 0,
        dr6: 0,
        instruction: null,
      });
      if (!step) {
        count += budget;
        return exit;
      }
      const { instructions = 1, ...rest } = step(this);
      count += instructions;
      return Object.assign(exit, rest);
    },
    debug: new BigUint64Array(8),
    segment: (register) => segments[register]!,
    setSegment(register, selector, segment) {
      segments[register] = segment;
      this.selectors[register] = selector;
      if (register === Seg.fs) this.fsBase = segment.base;
      if (register === Seg.gs) this.gsBase = segment.base;
    },
    get codeAddress() {
      return this.rip;
    },
    debugTrap: () => 0,
    runEmulatingStore: () => null,
    readFxState: () => new Uint8Array(512),
    writeFxState: () => undefined,
    save: () => new Uint8Array(8),
    restore: () => undefined,
  };
}

export interface TestGuest {
  readonly hypervisor: Hypervisor;
  readonly personality: XenPersonality;
  readonly pv: PvDomain;
  readonly vcpu: XenVcpu;
  readonly core: ScriptedCore;
  /** Makes a hypercall through the personality's exit handler, as often as it is re-issued; the result as a signed number. */
  call(number: number, ...args: (number | bigint)[]): bigint;
  /** Writes 64-bit words into fresh scratch space of the guest; their address. */
  put(...words: (number | bigint)[]): bigint;
  putBytes(bytes: Uint8Array): bigint;
  peek(address: bigint): bigint;
  peekBytes(address: bigint, length: number): Uint8Array;
  /** Virtual and pseudo-physical address of a whole free page of the guest, and its frame. */
  page(): { address: bigint; frame: number };
  exit(exit: Partial<Exit> & { reason: ExitReason }, vcpu?: XenVcpu): void;
  privileged(instruction: Partial<PrivilegedInstruction> & Pick<PrivilegedInstruction, 'mnemonic'>): void;
}

export const PRIVILEGED: PrivilegedInstruction = {
  mnemonic: 'HLT',
  length: 2,
  width: 64,
  register: 0,
  gpr: 0,
  immediate: false,
  rep: false,
  selector: 0,
  offset: 0n,
};

export function createTestHypervisor(options: Partial<HypervisorOptions> = {}): {
  hypervisor: Hypervisor;
  personality: XenPersonality;
} {
  const mmu = createMmu({ frames: 4096, coreBytes: 1 << 20 });
  const engine: Engine = {
    name: 'scripted',
    createVcpu: createScriptedCore,
    disassemble: () => ({ text: '??', length: 1 }),
    stats: () => ({}),
  };
  const hypervisor = createHypervisor({ mmu, engine, clock: 'virtual', ...options });
  return { hypervisor, personality: createXenPersonality(hypervisor.services) };
}

export function createTestGuest(
  setup: Partial<PvDomainSetup> = {},
  on: { hypervisor: Hypervisor; personality: XenPersonality } = createTestHypervisor(),
): TestGuest {
  const { hypervisor, personality } = on;
  const pv = createPvDomain(hypervisor, personality, {
    name: 'test',
    image: readKernelImage(helloKernel()),
    memoryPages: 1024,
    maxPages: 1100,
    ...setup,
  });
  pv.unpause();
  const [vcpu] = pv.xen.vcpus;
  const core = vcpu.core as ScriptedCore;
  const { mmu } = hypervisor;
  // The top of the initial mapping is free memory; the boot stack's page gives the base.
  let scratch = freeMemory(pv, vcpu);
  const exitOf = (part: Partial<Exit> & { reason: ExitReason }): Exit => ({
    vector: 0,
    errorCode: -1,
    address: 0n,
    length: 0,
    dr6: 0,
    instruction: null,
    ...part,
  });
  const guest: TestGuest = {
    hypervisor,
    personality,
    pv,
    vcpu,
    core,
    call(number, ...args) {
      const { is64 } = pv.xen;
      const width = is64 ? 64 : 32;
      const registers = is64 ? [7, 6, 2, 10, 8, 9] : [3, 1, 2, 6, 7, 5];
      for (const [index, register] of registers.entries())
        core.regs[register] = BigInt.asUintN(width, BigInt(args[index] ?? 0));
      core.regs[0] = BigInt.asUintN(width, BigInt(number));
      const stop = is64
        ? ({ reason: 'syscall' } as const)
        : ({ reason: 'interrupt', vector: 0x82, length: 2 } as const);
      for (let turn = 0; turn < 100_000; turn++) {
        const rip = core.rip;
        personality.handleExit(vcpu.hv, exitOf(stop));
        if (core.rip !== BigInt.asUintN(width, rip - 2n)) return BigInt.asIntN(width, core.regs[0]);
        core.rip = rip;
      }
      throw new Error('a hypercall was re-issued without end');
    },
    put(...words) {
      const bytes = new Uint8Array(words.length * 8);
      const view = new DataView(bytes.buffer);
      words.forEach((word, index) => view.setBigUint64(index * 8, BigInt.asUintN(64, BigInt(word)), true));
      return guest.putBytes(bytes);
    },
    putBytes(bytes) {
      const address = scratch;
      scratch += BigInt((bytes.length + 15) & ~15);
      if (!mmu.writeVirtual(core.space, address, bytes)) throw new Error('the test ran out of scratch memory');
      return address;
    },
    peek: (address) => new DataView(guest.peekBytes(address, 8).buffer).getBigUint64(0, true),
    peekBytes(address, length) {
      const bytes = mmu.readVirtual(core.space, address, length);
      if (!bytes) throw new Error(`nothing at ${address.toString(16)}`);
      return bytes;
    },
    page() {
      scratch = (scratch + 4095n) & ~4095n;
      const address = scratch;
      scratch += 4096n;
      const maddr = mmu.translate(core.space, address, 'write');
      if (maddr === null) throw new Error('the test ran out of pages');
      return { address, frame: maddr / 4096 };
    },
    exit: (part, who = vcpu) => personality.handleExit(who.hv, exitOf(part)),
    privileged: (instruction) =>
      personality.handleExit(vcpu.hv, exitOf({ reason: 'privileged', instruction: { ...PRIVILEGED, ...instruction } })),
  };
  return guest;
}

/** The first page after the boot stack: mapped, writable, and nobody's. */
function freeMemory(_pv: PvDomain, vcpu: XenVcpu): bigint {
  return (vcpu.kernelSp + 4095n) & ~4095n;
}
