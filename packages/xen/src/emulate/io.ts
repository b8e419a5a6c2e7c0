/**
 * Port I/O of a PV guest without devices: ports that are not there read as all
 * ones, writes go nowhere. The PCI configuration address is remembered, as Xen
 * does, so that a probe finds a bus with nothing on it.
 */
import { VMASST_TYPE } from '@paravane/abi-xen';
import { Flag, Gpr, type PrivilegedInstruction, Seg } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { readGuest, writeGuest } from '../guest-memory.js';
import { kernelSpace } from '../mm/index.js';
import { hex, trace } from '../trace.js';
import { injectPageFault } from '../traps/exceptions.js';

const PCI_ADDRESS = 0xcf8;
const PF_WRITE_USER = 6;
const PF_READ_USER = 4;
/** Iterations of a REP done in one stop; the instruction is re-issued for more. */
const REP_LIMIT = 4096;

/** Whether the virtual IOPL lets the present mode do I/O. The kernel counts as ring 1; with the assist, as ring 0. */
export function ioplAllows({ guestKernel, iopl, domain }: XenVcpu): boolean {
  const kernelRing = domain.vmAssist & (1 << VMASST_TYPE.architectural_iopl) ? 0 : 1;
  return iopl >= (guestKernel ? kernelRing : 3);
}

/** Whether the guest lets its present mode use the ports: by virtual IOPL or by bitmap. */
function portsAllowed(vcpu: XenVcpu, port: number, bytes: number): boolean {
  if (ioplAllows(vcpu)) return true;
  const { address, ports } = vcpu.ioBitmap;
  // As Xen has it: the last port of the bitmap is of no use.
  if (address === 0n || port + bytes >= ports) return false;
  // The bitmap is the kernel's, and mapped nowhere else.
  const { mmu } = vcpu.domain;
  const space = kernelSpace(vcpu);
  const at = address + BigInt(port >> 3);
  const map = mmu.readVirtual(space, at, 2) ?? mmu.readVirtual(space, at, 1);
  if (!map) return false;
  const bits = (map[0] | ((map[1] ?? 0xff) << 8)) >> (port & 7);
  return (bits & ((1 << bytes) - 1)) === 0;
}

function readPort(vcpu: XenVcpu, port: number, bytes: number): number {
  const value = port === PCI_ADDRESS && bytes === 4 ? vcpu.domain.pciAddress : 0xffffffff;
  if (vcpu.domain.trace) trace(vcpu, `IOr ${hex(port)} ${bytes} rc0`);
  return value >>> 0;
}

function writePort(vcpu: XenVcpu, port: number, bytes: number, value: number): void {
  if (vcpu.domain.trace) trace(vcpu, `IOw ${hex(port)} ${bytes} ${hex(value >>> 0)} rc0`);
  if (port === PCI_ADDRESS && bytes === 4) vcpu.domain.pciAddress = value >>> 0;
}

const maskOf = (bytes: number): bigint => (1n << BigInt(bytes * 8)) - 1n;

/** IN and OUT; false means #GP. */
export function emulateInOut(vcpu: XenVcpu, instruction: PrivilegedInstruction): boolean {
  const { regs } = vcpu.core;
  const bytes = Math.min(instruction.width, 32) / 8;
  const port = instruction.immediate ? instruction.register & 0xff : Number(regs[Gpr.rdx] & 0xffffn);
  if (!portsAllowed(vcpu, port, bytes)) return false;
  if (instruction.mnemonic === 'OUT') {
    writePort(vcpu, port, bytes, Number(BigInt.asUintN(32, regs[Gpr.rax])));
    return true;
  }
  const value = BigInt(readPort(vcpu, port, bytes)) & maskOf(bytes);
  regs[Gpr.rax] = bytes === 4 ? value : (regs[Gpr.rax] & ~maskOf(bytes)) | value;
  return true;
}

/**
 * INS and OUTS, with REP. `again`: more iterations are left, RIP stays;
 * `faulted`: a page fault was injected.
 */
export function emulateStringIo(
  vcpu: XenVcpu,
  { mnemonic, rep, width }: PrivilegedInstruction,
): 'done' | 'again' | 'faulted' | 'refused' {
  const { core } = vcpu;
  const { regs } = core;
  const bytes = Math.min(width, 32) / 8;
  const port = Number(regs[Gpr.rdx] & 0xffffn);
  if (!portsAllowed(vcpu, port, bytes)) return 'refused';
  const isIn = mnemonic === 'INS';
  const register = isIn ? Gpr.rdi : Gpr.rsi;
  const short = core.mode === 32;
  const clip = (value: bigint): bigint => BigInt.asUintN(short ? 32 : 64, value);
  const base = short ? core.segment(isIn ? Seg.es : Seg.ds).base : 0n;
  const step = core.rflags & Flag.DF ? -BigInt(bytes) : BigInt(bytes);
  // Single-step traps behind each iteration.
  const limit = core.rflags & Flag.TF ? 1 : REP_LIMIT;
  for (let turn = 0; turn < limit; turn++) {
    if (rep && clip(regs[Gpr.rcx]) === 0n) return 'done';
    const address = clip(clip(regs[register]) + base);
    if (isIn) {
      const data = new Uint8Array(4);
      new DataView(data.buffer).setUint32(0, readPort(vcpu, port, bytes), true);
      if (!writeGuest(vcpu, address, data.subarray(0, bytes))) {
        injectPageFault(vcpu, PF_WRITE_USER, address);
        return 'faulted';
      }
    } else {
      const data = readGuest(vcpu, address, bytes);
      if (!data) {
        injectPageFault(vcpu, PF_READ_USER, address);
        return 'faulted';
      }
      writePort(
        vcpu,
        port,
        bytes,
        data.reduceRight((value, byte) => value * 256 + byte, 0),
      );
    }
    regs[register] = clip(regs[register] + step);
    if (!rep) return 'done';
    regs[Gpr.rcx] = clip(regs[Gpr.rcx] - 1n);
  }
  return clip(regs[Gpr.rcx]) === 0n ? 'done' : 'again';
}
