/**
 * What CPUID tells a guest: the features that the core implements, shown as
 * an AMD processor, and Xen's own leaves at 0x40000000 (public/arch-x86/cpuid.h).
 */
import {
  XEN_CPUID_FIRST_LEAF,
  XEN_CPUID_SIGNATURE_EBX,
  XEN_CPUID_SIGNATURE_ECX,
  XEN_CPUID_SIGNATURE_EDX,
  XEN_HYPERCALL_MSR,
} from '@paravane/abi-xen';
import { Gpr } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { hex, trace } from '../trace.js';

/** Feature words that the core implements, in CPUID's own layout. */
export interface CpuFeatures {
  /** Leaf 1. */
  readonly leaf1Edx: number;
  readonly leaf1Ecx: number;
  /** Leaf 7, sub-leaf 0. */
  readonly leaf7Ebx: number;
  readonly leaf7Ecx: number;
  readonly leaf7Edx: number;
  /** Leaf 0x80000001. */
  readonly extendedEdx: number;
  readonly extendedEcx: number;
  /** XCR0 bits that may be set; 0 where there is no XSAVE. */
  readonly xcr0: number;
  /** Leaf 0xD, sub-leaf 1. */
  readonly leafD1Eax?: number;
  /** Family, model, stepping as in leaf 1 EAX. */
  readonly signature?: number;
  /** Up to 47 characters. */
  readonly brand?: string;
}

/** FPU DE TSC MSR PAE MCE CX8 APIC MCA CMOV PAT CLFLUSH MMX FXSR SSE SSE2; SYSCALL NX LM: the least that 64-bit guests take. */
export const BASELINE_FEATURES: CpuFeatures = {
  leaf1Edx: 0x0789c3f5,
  leaf1Ecx: 0,
  leaf7Ebx: 0,
  leaf7Ecx: 0,
  leaf7Edx: 0,
  extendedEdx: 0x20100800,
  extendedEcx: 1,
  xcr0: 0,
};

export interface CpuPolicy {
  readonly features: CpuFeatures;
  readonly brand: readonly number[];
}

const XSAVE = 1 << 26;
const OSXSAVE = 1 << 27;
const HYPERVISOR = 1 << 31;
/** Bits of leaf 1 EDX that AMD repeats in 0x80000001 EDX. */
const REPEATED = 0x0183f3ff;
const CR4_OSXSAVE = 0x40000;
const XEN_VERSION = (4 << 16) | 17;
const DEFAULT_SIGNATURE = 0x60fb1;

/** Leaf 0x80000021 EAX (AMD APM vol. 3, appendix E): the core does both. */
const LFENCE_WAITS = 1 << 2;
const NULL_CLEARS_BASE = 1 << 6;

const RDTSCP = 1 << 27;
const RDPID = 1 << 22;
/** Whether the guest is shown an instruction that reads IA32_TSC_AUX: only then it has that register. */
export const hasTscAux = ({ features: { extendedEdx, leaf7Ecx } }: CpuPolicy): boolean =>
  (extendedEdx & RDTSCP) !== 0 || (leaf7Ecx & RDPID) !== 0;

const signatureOf = (features: CpuFeatures): number => features.signature ?? DEFAULT_SIGNATURE;
/** The family of the processor that is shown, with what leaf 1 says beside 15. */
export function familyOf({ features }: CpuPolicy): number {
  const signature = signatureOf(features);
  const family = (signature >>> 8) & 0xf;
  return family === 0xf ? family + ((signature >>> 20) & 0xff) : family;
}

export function createCpuPolicy(features: CpuFeatures): CpuPolicy {
  const text = (features.brand ?? 'Paravane Virtual CPU').slice(0, 47).padEnd(48, '\0');
  const brand: number[] = [];
  for (let at = 0; at < 48; at += 4) {
    let word = 0;
    for (let byte = 3; byte >= 0; byte--) word = (word << 8) | (text.charCodeAt(at + byte) & 0xff);
    brand.push(word >>> 0);
  }
  return { features, brand };
}

export type CpuidResult = [eax: number, ebx: number, ecx: number, edx: number];

const VENDOR: CpuidResult = [0, 0x68747541, 0x444d4163, 0x69746e65];
const zero = (): CpuidResult => [0, 0, 0, 0];

function basicLeaf(vcpu: XenVcpu, leaf: number, subLeaf: number): CpuidResult {
  const { features } = vcpu.domain.cpu;
  const hasXsave = (features.leaf1Ecx & XSAVE) !== 0;
  switch (leaf) {
    case 0:
      return [hasXsave ? 0xd : 7, VENDOR[1], VENDOR[2], VENDOR[3]];
    case 1: {
      let ecx = (features.leaf1Ecx & ~OSXSAVE) | HYPERVISOR;
      // A kernel sees OSXSAVE of Xen itself, its programs that of their kernel: PV kernels take it for leave to set it.
      if (hasXsave && (vcpu.guestKernel || vcpu.guestCr4 & CR4_OSXSAVE)) ecx |= OSXSAVE;
      return [signatureOf(features), 0x800, ecx, features.leaf1Edx];
    }
    case 7:
      return subLeaf === 0 ? [0, features.leaf7Ebx, features.leaf7Ecx, features.leaf7Edx] : zero();
    case 0xd:
      return hasXsave ? xsaveLeaf(vcpu, subLeaf) : zero();
    default:
      return zero();
  }
}

