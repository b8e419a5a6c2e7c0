/**
 * Model-specific registers as a PV guest of Xen sees them on an AMD processor.
 * A register that is not listed faults.
 */
import { Gpr } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { hex, trace } from '../trace.js';
import { isCanonical } from '../traps/set.js';

const Msr = {
  TSC: 0x10,
  APIC_BASE: 0x1b,
  UCODE_REV: 0x8b,
  MISC_ENABLE: 0x1a0,
  DEBUGCTL: 0x1d9,
  PAT: 0x277,
  EFER: 0xc0000080,
  FS_BASE: 0xc0000100,
  GS_BASE: 0xc0000101,
  SHADOW_GS_BASE: 0xc0000102,
  TSC_AUX: 0xc0000103,
} as const;

/** Fixed answers; writes to these are taken and forgotten. */
const FIXED: ReadonlyMap<number, bigint> = new Map([
  [Msr.UCODE_REV, 0x1000065n],
  [Msr.MISC_ENABLE, 0n],
  [Msr.DEBUGCTL, 0n],
  [Msr.PAT, 0x50100070406n],
  // HWCR, the performance counters of family 10h, and DE_CFG with its serialising bit.
  [0xc0010015, 0n],
  [0xc0010000, 0n],
  [0xc0010001, 0n],
  [0xc0010002, 0n],
  [0xc0010003, 0n],
  [0xc0010004, 0n],
  [0xc0010005, 0n],
  [0xc0010006, 0n],
  [0xc0010007, 0n],
  [0xc0011029, 2n],
  // Machine check: no banks.
  [0x179, 0n],
  [0x17a, 0n],
  // NB_CFG and the patch loader.
  [0xc001001f, 0n],
  [0xc0010020, 0n],
]);
/** LME, LMA, NXE, SCE. */
const EFER = 0xd01n;
/** Boot processor, APIC at its usual place, not enabled. */
const APIC_BASE = 0xfee00100n;

function readMsr(vcpu: XenVcpu, index: number): bigint | null {
  const { core } = vcpu;
  switch (index) {
    case Msr.TSC:
      return BigInt(Math.floor(core.count * core.tscRatio + core.tscOffset));
    case Msr.APIC_BASE:
      return APIC_BASE;
    case Msr.EFER:
      return EFER;
    case Msr.FS_BASE:
      return core.fsBase;
    case Msr.GS_BASE:
      return core.gsBase;
    case Msr.SHADOW_GS_BASE:
      return vcpu.gsBaseOther;
    case Msr.TSC_AUX:
      return BigInt(core.tscAux >>> 0);
    default:
      return FIXED.get(index) ?? null;
  }
}

function writeMsr(vcpu: XenVcpu, index: number, value: bigint): boolean {
  const { core } = vcpu;
  switch (index) {
    case Msr.FS_BASE:
      if (!isCanonical(value)) return false;
      core.fsBase = value;
      return true;
    case Msr.GS_BASE:
      if (!isCanonical(value)) return false;
      core.gsBase = value;
      return true;
    case Msr.SHADOW_GS_BASE:
      if (!isCanonical(value)) return false;
      vcpu.gsBaseOther = value;
      return true;
    case Msr.TSC_AUX:
      if (value >> 32n !== 0n) return false;
      core.tscAux = Number(value);
      return true;
    case Msr.TSC:
    case Msr.EFER:
    case Msr.APIC_BASE:
      return true;
    default:
      return FIXED.has(index);
  }
}

const indexOf = (vcpu: XenVcpu): number => Number(BigInt.asUintN(32, vcpu.core.regs[Gpr.rcx]));

/** RDMSR; false means #GP. */
export function emulateRdmsr(vcpu: XenVcpu): boolean {
  const { regs } = vcpu.core;
  const index = indexOf(vcpu);
  const value = readMsr(vcpu, index);
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
