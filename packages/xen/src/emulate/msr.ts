/**
 * Model-specific registers as a PV guest of Xen sees them on an AMD processor
 * (arch/x86/msr.c, pv/emul-priv-op.c, cpu/mcheck/vmce.c). A register that is
 * not listed faults.
 */
import { XEN_HYPERCALL_MSR } from '@paravane/abi-xen';
import { hypercallPage32, hypercallPage64 } from '@paravane/domain-builder';
import { Gpr, timeStamp, Vector } from '@paravane/engine-api';
import { FrameType } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import type { XenVcpu } from '../domain.js';
import { getPageAndType, putPageAndType } from '../mm/index.js';
import { hex, trace } from '../trace.js';
import { isCanonical } from '../traps/segments.js';
import { hasTscAux } from './cpuid.js';

export const Msr = {
  TSC: 0x10,
  APIC_BASE: 0x1b,
  PATCH_LEVEL: 0x8b,
  PLATFORM_INFO: 0xce,
  MISC_FEATURES_ENABLES: 0x140,
  MCG_CAP: 0x179,
  MCG_STATUS: 0x17a,
  MC0_CTL: 0x400,
  PAT: 0x277,
  EFER: 0xc0000080,
  FS_BASE: 0xc0000100,
  GS_BASE: 0xc0000101,
  SHADOW_GS_BASE: 0xc0000102,
  TSC_AUX: 0xc0000103,
  DE_CFG: 0xc0011029,
} as const;

/** What is read, by register. */
const FIXED: ReadonlyMap<number, bigint> = new Map([
  [Msr.PATCH_LEVEL, 0x1000065n],
  [Msr.PAT, 0x50100070406n],
  // With the bit that makes LFENCE serialising.
  [Msr.DE_CFG, 2n],
  // Two banks of machine checks.
  [Msr.MCG_CAP, 2n],
]);
/** Registers that read as zero: first and last. */
const ZEROS: readonly (readonly [number, number])[] = [
  // P5_MC_ADDR and P5_MC_TYPE; MCG_STATUS and MCG_CTL; MCx_CTL2 and the banks of machine checks.
  [0x0, 0x1],
  [0x17a, 0x17b],
  [0x280, 0x29f],
  [0x400, 0x47f],
  // PERF_CAPABILITIES.
  [0x345, 0x345],
  // The performance counters, which are off: of the K7 and of family 15h.
  [0xc0010000, 0xc0010007],
  [0xc0010200, 0xc001020b],
  // HWCR, NB_CFG, FIDVID, P-states.
  [0xc0010015, 0xc0010015],
  [0xc001001f, 0xc001001f],
  [0xc0010041, 0xc0010042],
  [0xc0010061, 0xc001006b],
];
/** Registers that take what is written to them and forget it: first and last. */
const FORGOTTEN: readonly (readonly [number, number])[] = [
  // MPERF and APERF.
  [0xe7, 0xe8],
  [0x179, 0x17b],
  [0x280, 0x29f],
  [0x400, 0x47f],
  [0xc0010000, 0xc0010007],
  [0xc0010200, 0xc001020b],
  [0xc0010015, 0xc0010015],
  [0xc001001f, 0xc001001f],
  [0xc0010041, 0xc0010042],
  [0xc0010061, 0xc001006b],
  [Msr.DE_CFG, Msr.DE_CFG],
];
/** Registers of the processor that Xen refuses, but to a guest that has no handler for the fault yet: it reads zero. */
const REFUSED: readonly (readonly [number, number])[] = [
  // SYSENTER; DEBUGCTL and the last branch; the MTRRs.
  [0x174, 0x176],
  [0x1d9, 0x1de],
  [0xfe, 0xfe],
  [0x200, 0x20f],
  [0x250, 0x250],
  [0x258, 0x259],
  [0x268, 0x26f],
  [0x2ff, 0x2ff],
  // STAR, LSTAR, CSTAR, SFMASK; SYSCFG, IORRs and the tops of memory; VM_CR.
  [0xc0000081, 0xc0000084],
  [0xc0010010, 0xc0010010],
  [0xc0010016, 0xc001001a],
  [0xc001001d, 0xc001001d],
  [0xc0010114, 0xc0010114],
];
const isIn = (ranges: readonly (readonly [number, number])[], index: number): boolean =>
  ranges.some(([first, last]) => index >= first && index <= last);

/** SCE, LME, LMA, NXE; a 32-bit guest sees nothing of long mode. */
const EFER = { 64: 0xd01n, 32: 0x801n } as const;
const APIC_ENABLED_BASE = 0xfee00800n;
const BOOT_PROCESSOR = 0x100n;
/** PLATFORM_INFO: CPUID can be made to fault in programs. MISC_FEATURES_ENABLES: it does. */
const CPUID_FAULTING = { offered: 1n << 31n, enabled: 1n } as const;
/** Banks of machine checks. */
const BANKS = 2;

