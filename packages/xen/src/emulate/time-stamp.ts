/**
 * RDTSC and RDTSCP of a kernel that has set CR4.TSD: what it keeps from its programs faults in the kernel too, which has
 * no ring of its own, and is carried out there (arch/x86/pv/emul-priv-op.c).
 */
import { Gpr, timeStamp } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { readGuest } from '../guest-memory.js';
import { hasTscAux } from './cpuid.js';

const CR4_TSD = 4;
const RDTSC = [0x0f, 0x31];
const RDTSCP = [0x0f, 0x01, 0xf9];

/** At #GP: carries the instruction out, if it is one of these, and goes on behind it. */
export function emulateTimeStamp(vcpu: XenVcpu): boolean {
  const { core, guestKernel, guestCr4 } = vcpu;
  if (!guestKernel || !(guestCr4 & CR4_TSD)) return false;
  const isAt = (code: readonly number[]): boolean => {
    const bytes = readGuest(vcpu, core.codeAddress, code.length);
    return bytes !== null && code.every((byte, i) => bytes[i] === byte);
  };
  const isPlain = isAt(RDTSC);
  // Xen reads TSC_AUX as RDMSR does.
  if (!isPlain && !(hasTscAux(vcpu.domain.cpu) && isAt(RDTSCP))) return false;
  const value = timeStamp(core);
  core.regs[Gpr.rax] = value & 0xffffffffn;
  core.regs[Gpr.rdx] = (value >> 32n) & 0xffffffffn;
  if (!isPlain) core.regs[Gpr.rcx] = BigInt(core.tscAux >>> 0);
  const length = BigInt((isPlain ? RDTSC : RDTSCP).length);
  core.rip = BigInt.asUintN(core.mode === 64 ? 64 : 32, core.rip + length);
  return true;
}
