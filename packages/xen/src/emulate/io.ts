/**
 * Port I/O of a PV guest without devices: ports that are not there read as all
 * ones, writes go nowhere. The PCI configuration address and the index of the clock's
 * registers are remembered, as Xen does, so that a probe finds a bus with nothing on it.
 */
import { VMASST_TYPE } from '@paravane/abi-xen';
import { Flag, Gpr, type PrivilegedInstruction, Seg, Vector } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { addressOk, readGuest, writeGuest } from '../guest-memory.js';
import { kernelSpace } from '../mm/index.js';
import { hex, trace } from '../trace.js';
import { injectException, injectPageFault } from '../traps/exceptions.js';
import { instructionAt } from './instruction.js';

const PCI_ADDRESS = 0xcf8;
const RTC_INDEX = 0x70;
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
  if (port + bytes > ports) return false;
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
  const { pciAddress, rtcIndex } = vcpu.domain;
  if (vcpu.domain.trace) trace(vcpu, `IOr ${hex(port)} ${bytes} rc0`);
  if (port === PCI_ADDRESS && bytes === 4) return pciAddress >>> 0;
  let value = 0;
  for (let at = bytes - 1; at >= 0; at--) value = (value << 8) | (port + at === RTC_INDEX ? rtcIndex : 0xff);
  return value >>> 0;
}

function writePort(vcpu: XenVcpu, port: number, bytes: number, value: number): void {
  const { domain } = vcpu;
  if (domain.trace) trace(vcpu, `IOw ${hex(port)} ${bytes} ${hex(value >>> 0)} rc0`);
  if (port === PCI_ADDRESS && bytes === 4) domain.pciAddress = value >>> 0;
  else if (port <= RTC_INDEX && port + bytes > RTC_INDEX) {
    domain.rtcIndex = (value >>> (8 * (RTC_INDEX - port))) & 0xff;
  }
}

const maskOf = (bytes: number): bigint => (1n << BigInt(bytes * 8)) - 1n;

export interface PortOutcome {
  way: 'next' | 'stay' | 'general-protection';
  /** Breakpoints on these ports, as in DR6. */
  hits: number;
}
const refused: PortOutcome = { way: 'general-protection', hits: 0 };

/** DR7: an enabled breakpoint, its type, and its length by the two bits above. */
const DR7_IO = 2;
const LENGTHS = [1, 2, 8, 4] as const;
const CR4_DE = 8;

/** B0 to B3 of the breakpoints that an access to ports hits (`check_guest_io_breakpoint`). */
function breakpointHits({ core, guestCr4 }: XenVcpu, port: number, bytes: number): number {
  const control = Number(core.debug[7]);
  if (!(guestCr4 & CR4_DE) || (control & 0xff) === 0) return 0;
  let hits = 0;
  for (let i = 0; i < 4; i++) {
    const kind = control >>> (16 + 4 * i);
    if (!(control & (3 << (2 * i))) || (kind & 3) !== DR7_IO) continue;
    const length = LENGTHS[(kind >>> 2) & 3]!;
    const start = core.debug[i]! & ~BigInt(length - 1);
    if (start < BigInt(port + bytes) && start + BigInt(length) > BigInt(port)) hits |= 1 << i;
  }
  return hits;
}

/** IN and OUT. */
export function emulateInOut(vcpu: XenVcpu, instruction: PrivilegedInstruction): PortOutcome {
  const { regs } = vcpu.core;
  const bytes = Math.min(instruction.width, 32) / 8;
  const port = instruction.immediate ? instruction.register & 0xff : Number(regs[Gpr.rdx]! & 0xffffn);
  if (!portsAllowed(vcpu, port, bytes)) return refused;
  const hits = breakpointHits(vcpu, port, bytes);
  if (instruction.mnemonic === 'OUT') {
    writePort(vcpu, port, bytes, Number(BigInt.asUintN(32, regs[Gpr.rax]!)));
  } else {
    const value = BigInt(readPort(vcpu, port, bytes)) & maskOf(bytes);
    regs[Gpr.rax] = bytes === 4 ? value : (regs[Gpr.rax]! & ~maskOf(bytes)) | value;
  }
  return { way: 'next', hits };
}

const READABLE_OR_WRITABLE = 2;
const CODE = 8;
const USABLE = 0x90;