const efer = ({ domain }: XenVcpu): bigint => EFER[domain.is64 ? 64 : 32];
/** MCx_CTL of a bank that there is reads as all ones. */
const isBankControl = (index: number): boolean =>
  index >= Msr.MC0_CTL && index < Msr.MC0_CTL + 4 * BANKS && (index & 3) === 0;

function readMsr(vcpu: XenVcpu, index: number): bigint | null {
  const { core, domain } = vcpu;
  switch (index) {
    case Msr.TSC:
      return timeStamp(core);
    case Msr.APIC_BASE:
      return APIC_ENABLED_BASE | (vcpu.id === 0 ? BOOT_PROCESSOR : 0n);
    case Msr.PLATFORM_INFO:
      return CPUID_FAULTING.offered;
    case Msr.MISC_FEATURES_ENABLES:
      return vcpu.cpuidFaulting ? CPUID_FAULTING.enabled : 0n;
    case Msr.EFER:
      return efer(vcpu);
    case Msr.FS_BASE:
      return domain.is64 ? core.fsBase : null;
    case Msr.GS_BASE:
      return domain.is64 ? core.gsBase : null;
    case Msr.SHADOW_GS_BASE:
      return domain.is64 ? vcpu.gsBaseOther : null;
    case Msr.TSC_AUX:
      return hasTscAux(domain.cpu) ? BigInt(core.tscAux >>> 0) : null;
    case XEN_HYPERCALL_MSR:
      return 0n;
    default:
      if (isBankControl(index)) return 0xffffffffffffffffn;
      return FIXED.get(index) ?? (isIn(ZEROS, index) ? 0n : null);
  }
}

function writeMsr(vcpu: XenVcpu, index: number, value: bigint): boolean {
  const { core } = vcpu;
  switch (index) {
    case Msr.FS_BASE:
    case Msr.GS_BASE:
    case Msr.SHADOW_GS_BASE:
      if (!vcpu.domain.is64 || !isCanonical(value)) return false;
      if (index === Msr.FS_BASE) core.fsBase = value;
      else if (index === Msr.GS_BASE) core.gsBase = value;
      else vcpu.gsBaseOther = value;
      return true;
    case Msr.TSC_AUX:
      if (!hasTscAux(vcpu.domain.cpu) || value >> 32n !== 0n) return false;
      core.tscAux = Number(value);
      return true;
    case Msr.EFER:
      // Kernels write back what they read.
      return value === efer(vcpu);
    case Msr.MISC_FEATURES_ENABLES:
      if ((value & ~CPUID_FAULTING.enabled) !== 0n) return false;
      vcpu.cpuidFaulting = value !== 0n;
      return true;
    case XEN_HYPERCALL_MSR:
      return writeHypercallPage(vcpu, value);
    default:
      return isIn(FORGOTTEN, index);
  }
}

/** Fills a page of the guest, named by its machine address, with the stubs of all hypercalls. */
function writeHypercallPage({ domain }: XenVcpu, claimedAddress: bigint): boolean {
  const { mm, mmu } = domain;
  const claimedFrame = Number(claimedAddress >> 12n);
  if ((claimedAddress & 0xfffn) !== 0n || getPageAndType(mm, claimedFrame, FrameType.writable) !== 0) return false;
  mmu.write(claimedFrame as Mfn, 0, domain.is64 ? hypercallPage64() : hypercallPage32());
  putPageAndType(mm, claimedFrame);
  return true;
}

const indexOf = (vcpu: XenVcpu): number => Number(BigInt.asUintN(32, vcpu.core.regs[Gpr.rcx]));

/** RDMSR; false means #GP. */
export function emulateRdmsr(vcpu: XenVcpu): boolean {
  const { regs } = vcpu.core;
  const index = indexOf(vcpu);
  const value = readMsr(vcpu, index) ?? (vcpu.traps[Vector.GP]!.address === 0n && isIn(REFUSED, index) ? 0n : null);
  if (vcpu.domain.trace) trace(vcpu, `MSRr ${hex(index)} ${hex(value ?? 0n)} rc${value === null ? 1 : 0}`);
  if (value === null) return false;
  regs[Gpr.rax] = value & 0xffffffffn;
  regs[Gpr.rdx] = value >> 32n;
  return true;
}

/** WRMSR; false means #GP. */
export function emulateWrmsr(vcpu: XenVcpu): boolean {
  const { regs } = vcpu.core;
  const index = indexOf(vcpu);
  const value = (BigInt.asUintN(32, regs[Gpr.rdx]) << 32n) | BigInt.asUintN(32, regs[Gpr.rax]);
  const done = writeMsr(vcpu, index, value);
  if (vcpu.domain.trace) trace(vcpu, `MSRw ${hex(index)} ${hex(value)} rc${done ? 0 : 1}`);
  return done;
}
