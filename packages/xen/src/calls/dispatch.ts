/**
 * From a SYSCALL of a guest kernel to the handler of its number and back, with
 * continuations of calls that are pre-empted, and multicall.
 */
import { Errno, hypercall } from '@paravane/abi-xen';
import { Gpr } from '@paravane/engine-api';
import type { HypercallHandler, HypercallResult, Preempted, XenVcpu } from '../domain.js';
import { viewGuest, writeGuest } from '../guest-memory.js';
import { hex, trace } from '../trace.js';
import { iret } from '../traps/iret.js';

/** Handlers by number; a hole is −ENOSYS. */
export type HypercallTable = readonly (HypercallHandler | undefined)[];

/** The calls one after the other that one stop may work on before it is re-issued. */
const BATCH = 256;
const ENTRY_BYTES = 64;
const SYSCALL_LENGTH = 2n;

export const isPreempted = (result: HypercallResult): result is Preempted => typeof result === 'object';

function traceCall(vcpu: XenVcpu, number: number, args: bigint[]): void {
  trace(vcpu, `H ${number} ${args.slice(0, 5).map(hex).join(' ')} @${hex(vcpu.core.rip)}`);
}

/** A hypercall of the guest kernel, with RIP behind its SYSCALL. */
export function dispatch(table: HypercallTable, vcpu: XenVcpu): void {
  const { core, domain } = vcpu;
  const { regs } = core;
  const claimedNumber = regs[Gpr.rax];
  const number = claimedNumber < 64n ? Number(claimedNumber) : 64;
  if (number === hypercall.iret) {
    if (domain.trace) trace(vcpu, 'I');
    iret(vcpu);
    return;
  }
  const args = [regs[Gpr.rdi], regs[Gpr.rsi], regs[Gpr.rdx], regs[Gpr.r10], regs[Gpr.r8], regs[Gpr.r9]];
  if (domain.trace) traceCall(vcpu, number, args);
  const rip = core.rip;
  const result =
    number === hypercall.multicall ? multicall(table, vcpu, args) : (table[number]?.(vcpu, args) ?? -Errno.ENOSYS);
  if (result === LEFT) return;
  if (isPreempted(result)) {
    if (domain.trace) trace(vcpu, `R ${hex(number)} P`);
    const next = result.args;
    regs[Gpr.rdi] = next[0];
    regs[Gpr.rsi] = next[1];
    regs[Gpr.rdx] = next[2];
    regs[Gpr.r10] = next[3];
    regs[Gpr.r8] = next[4];
    regs[Gpr.r9] = next[5];
    core.rip = BigInt.asUintN(64, rip - SYSCALL_LENGTH);
    return;
  }
  if (domain.trace) trace(vcpu, `R ${hex(result)}`);
  // SYSCALL and SYSRET leave RIP and RFLAGS in these.
  regs[Gpr.rcx] = rip;
  regs[Gpr.r11] = BigInt(core.rflags);
  regs[Gpr.rax] = typeof result === 'bigint' ? result : BigInt(result);
}

/** A multicall ended by iret: the registers are those of the place it went to. */
const LEFT: Preempted = { preempted: true, args: [] };
const entry = new Uint8Array(ENTRY_BYTES);
const entryView = new DataView(entry.buffer);

function multicall(table: HypercallTable, vcpu: XenVcpu, args: bigint[]): HypercallResult {
  let list = args[0];
  let count = Number(BigInt.asUintN(32, args[1]));
  const { domain } = vcpu;
  for (let done = 0; count > 0; done++) {
    if (done === BATCH) return { preempted: true, args: [list, BigInt(count), ...args.slice(2)] };
    const view = viewGuest(vcpu, list, ENTRY_BYTES);
    if (!view) return -Errno.EFAULT;
    const claimedNumber = view.getBigUint64(0, true);
    const number = claimedNumber < 64n ? Number(claimedNumber) : 64;
    const call: bigint[] = [];
    for (let index = 0; index < 6; index++) call.push(view.getBigUint64(16 + 8 * index, true));
    if (domain.trace) trace(vcpu, `M ${number} ${call.slice(0, 4).map(hex).join(' ')}`);
    if (number === hypercall.iret) {
      // Only as the last thing a batch does, as on Xen: it leaves the call.
      iret(vcpu);
      return LEFT;
    }
    const result = number === hypercall.multicall ? -Errno.EINVAL : (table[number]?.(vcpu, call) ?? -Errno.ENOSYS);
    if (isPreempted(result)) {
      for (let index = 0; index < 6; index++) entryView.setBigUint64(8 * index, result.args[index], true);
      if (!writeGuest(vcpu, list + 16n, entry.subarray(0, 48))) return -Errno.EFAULT;
      return { preempted: true, args: [list, BigInt(count), ...args.slice(2)] };
    }
    entryView.setBigUint64(0, BigInt.asUintN(64, BigInt(result)), true);
    if (!writeGuest(vcpu, list + 8n, entry.subarray(0, 8))) return -Errno.EFAULT;
    list += BigInt(ENTRY_BYTES);
    count--;
    // A call may have stopped the vCPU or left the kernel: the rest waits.
    if (count > 0 && vcpu.hv.state !== 'runnable') {
      return { preempted: true, args: [list, BigInt(count), ...args.slice(2)] };
    }
  }
  return 0;
}
