/** Names of hypercalls for traces and reports; they decide nothing. */
import {
  CALLBACKOP,
  CONSOLEIO,
  EVTCHNOP,
  GNTTABOP,
  HVMOP,
  hypercall,
  MMUEXT,
  PHYSDEVOP,
  SCHEDOP,
  SEGBASE,
  VCPUOP,
  VMASST_CMD,
  VMASST_TYPE,
  XEN_ARGO_OP,
  XENMEM,
  XENNMI,
  XENPMU,
  XENVER,
} from './hypercall.js';

const invert = (numbers: Readonly<Record<string, number>>): ReadonlyMap<number, string> =>
  new Map(Object.entries(numbers).map(([name, value]) => [value, name]));

const lowerCase = (numbers: Readonly<Record<string, number>>): ReadonlyMap<number, string> =>
  new Map(Object.entries(numbers).map(([name, value]) => [value, name.toLowerCase()]));

const callNames = invert(hypercall);
const assistNames = invert(VMASST_TYPE);
const mmuextNames = lowerCase(MMUEXT);

const subOpNames: ReadonlyMap<number, ReadonlyMap<number, string>> = new Map([
  [hypercall.memory_op, invert(XENMEM)],
  [hypercall.event_channel_op, invert(EVTCHNOP)],
  [hypercall.grant_table_op, invert(GNTTABOP)],
  [hypercall.sched_op, invert(SCHEDOP)],
  [hypercall.vcpu_op, invert(VCPUOP)],
  [hypercall.physdev_op, invert(PHYSDEVOP)],
  [hypercall.xen_version, invert(XENVER)],
  [hypercall.callback_op, invert(CALLBACKOP)],
  [hypercall.vm_assist, invert(VMASST_CMD)],
  [hypercall.console_io, invert(CONSOLEIO)],
  [hypercall.set_segment_base, lowerCase(SEGBASE)],
  [hypercall.nmi_op, invert(XENNMI)],
  [hypercall.xenpmu_op, invert(XENPMU)],
  [hypercall.hvm_op, invert(HVMOP)],
  [hypercall.argo_op, invert(XEN_ARGO_OP)],
]);

/** `mmu_update` for 1; the decimal number where there is no name. */
export function hypercallName(call: number): string {
  return callNames.get(call) ?? String(call);
}

/** Whether the first argument of a call is a sub-operation. */
export function hasSubOps(call: number): boolean {
  return subOpNames.has(call);
}

/** `memory_map` for memory_op 9; the decimal number where there is no name. */
export function subOpName(call: number, subOp: number): string {
  return subOpNames.get(call)?.get(subOp) ?? String(subOp);
}

/** `pin_l4_table` for MMUEXT 3. */
export function mmuextName(cmd: number): string {
  return mmuextNames.get(cmd) ?? String(cmd);
}

/**
 * A call as a line of a profile names it: `iret`, `memory_op.memory_map`, `vm_assist.enable(writable_pagetables)`.
 * `arg0` and `arg1` are the first two arguments as the guest passed them.
 */
export function hypercallLabel(call: number, arg0 = 0, arg1 = 0): string {
  const name = hypercallName(call);
  if (!hasSubOps(call)) return name;
  const label = `${name}.${subOpName(call, arg0)}`;
  return call === hypercall.vm_assist ? `${label}(${assistNames.get(arg1) ?? arg1})` : label;
}
