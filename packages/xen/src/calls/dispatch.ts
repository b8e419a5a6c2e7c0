/**
 * From a SYSCALL or, of a 32-bit guest, INT 82 of a guest kernel to the handler
 * of its number and back, with continuations of calls that are pre-empted, and
 * multicall.
 */
import { Errno, FLAT_RING3_CS64, FLAT_RING3_SS64, hypercall } from '@paravane/abi-xen';
import { Gpr, Seg } from '@paravane/engine-api';
import type { HypercallHandler, HypercallResult, Preempted, XenVcpu } from '../domain.js';
import { handleOk, viewGuest, writeGuest } from '../guest-memory.js';
import { hex, trace } from '../trace.js';
import { compatIret } from '../traps/compat-iret.js';
import { returnBySysret } from '../traps/exceptions.js';
import { iret } from '../traps/iret.js';

/** Handlers by number; a hole is −ENOSYS. */
export type HypercallTable = readonly (HypercallHandler | undefined)[];

/** The calls one after the other that one stop may work on before it is re-issued. */
const BATCH = 256;
/** The most work of a multicall before the rest of it waits (`MmState.spent`). */
const WORK = 0x10000;
/** Words of a multicall_entry: op, result, six arguments. */
const ENTRY_WORDS = 8;
/** Of SYSCALL, and of INT 82. */
const CALL_LENGTH = 2n;
/** Registers of the six arguments. */
const ARGUMENTS64 = [Gpr.rdi, Gpr.rsi, Gpr.rdx, Gpr.r10, Gpr.r8, Gpr.r9] as const;
const ARGUMENTS32 = [Gpr.rbx, Gpr.rcx, Gpr.rdx, Gpr.rsi, Gpr.rdi, Gpr.rbp] as const;

export const isPreempted = (result: HypercallResult): result is Preempted => typeof result === 'object';

function traceCall(vcpu: XenVcpu, number: number, args: bigint[]): void {
  trace(vcpu, `H ${number} ${args.slice(0, 5).map(hex).join(' ')} @${hex(vcpu.core.rip)}`);
}

/** A hypercall of the guest kernel, with RIP behind its SYSCALL. */
export function dispatch(table: HypercallTable, vcpu: XenVcpu): void {
  const { core, domain } = vcpu;
  const { regs } = core;
  const { is64 } = domain;
  if (is64) {
    // What SYSCALL loads: a continuation or an event finds these, whatever segments the kernel ran on.
    core.selectors[Seg.cs] = FLAT_RING3_CS64;
    core.selectors[Seg.ss] = FLAT_RING3_SS64;
  }
  const claimedNumber = is64 ? regs[Gpr.rax] : regs[Gpr.rax] & 0xffffffffn;
  const number = claimedNumber < 64n ? Number(claimedNumber) : 64;
  if (number === hypercall.iret) {
    if (domain.trace) trace(vcpu, 'I');
    if (is64) iret(vcpu);
    else compatIret(vcpu);
    return;
  }
  const args = is64
    ? [regs[Gpr.rdi], regs[Gpr.rsi], regs[Gpr.rdx], regs[Gpr.r10], regs[Gpr.r8], regs[Gpr.r9]]
    : ARGUMENTS32.map((register) => regs[register] & 0xffffffffn);
  if (domain.trace) traceCall(vcpu, number, args);
  const rip = core.rip;
  domain.mm.spent = 0;
  const result =
    number === hypercall.multicall ? multicall(table, vcpu, args) : (table[number]?.(vcpu, args) ?? -Errno.ENOSYS);
  if (result === LEFT) return;
  if (isPreempted(result)) {
    if (domain.trace) trace(vcpu, `R ${hex(number)} P`);
    const width = is64 ? 64 : 32;
    (is64 ? ARGUMENTS64 : ARGUMENTS32).forEach((register, index) => {
      const next = result.args[index];
      if (next !== undefined) regs[register] = BigInt.asUintN(width, next);
    });
    core.rip = BigInt.asUintN(width, rip - CALL_LENGTH);
    if (is64) returnBySysret(vcpu);
    return;
  }
  if (!is64) {
    const value = BigInt.asUintN(32, BigInt(result));
    if (domain.trace) trace(vcpu, `R ${hex(value)}`);
    regs[Gpr.rax] = value;
    return;
  }
  if (domain.trace) trace(vcpu, `R ${hex(result)}`);
  // SYSCALL and SYSRET leave RIP and RFLAGS in these.
  regs[Gpr.rcx] = rip;
  regs[Gpr.r11] = BigInt(core.rflags);
  regs[Gpr.rax] = typeof result === 'bigint' ? result : BigInt(result);
  returnBySysret(vcpu);
}

