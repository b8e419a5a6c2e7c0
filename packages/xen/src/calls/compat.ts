/**
 * What 32-bit guests pass otherwise: 64-bit arguments in two registers, code
 * selectors beside the addresses of callbacks, shorter tables
 * (arch/x86/pv/hypercall.c, compat columns; xen-x86_32.h).
 */
import { Errno, hypercall, TI_DPL_MASK, TI_EVENT_MASK } from '@paravane/abi-xen';
import type { HypercallHandler } from '../domain.js';
import { asU32, viewGuest } from '../guest-memory.js';
import { chargeBatch, clearTraps, TRAP_BATCH } from '../traps/table.js';
import type { HypercallTable } from './dispatch.js';

const TRAP_INFO_BYTES = 8;

/** Raises the RPL of a selector to the guest kernel's ring, 1. */
export const compatSelector = (selector: number): number => ((selector & 3) === 0 ? selector | 1 : selector) & 0xffff;

const wide = (args: bigint[], at: number): bigint => (args[at + 1]! << 32n) | args[at]!;

const setTrapTable: HypercallHandler = (vcpu, args) => {
  const table = args[0]!;
  if (table === 0n) {
    clearTraps(vcpu);
    return 0;
  }
  chargeBatch(vcpu);
  for (let entry = 0; entry < TRAP_BATCH; entry++) {
    const view = viewGuest(vcpu, table + BigInt(entry * TRAP_INFO_BYTES), TRAP_INFO_BYTES);
    if (!view) return -Errno.EFAULT;
    const address = view.getUint32(4, true);
    if (address === 0) return 0;
    const flags = view.getUint8(1);
    Object.assign(vcpu.traps[view.getUint8(0)]!, {
      dpl: flags & TI_DPL_MASK,
      masksEvents: (flags & TI_EVENT_MASK) !== 0,
      cs: compatSelector(view.getUint16(2, true)),
      address: BigInt(address),
    });
  }
  return { preempted: true, args: [table + BigInt(TRAP_BATCH * TRAP_INFO_BYTES)] };
};

const setCallbacks: HypercallHandler = ({ callbacks }, args) => {
  const [eventCs, event, failsafeCs, failsafe] = args as [bigint, bigint, bigint, bigint];
  Object.assign(callbacks.event, { address: event, cs: compatSelector(asU32(eventCs)) });
  Object.assign(callbacks.failsafe, { address: failsafe, masksEvents: false, cs: compatSelector(asU32(failsafeCs)) });
  return 0;
};

const stackSwitch: HypercallHandler = (vcpu, args) => {
  vcpu.kernelSs = compatSelector(asU32(args[0]!));
  vcpu.kernelSp = args[1]!;
  return 0;
};

/** The table of a 32-bit domain, made from that of a 64-bit one. */
export function compatTable(table: HypercallTable): HypercallTable {
  const compat = [...table];
  const wrap = (number: number, change: (args: bigint[]) => bigint[]): void => {
    const handler = table[number]!;
    compat[number] = (vcpu, args) => handler(vcpu, change(args));
  };
  compat[hypercall.set_trap_table] = setTrapTable;
  compat[hypercall.set_callbacks] = setCallbacks;
  compat[hypercall.stack_switch] = stackSwitch;
  compat[hypercall.set_segment_base] = undefined;
  wrap(hypercall.update_va_mapping, (args) => [args[0]!, wide(args, 1), args[3]!]);
  wrap(hypercall.update_va_mapping_otherdomain, (args) => [args[0]!, wide(args, 1), args[3]!, args[4]!]);
  wrap(hypercall.update_descriptor, (args) => [wide(args, 0), wide(args, 2)]);
  wrap(hypercall.set_timer_op, (args) => [wide(args, 0)]);
  return compat;
}
