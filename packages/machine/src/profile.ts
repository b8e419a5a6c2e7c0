/**
 * Where a guest spends its instructions, from samples at counts of instructions: they fall at the same places in equal
 * runs, and the guest can't see them. What is hot is told by the kernel's symbols, and by the page where there is none.
 */
import type { KernelSymbols } from '@paravane/domain-builder';
import type { Engine } from '@paravane/engine-api';
import type { Vcpu } from '@paravane/personality-api';
import type { HotSpot } from '@paravane/toolstack';
import type { XenDomain } from '@paravane/xen';

/** Instructions between two samples: a prime, so that no loop keeps step with it. */
export const PROFILE_INTERVAL = 1_000_003;
/** Addresses that are told apart; what comes to others later is counted together. */
const MOST_ADDRESSES = 50_000;
const SHOWN = 12;

export interface GuestProfile {
  sample(vcpu: Vcpu): void;
  /** The hottest places, with their shares of all instructions. */
  hottest(symbols: KernelSymbols | undefined): HotSpot[];
  /** Share of instructions that access memory; 0 before the first sample. */
  readonly accessing: number;
}

/** @param xen the domain that the vCPUs belong to */
export function createGuestProfile(engine: Engine, xen: () => XenDomain): GuestProfile {
  const places = { kernel: new Map<bigint, number>(), user: new Map<bigint, number>() };
  let samples = 0;
  let accesses = 0;
  return {
    sample({ core }) {
      samples++;
      const kernel = xen().vcpus.some((vcpu) => vcpu.core === core && vcpu.guestKernel);
      const counts = kernel ? places.kernel : places.user;
      const address = kernel ? core.rip : core.rip & ~0xfffn;
      const known = counts.get(address);
      if (known !== undefined || counts.size < MOST_ADDRESSES) counts.set(address, (known ?? 0) + 1);
      if (accessesMemory(engine.disassemble(core, core.rip).text)) accesses++;
    },
    hottest(symbols) {
      const named = new Map<string, number>();
      const count = (where: string, times: number): void => void named.set(where, (named.get(where) ?? 0) + times);
      for (const [address, times] of places.kernel) {
        count(symbols?.lookup(address)?.name ?? `kernel, page 0x${(address & ~0xfffn).toString(16)}`, times);
      }
      for (const [page, times] of places.user) count(`program, page 0x${page.toString(16)}`, times);
      return [...named]
        .sort(([, a], [, b]) => b - a)
        .slice(0, SHOWN)
        .map(([where, times]) => ({ where, share: times / samples }));
    },
    get accessing() {
      return samples === 0 ? 0 : accesses / samples;
    },
  };
}

const WITHOUT_ACCESS = /^(lea|nop|prefetch|endbr|ud)/;
const BY_STACK = /^(push|pop|call|ret|leave|enter|iret)/;
const BY_STRING = /(movs|stos|lods|cmps|scas)[bwdq]?\b/;

export function accessesMemory(text: string): boolean {
  const instruction = text.toLowerCase().replace(/^(lock |rep\w* )+/, '');
  if (WITHOUT_ACCESS.test(instruction)) return false;
  return instruction.includes('[') || BY_STACK.test(instruction) || BY_STRING.test(instruction);
}