/** A multicall ended by iret: the registers are those of the place it went to. */
const LEFT: Preempted = { preempted: true, args: [] };
const entry = new Uint8Array(ENTRY_WORDS * 8);
const entryView = new DataView(entry.buffer);

function multicall(table: HypercallTable, vcpu: XenVcpu, args: bigint[]): HypercallResult {
  let list = args[0];
  let count = Number(BigInt.asUintN(32, args[1]));
  const { domain } = vcpu;
  const size = domain.is64 ? 8 : 4;
  const entryBytes = ENTRY_WORDS * size;
  if (!handleOk(vcpu, list, count, entryBytes)) return -Errno.EFAULT;
  const store = (at: number, value: bigint): void => {
    if (size === 8) entryView.setBigUint64(at, BigInt.asUintN(64, value), true);
    else entryView.setUint32(at, Number(BigInt.asUintN(32, value)), true);
  };
  for (let done = 0; count > 0; done++) {
    if (done === BATCH || domain.mm.spent > WORK)
      return { preempted: true, args: [list, BigInt(count), ...args.slice(2)] };
    const view = viewGuest(vcpu, list, entryBytes);
    if (!view) return -Errno.EFAULT;
    const word = (at: number): bigint =>
      size === 8 ? view.getBigUint64(at * 8, true) : BigInt(view.getUint32(at * 4, true));
    const claimedNumber = word(0);
    const number = claimedNumber < 64n ? Number(claimedNumber) : 64;
    const call: bigint[] = [];
    for (let index = 0; index < 6; index++) call.push(word(2 + index));
    if (domain.trace) trace(vcpu, `M ${number} ${call.slice(0, 4).map(hex).join(' ')}`);
    if (number === hypercall.iret) {
      // Only as the last thing a batch does, as on Xen: it leaves the call.
      if (domain.is64) iret(vcpu);
      else compatIret(vcpu);
      // Its result is RAX, and goes through the type of a batch's own; the entry gets it if it is still there.
      const { regs } = vcpu.core;
      store(0, regs[Gpr.rax]!);
      writeGuest(vcpu, list + BigInt(size), entry.subarray(0, size));
      regs[Gpr.rax] = BigInt.asUintN(8 * size, BigInt.asIntN(32, regs[Gpr.rax]!));
      return LEFT;
    }
    const result = number === hypercall.multicall ? -Errno.EINVAL : (table[number]?.(vcpu, call) ?? -Errno.ENOSYS);
    if (isPreempted(result)) {
      for (let index = 0; index < 6; index++) store(size * index, result.args[index] ?? call[index]);
      if (!writeGuest(vcpu, list + BigInt(2 * size), entry.subarray(0, 6 * size))) return -Errno.EFAULT;
      return { preempted: true, args: [list, BigInt(count), ...args.slice(2)] };
    }
    store(0, BigInt(result));
    if (!writeGuest(vcpu, list + BigInt(size), entry.subarray(0, size))) return -Errno.EFAULT;
    list += BigInt(entryBytes);
    count--;
    // A call may have stopped the vCPU or left the kernel: the rest waits.
    if (count > 0 && vcpu.hv.state !== 'runnable') {
      return { preempted: true, args: [list, BigInt(count), ...args.slice(2)] };
    }
  }
  return 0;
}
