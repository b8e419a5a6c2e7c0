/**
 * The report of a crash: reason, registers, the words on the stack and the
 * bytes at RIP, in the manner of Xen's own. Names of addresses come from a
 * callback, where the host knows the kernel's symbols.
 */
import { Gpr, Seg } from '@paravane/engine-api';
import type { XenVcpu } from './domain.js';

/** `do_idle+0x42` for a guest address, or null. */
export type Symbolize = (address: bigint) => string | null;

const STACK_WORDS = 32;
const CODE_BYTES = 16;
const ORDER = [
  ['RAX', Gpr.rax],
  ['RBX', Gpr.rbx],
  ['RCX', Gpr.rcx],
  ['RDX', Gpr.rdx],
  ['RSI', Gpr.rsi],
  ['RDI', Gpr.rdi],
  ['RBP', Gpr.rbp],
  ['RSP', Gpr.rsp],
  ['R8 ', Gpr.r8],
  ['R9 ', Gpr.r9],
  ['R10', Gpr.r10],
  ['R11', Gpr.r11],
  ['R12', Gpr.r12],
  ['R13', Gpr.r13],
  ['R14', Gpr.r14],
  ['R15', Gpr.r15],
] as const;

const word = (value: bigint): string => value.toString(16).padStart(16, '0');
const selector = (value: number): string => value.toString(16).padStart(4, '0');

export function crashReport(vcpu: XenVcpu, reason: string, symbolize: Symbolize = () => null): string[] {
  const { core, domain } = vcpu;
  const { regs, selectors } = core;
  const named = (address: bigint): string => {
    const name = symbolize(address);
    return name === null ? '' : ` ${name}`;
  };
  const lines = [
    `Domain ${domain.id} "${domain.hv.name}" crashed: ${reason}`,
    `vCPU ${vcpu.id}, ${vcpu.guestKernel ? 'kernel' : 'user'} mode, after ${core.count} instructions`,
    `RIP ${selector(selectors[Seg.cs])}:${word(core.rip)}${named(core.rip)}`,
    `RFLAGS ${word(BigInt(core.rflags))}  CR2 ${word(vcpu.cr2)}  CR3 ${word(BigInt(core.space.root) << 12n)}`,
  ];
  for (let at = 0; at < ORDER.length; at += 4) {
    lines.push(
      ORDER.slice(at, at + 4)
        .map(([name, number]) => `${name} ${word(regs[number])}`)
        .join('  '),
    );
  }
  lines.push(
    `DS ${selector(selectors[Seg.ds])}  ES ${selector(selectors[Seg.es])}  SS ${selector(selectors[Seg.ss])}` +
      `  FS ${selector(selectors[Seg.fs])} ${word(core.fsBase)}  GS ${selector(selectors[Seg.gs])} ${word(core.gsBase)}`,
  );
  const code = domain.mmu.readVirtual(core.space, core.codeAddress, CODE_BYTES);
  lines.push(`Code: ${code ? [...code].map((byte) => byte.toString(16).padStart(2, '0')).join(' ') : 'not readable'}`);
  lines.push('Stack:');
  const trace: string[] = [];
  for (let at = 0; at < STACK_WORDS; at += 4) {
    const row: string[] = [];
    for (let column = 0; column < 4; column++) {
      const bytes = domain.mmu.readVirtual(
        core.space,
        BigInt.asUintN(64, regs[Gpr.rsp] + BigInt(8 * (at + column))),
        8,
      );
      if (!bytes) break;
      const value = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
      row.push(word(value));
      const name = symbolize(value);
      if (name !== null) trace.push(`  ${word(value)} ${name}`);
    }
    if (row.length > 0) lines.push(`  ${row.join(' ')}`);
    if (row.length < 4) break;
  }
  if (trace.length > 0) lines.push('Addresses of code on the stack:', ...trace);
  return lines;
}