/** Leaf 0xD: areas of the extended state, for x87, SSE and AVX (Intel SDM vol. 1, 13.2). */
function xsaveLeaf(vcpu: XenVcpu, subLeaf: number): CpuidResult {
  const { xcr0, leafD1Eax = 0 } = vcpu.domain.cpu.features;
  const size = (bits: number): number => (bits & 4 ? 0x340 : 0x240);
  if (subLeaf === 0) return [xcr0, size(vcpu.core.xcr0), size(xcr0), 0];
  if (subLeaf === 1) return [leafD1Eax, 0, 0, 0];
  return subLeaf === 2 && xcr0 & 4 ? [0x100, 0x240, 0, 0] : zero();
}

function extendedLeaf(vcpu: XenVcpu, leaf: number): CpuidResult {
  const { features, brand } = vcpu.domain.cpu;
  switch (leaf) {
    case 0x80000000:
      return [0x80000021, VENDOR[1], VENDOR[2], VENDOR[3]];
    case 0x80000001:
      return [signatureOf(features), 0, features.extendedEcx, features.extendedEdx | (features.leaf1Edx & REPEATED)];
    case 0x80000002:
    case 0x80000003:
    case 0x80000004:
      return brand.slice((leaf - 0x80000002) * 4, (leaf - 0x80000001) * 4) as CpuidResult;
    case 0x80000005:
      return [0x01ff01ff, 0x01ff01ff, 0x40020140, 0x40020140];
    case 0x80000006:
      return [0, 0x42004200, 0x02008140, 0x00808140];
    case 0x80000008:
      return [0x3028, 0, 0, 0];
    case 0x80000021:
      return [LFENCE_WAITS | NULL_CLEARS_BASE, 0, 0, 0];
    default:
      return zero();
  }
}

function xenLeaf(vcpu: XenVcpu, leaf: number, subLeaf: number): CpuidResult {
  const { tscKhz } = vcpu.domain.machine.services;
  switch (leaf - XEN_CPUID_FIRST_LEAF) {
    case 0:
      return [XEN_CPUID_FIRST_LEAF + 5, XEN_CPUID_SIGNATURE_EBX, XEN_CPUID_SIGNATURE_ECX, XEN_CPUID_SIGNATURE_EDX];
    case 1:
      return [XEN_VERSION, 0, 0, 0];
    case 2:
      return [1, XEN_HYPERCALL_MSR, 1, 0];
    case 3:
      if (subLeaf === 0) return [2, 2, tscKhz, 0];
      if (subLeaf === 1) return [0, 0, 0x80000000, 1];
      return subLeaf === 2 ? [tscKhz, 0, 0, 0] : zero();
    case 5:
      return subLeaf === 0 ? [0, 32, 0, 0] : zero();
    default:
      return zero();
  }
}

export function cpuid(vcpu: XenVcpu, leaf: number, subLeaf: number): CpuidResult {
  if (leaf >= XEN_CPUID_FIRST_LEAF && leaf < XEN_CPUID_FIRST_LEAF + 0x10000) return xenLeaf(vcpu, leaf, subLeaf);
  return leaf >= 0x80000000 ? extendedLeaf(vcpu, leaf) : basicLeaf(vcpu, leaf, subLeaf);
}

/** Answers the CPUID whose operands are in the registers. */
export function emulateCpuid(vcpu: XenVcpu, traced: boolean): void {
  const { regs } = vcpu.core;
  const leaf = Number(BigInt.asUintN(32, regs[Gpr.rax]));
  const subLeaf = Number(BigInt.asUintN(32, regs[Gpr.rcx]));
  const result = cpuid(vcpu, leaf, subLeaf);
  if (traced && vcpu.domain.trace) {
    trace(vcpu, `CPUID ${hex(leaf)} ${hex(subLeaf)} = ${result.map((word) => hex(word >>> 0)).join(' ')}`);
  }
  regs[Gpr.rax] = BigInt(result[0] >>> 0);
  regs[Gpr.rbx] = BigInt(result[1] >>> 0);
  regs[Gpr.rcx] = BigInt(result[2] >>> 0);
  regs[Gpr.rdx] = BigInt(result[3] >>> 0);
}

/** The CPUID behind a forced-emulation prefix at RIP; false, with RIP behind the prefix, where it faults in programs. */
export function emulateForcedCpuid(vcpu: XenVcpu): boolean {
  const faults = vcpu.cpuidFaulting && !vcpu.guestKernel;
  if (!faults) emulateCpuid(vcpu, true);
  vcpu.core.rip = BigInt.asUintN(64, vcpu.core.rip + (faults ? 5n : 7n));
  return !faults;
}
