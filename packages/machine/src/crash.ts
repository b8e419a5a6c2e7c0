/**
 * What a crash report says of the vCPU that stopped: its registers, and the words of its stack that are addresses of
 * the kernel's code. Nothing here trusts the guest: names and stack are whatever its memory holds.
 */
import { findKallsyms, type KernelImage, type KernelSymbols, kernelSymbols } from '@paravane/domain-builder';
import { Gpr } from '@paravane/engine-api';
import type { ShutdownRecord } from '@paravane/personality-api';
import type { CrashReport } from '@paravane/toolstack';
import type { PvDomain } from '@paravane/xen';

const STACK_WORDS = 512;
const BACKTRACE_LENGTH = 24;

/** Images up to this size, in bytes, are kept for their symbols; a larger kernel's are looked for in its memory. */
const SMALL_IMAGE = 4 << 20;
const PAGE = 4096;

/** Where a crash report finds names, without holding on to a large image. */
export interface SymbolSource {
  readonly virtStart: bigint;
  readonly virtEnd: bigint;
  find(guest: PvDomain, vcpu: number): KernelSymbols | undefined;
}

export function symbolSource(image: KernelImage): SymbolSource {
  const size = image.segments.reduce((sum, { data }) => sum + data.length, 0);
  return size <= SMALL_IMAGE ? symbolsOfImage(image) : symbolsInMemory(image);
}

function symbolsOfImage(image: KernelImage): SymbolSource {
  const { virtStart, virtEnd } = image;
  return { virtStart, virtEnd, find: () => kernelSymbols(image) };
}

/** A function of its own, whose closures know nothing of the image. */
function symbolsInMemory({ virtStart, virtEnd, segments }: KernelImage): SymbolSource {
  const places = segments.map(({ vaddr, data }) => ({ vaddr, length: data.length }));
  return {
    virtStart,
    virtEnd,
    find(guest, vcpu) {
      for (const { vaddr, length } of places) {
        const found = findKallsyms(readKernel(guest, vcpu, vaddr, length), virtEnd);
        if (found !== undefined) return found;
      }
      return undefined;
    },
  };
}

/** Kernel memory as the vCPU's kernel tables map it; zeros where they map nothing. */
function readKernel(guest: PvDomain, vcpu: number, start: bigint, length: number): Uint8Array {
  const { core, kernelRoot } = guest.xen.vcpus[vcpu];
  const space = { ...core.space, root: kernelRoot, user: guest.xen.is64 };
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; done += PAGE) {
    const page = guest.xen.mmu.readVirtual(space, start + BigInt(done), Math.min(PAGE, length - done));
    if (page !== null) bytes.set(page, done);
  }
  return bytes;
}

export function describeCrash(guest: PvDomain, source: SymbolSource, record: ShutdownRecord): CrashReport {
  const vcpu = guest.xen.vcpus[record.vcpu];
  const { core } = vcpu;
  const { mmu } = guest.xen;
  const bits = guest.xen.is64 ? 64 : 32;
  const wide: [string, bigint][] = [
    ['rip', core.rip],
    ['rflags', BigInt(core.rflags >>> 0)],
    ['cr2', vcpu.cr2],
    ['cr3', BigInt(core.space.root) << 12n],
    ...Object.entries(Gpr).map(([name, number]): [string, bigint] => [name, core.regs[number]]),
    ['fs base', core.fsBase],
    ['gs base', core.gsBase],
  ];
  const registers = bits === 64 ? wide : narrow(wide);
  const symbols = source.find(guest, record.vcpu);
  const named = (address: bigint): { address: bigint; symbol?: string } | undefined => {
    const hit = symbols?.lookup(address);
    if (hit === undefined || !hit.code) return undefined;
    return { address, symbol: `${hit.name}+0x${hit.offset.toString(16)}` };
  };
  const size = bits / 8;
  const backtrace = [named(core.rip) ?? { address: core.rip }];
  for (let word = 0; word < STACK_WORDS && backtrace.length < BACKTRACE_LENGTH; word++) {
    const at = BigInt.asUintN(64, core.regs[Gpr.rsp] + BigInt(size * word));
    const bytes = mmu.readVirtual(core.space, at, size);
    if (bytes === null) break;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const value = size === 8 ? view.getBigUint64(0, true) : BigInt(view.getUint32(0, true));
    const inside = value >= source.virtStart && value < source.virtEnd;
    const found = inside ? named(value) : undefined;
    if (found !== undefined) backtrace.push(found);
  }
  return { reason: record.detail || record.reason, bits, registers, backtrace };
}

/** By the names of 32-bit code, and without what it does not have. */
function narrow(wide: readonly [string, bigint][]): [string, bigint][] {
  return wide
    .filter(([name]) => !/^r\d/.test(name))
    .map(([name, value]) => [name.replace(/^r/, 'e'), BigInt.asUintN(32, value)]);
}