/** Where the bytes of one iteration lie, or null where the segment does not reach there. */
function linear(vcpu: XenVcpu, register: number, offset: bigint, bytes: number, write: boolean): bigint | null {
  const { core } = vcpu;
  if (core.mode === 64) {
    const base = register === Seg.fs ? core.fsBase : register === Seg.gs ? core.gsBase : 0n;
    const address = BigInt.asUintN(64, base + offset);
    return addressOk(vcpu, address) ? address : null;
  }
  const { base, limit, rights } = core.segment(register);
  const isCode = (rights & CODE) !== 0;
  const allowed = write
    ? !isCode && (rights & READABLE_OR_WRITABLE) !== 0
    : !isCode || (rights & READABLE_OR_WRITABLE) !== 0;
  const reaches = limit >= bytes - 1 && offset <= BigInt(limit - bytes + 1);
  return (rights & USABLE) === USABLE && allowed && reaches ? BigInt.asUintN(32, base + offset) : null;
}

/** The first byte that can't be accessed. */
function faultAt({ core, domain }: XenVcpu, address: bigint, access: 'read' | 'write'): bigint {
  return domain.mmu.translate(core.space, address, access) === null ? address : (address | 0xfffn) + 1n;
}

/** INS and OUTS, with REP: as many iterations as one stop may take, and up to the first breakpoint. */
export function emulateStringIo(vcpu: XenVcpu, { mnemonic, rep, width, length }: PrivilegedInstruction): PortOutcome {
  const { core } = vcpu;
  const { regs } = core;
  const bytes = Math.min(width, 32) / 8;
  const port = Number(regs[Gpr.rdx]! & 0xffffn);
  if (!portsAllowed(vcpu, port, bytes)) return refused;
  const hits = breakpointHits(vcpu, port, bytes);
  const isIn = mnemonic === 'INS';
  const register = isIn ? Gpr.rdi : Gpr.rsi;
  const { segment = -1, otherAddressSize = false } = instructionAt(vcpu, length) ?? {};
  const source = isIn ? Seg.es : segment >= 0 ? segment : Seg.ds;
  const size = core.mode === 64 ? (otherAddressSize ? 32 : 64) : otherAddressSize ? 16 : 32;
  const clip = (value: bigint): bigint => BigInt.asUintN(size, value);
  /** Of a register, what is above the address. */
  const put = (gpr: number, value: bigint): void => {
    regs[gpr] = size === 16 ? (regs[gpr]! & ~0xffffn) | clip(value) : clip(value);
  };
  const step = core.rflags & Flag.DF ? -BigInt(bytes) : BigInt(bytes);
  // Single-step and breakpoints trap behind each iteration.
  const limit = core.rflags & Flag.TF || hits !== 0 ? 1 : REP_LIMIT;
  for (let turn = 0; turn < limit; turn++) {
    if (rep && clip(regs[Gpr.rcx]!) === 0n) return { way: 'next', hits: 0 };
    const address = linear(vcpu, source, clip(regs[register]!), bytes, isIn);
    if (address === null) {
      injectException(vcpu, source === Seg.ss ? Vector.SS : Vector.GP, 0);
      return { way: 'stay', hits: 0 };
    }
    if (!transfer(vcpu, port, address, bytes, isIn)) {
      injectPageFault(vcpu, isIn ? PF_WRITE_USER : PF_READ_USER, faultAt(vcpu, address, isIn ? 'write' : 'read'));
      return { way: 'stay', hits: 0 };
    }
    put(register, regs[register]! + step);
    if (!rep) return { way: 'next', hits };
    put(Gpr.rcx, regs[Gpr.rcx]! - 1n);
  }
  return { way: clip(regs[Gpr.rcx]!) === 0n ? 'next' : 'stay', hits };
}

/** One iteration; false where memory can't be accessed. */
function transfer(vcpu: XenVcpu, port: number, address: bigint, bytes: number, isIn: boolean): boolean {
  if (isIn) {
    const data = new Uint8Array(4);
    new DataView(data.buffer).setUint32(0, readPort(vcpu, port, bytes), true);
    return writeGuest(vcpu, address, data.subarray(0, bytes));
  }
  const data = readGuest(vcpu, address, bytes);
  if (!data) return false;
  const value = data.reduceRight((above, byte) => above * 256 + byte, 0);
  writePort(vcpu, port, bytes, value);
  return true;
}
