/**
 * What a crash report says of the vCPU that stopped: its registers, and the words of its stack that are addresses of
 * the kernel's code. Nothing here trusts the guest: names and stack are whatever its memory holds.
 */
import { type KernelImage, kernelSymbols } from '@paravane/domain-builder';
import { Gpr } from '@paravane/engine-api';
import type { ShutdownRecord } from '@paravane/personality-api';
import type { CrashReport } from '@paravane/toolstack';
import type { PvDomain } from '@paravane/xen';

const STACK_WORDS = 512;
const BACKTRACE_LENGTH = 24;

export function describeCrash(guest: PvDomain, image: KernelImage, record: ShutdownRecord): CrashReport {
  const vcpu = guest.xen.vcpus[record.vcpu];
  const { core } = vcpu;
  const { mmu } = guest.xen;
  const registers: [string, bigint][] = [
    ['rip', core.rip],
    ['rflags', BigInt(core.rflags >>> 0)],
    ['cr2', vcpu.cr2],
    ['cr3', BigInt(core.space.root) << 12n],
    ...Object.entries(Gpr).map(([name, number]): [string, bigint] => [name, core.regs[number]]),
    ['fs base', core.fsBase],
    ['gs base', core.gsBase],
  ];
  const symbols = kernelSymbols(image);
  const named = (address: bigint): { address: bigint; symbol?: string } | undefined => {
    const hit = symbols?.lookup(address);
    if (hit === undefined || !hit.code) return undefined;
    return { address, symbol: `${hit.name}+0x${hit.offset.toString(16)}` };
  };
  const backtrace = [named(core.rip) ?? { address: core.rip }];
  for (let word = 0; word < STACK_WORDS && backtrace.length < BACKTRACE_LENGTH; word++) {
    const at = BigInt.asUintN(64, core.regs[Gpr.rsp] + BigInt(8 * word));
    const bytes = mmu.readVirtual(core.space, at, 8);
    if (bytes === null) break;
    const value = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
    const inside = value >= image.virtStart && value < image.virtEnd;
    const found = inside ? named(value) : undefined;
    if (found !== undefined) backtrace.push(found);
  }
  return { reason: record.detail || record.reason, registers, backtrace };
}
