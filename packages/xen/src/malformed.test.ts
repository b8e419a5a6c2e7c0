/**
 * What each call says to wrong arguments, in the layouts of both ABIs: a row is a call and the error that Xen 4.17
 * gives (the value of a request's own status where the call itself succeeds).
 */
import * as abi from '@paravane/abi-xen';
import { EVTCHNOP, GNTTABOP, hypercall, MMUEXT, PHYSDEVOP, SCHEDOP, VCPUOP, XENMEM } from '@paravane/abi-xen';
import { beforeAll, describe, expect, it } from 'vitest';
import { compatImage } from './testing/compat-image.js';
import { createTestGuest, createTestHypervisor, type TestGuest } from './testing/test-machine.js';

const SELF = 0x7ff0;
const HOST = 0;
const NOBODY = 99;
/** Nothing is mapped there in either guest. */
const UNMAPPED = 0x1000n;

let guest: TestGuest;
let other: number;
let width: abi.Abi;

/** A structure in the guest's memory. */
function make<M extends abi.FieldMap>(layout: abi.Struct<M>, value: abi.StructInput<M>): bigint {
  const bytes = new Uint8Array(layout.size(width));
  layout.write(new DataView(bytes.buffer), 0, value, width);
  return guest.putBytes(bytes);
}
/** The `status` that a grant operation leaves. */
function status<M extends abi.FieldMap>(
  op: number,
  layout: abi.Struct<M & { status: abi.AnyField }>,
  value: abi.StructInput<M>,
): number {
  const at = make(layout, value as abi.StructInput<M & { status: abi.AnyField }>);
  expect(guest.call(hypercall.grant_table_op, op, at, 1)).toBe(0n);
  const bytes = guest.peekBytes(at, layout.size(width));
  return new DataView(bytes.buffer, bytes.byteOffset).getInt16(layout.offset('status', width), true);
}
const events = (op: number, argument: bigint): bigint => guest.call(hypercall.event_channel_op, op, argument);
const memory = (op: number | bigint, argument: bigint): bigint => guest.call(hypercall.memory_op, op, argument);
const sched = (op: number, argument: bigint): bigint => guest.call(hypercall.sched_op, op, argument);
const vcpu = (op: number, id: number, argument: bigint): bigint => guest.call(hypercall.vcpu_op, op, id, argument);
const physdev = (op: number, argument: bigint): bigint => guest.call(hypercall.physdev_op, op, argument);
const extended = (cmd: number, arg1: bigint | number, arg2: bigint | number = 0, foreign = SELF): bigint =>
  guest.call(hypercall.mmuext_op, make(abi.mmuext_op, { cmd, arg1: BigInt(arg1), arg2: BigInt(arg2) }), 1, 0, foreign);
const update = (ptr: bigint, val: bigint, foreign = SELF): bigint =>
  guest.call(hypercall.mmu_update, make(abi.mmu_update, { ptr, val }), 1, 0, foreign);
const reserve = (
  op: number,
  value: abi.StructInput<typeof abi.xen_memory_reservation extends abi.Struct<infer M> ? M : never>,
) => memory(op, make(abi.xen_memory_reservation, value));
/** Calls that read a structure, with nothing to read. */
const faulting = (number: number, ...ops: number[]): [string, () => bigint][] =>
  ops.map((op) => [
    `${number}:${op}`,
    () => guest.call(number, op, UNMAPPED, number === hypercall.vcpu_op ? UNMAPPED : 1),
  ]);

/** An answer to both, or one to 64-bit guests and one to 32-bit ones. */
type Row = [what: string, call: () => bigint | number, answer: number | [number, number]];

const rows: Row[] = [
  // Event channels.
  ['send on port 0', () => events(EVTCHNOP.send, make(abi.evtchn_send, { port: 0 })), -22],
  ['send on a closed port', () => events(EVTCHNOP.send, make(abi.evtchn_send, { port: 60 })), -22],
  ['send beyond the buckets', () => events(EVTCHNOP.send, make(abi.evtchn_send, { port: 4096 })), -22],
  ['close port 0', () => events(EVTCHNOP.close, make(abi.evtchn_close, { port: 0 })), -22],
  ['close a closed port', () => events(EVTCHNOP.close, make(abi.evtchn_close, { port: 60 })), -22],
  ['unmask a closed port', () => events(EVTCHNOP.unmask, make(abi.evtchn_unmask, { port: 60 })), 0],
  ['unmask beyond the buckets', () => events(EVTCHNOP.unmask, make(abi.evtchn_unmask, { port: 70_000 })), -22],
  ['status of a closed port', () => events(EVTCHNOP.status, make(abi.evtchn_status, { dom: SELF, port: 60 })), 0],
  ['status beyond the buckets', () => events(EVTCHNOP.status, make(abi.evtchn_status, { dom: SELF, port: 640 })), -22],
  ['status of nobody', () => events(EVTCHNOP.status, make(abi.evtchn_status, { dom: NOBODY, port: 1 })), -3],
  ['status of the host', () => events(EVTCHNOP.status, make(abi.evtchn_status, { dom: HOST, port: 1 })), -1],
  ['a port for another', () => events(EVTCHNOP.alloc_unbound, make(abi.evtchn_alloc_unbound, { dom: HOST })), -1],
  ['a port for nobody', () => events(EVTCHNOP.alloc_unbound, make(abi.evtchn_alloc_unbound, { dom: NOBODY })), -3],
  [
    'bind to nobody',
    () => events(EVTCHNOP.bind_interdomain, make(abi.evtchn_bind_interdomain, { remote_dom: NOBODY })),
    -3,
  ],
  [
    'bind to the host',
    () => events(EVTCHNOP.bind_interdomain, make(abi.evtchn_bind_interdomain, { remote_dom: HOST, remote_port: 5 })),
    -22,
  ],
  [
    'bind to a closed port',
    () => events(EVTCHNOP.bind_interdomain, make(abi.evtchn_bind_interdomain, { remote_dom: other, remote_port: 5 })),
    -22,
  ],
  ['a VIRQ that is none', () => events(EVTCHNOP.bind_virq, make(abi.evtchn_bind_virq, { virq: 24 })), -22],
  ['a global VIRQ elsewhere', () => events(EVTCHNOP.bind_virq, make(abi.evtchn_bind_virq, { virq: 2, vcpu: 1 })), -22],
  ['a VIRQ of no vCPU', () => events(EVTCHNOP.bind_virq, make(abi.evtchn_bind_virq, { virq: 0, vcpu: 9 })), -2],
  ['an IPI of no vCPU', () => events(EVTCHNOP.bind_ipi, make(abi.evtchn_bind_ipi, { vcpu: 9 })), -2],
  ['no vCPU, and no port', () => events(EVTCHNOP.bind_vcpu, make(abi.evtchn_bind_vcpu, { port: 9999, vcpu: 9 })), -2],
  ['bind_vcpu of port 0', () => events(EVTCHNOP.bind_vcpu, make(abi.evtchn_bind_vcpu, { port: 0, vcpu: 0 })), -22],
  [
    'priority without FIFO',
    () => events(EVTCHNOP.set_priority, make(abi.evtchn_set_priority, { port: 60, priority: 3 })),
    -38,
  ],
  [
    'priority of no port',
    () => events(EVTCHNOP.set_priority, make(abi.evtchn_set_priority, { port: 9999, priority: 3 })),
    -22,
  ],
  ['expand without FIFO', () => events(EVTCHNOP.expand_array, make(abi.evtchn_expand_array, { array_gfn: 1n })), -95],
  ['control block of no vCPU', () => events(EVTCHNOP.init_control, make(abi.evtchn_init_control, { vcpu: 9 })), -2],
  [
    'control block over a page',
    () => events(EVTCHNOP.init_control, make(abi.evtchn_init_control, { offset: 4032 })),
    -22,
  ],
  ['control block askew', () => events(EVTCHNOP.init_control, make(abi.evtchn_init_control, { offset: 4 })), -22],
  ['reset of nobody', () => events(EVTCHNOP.reset, make(abi.evtchn_reset, { dom: NOBODY })), -3],
  ['reset of the host', () => events(EVTCHNOP.reset, make(abi.evtchn_reset, { dom: HOST })), -1],
  ['a pirq', () => events(EVTCHNOP.bind_pirq, make(abi.evtchn_bind_pirq, { pirq: 5 })), -1],
  ['a pirq that is none', () => events(EVTCHNOP.bind_pirq, make(abi.evtchn_bind_pirq, { pirq: 5000 })), -22],
  ['the rest of a reset', () => events(EVTCHNOP.reset_cont, make(abi.evtchn_reset, { dom: SELF })), -16],
  ['no such event operation', () => events(77, UNMAPPED), -38],
  ['an event operation in the old form, at the end of memory', () => guest.call(16, UNMAPPED), -14],
  // Scheduling.
  ['poll too many ports', () => sched(SCHEDOP.poll, make(abi.sched_poll, { nr_ports: 129 })), -22],
  ['poll ports in Xen’s range', () => sched(SCHEDOP.poll, make(abi.sched_poll, { ports: xenAddress() })), -14],
  [
    'poll a list that is not there',
    () => sched(SCHEDOP.poll, make(abi.sched_poll, { ports: UNMAPPED, nr_ports: 1 })),
    -14,
  ],
  [
    'poll a port beyond the buckets',
    () => sched(SCHEDOP.poll, make(abi.sched_poll, { ports: guest.put(9999), nr_ports: 1 })),
    -22,
  ],
  [
    'shut nobody down',
    () => sched(SCHEDOP.remote_shutdown, make(abi.sched_remote_shutdown, { domain_id: NOBODY })),
    -3,
  ],
  [
    'shut the host down',
    () => sched(SCHEDOP.remote_shutdown, make(abi.sched_remote_shutdown, { domain_id: HOST })),
    -1,
  ],
  [
    'shut another down',
    () => sched(SCHEDOP.remote_shutdown, make(abi.sched_remote_shutdown, { domain_id: other })),
    -1,
  ],
  ['a third watchdog', () => sched(SCHEDOP.watchdog, make(abi.sched_watchdog, { id: 3, timeout: 9 })), -22],
  ['feed a watchdog not in use', () => sched(SCHEDOP.watchdog, make(abi.sched_watchdog, { id: 2, timeout: 9 })), -22],
  ['pin', () => sched(SCHEDOP.pin_override, make(abi.sched_pin_override, { pcpu: 0 })), -1],
  ['no such scheduling operation', () => sched(77, UNMAPPED), -38],
  // vCPUs.
  ['no such vCPU', () => vcpu(VCPUOP.is_up, 9, 0n), -2],
  ['no such vCPU operation', () => vcpu(77, 0, 0n), -38],
  ['up before it was initialised', () => vcpu(VCPUOP.up, 1, 0n), -22],
  [
    'a period under a millisecond',
    () => vcpu(VCPUOP.set_periodic_timer, 0, make(abi.vcpu_set_periodic_timer, { period_ns: 999_999n })),
    -22,
  ],
  [
    'a timer of another vCPU',
    () => vcpu(VCPUOP.set_singleshot_timer, 1, make(abi.vcpu_set_singleshot_timer, { timeout_abs_ns: 1n })),
    -22,
  ],
  ['stop one of another vCPU', () => vcpu(VCPUOP.stop_singleshot_timer, 1, 0n), -22],
  [
    'a timer in the past',
    () => vcpu(VCPUOP.set_singleshot_timer, 0, make(abi.vcpu_set_singleshot_timer, { timeout_abs_ns: 1n, flags: 1 })),
    0,
  ],
  [
    'vcpu_info over a page',
    () => vcpu(VCPUOP.register_vcpu_info, 0, make(abi.vcpu_register_vcpu_info, { mfn: 1n, offset: 4040 })),
    -6,
  ],
  [
    'vcpu_info askew',
    () => vcpu(VCPUOP.register_vcpu_info, 0, make(abi.vcpu_register_vcpu_info, { mfn: 1n, offset: 2 })),
    -6,
  ],
  [
    'vcpu_info in no page',
    () => vcpu(VCPUOP.register_vcpu_info, 0, make(abi.vcpu_register_vcpu_info, { mfn: 99_999n })),
    -22,
  ],
  [
    'runstate in Xen’s range',
    () =>
      vcpu(
        VCPUOP.register_runstate_memory_area,
        0,
        make(abi.vcpu_register_runstate_memory_area, { addr: xenAddress() }),
      ),
    -14,
  ],
  ['an NMI with an argument', () => vcpu(VCPUOP.send_nmi, 0, 8n), -22],
  ['a processor’s number', () => vcpu(VCPUOP.get_physid, 0, 0n), -22],
  // Memory.
  ['reserve for nobody', () => reserve(XENMEM.increase_reservation, { nr_extents: 1n, domid: NOBODY }), 0],
  ['reserve for the host', () => reserve(XENMEM.increase_reservation, { nr_extents: 1n, domid: HOST }), 0],
  [
    'an order too large',
    () => reserve(XENMEM.increase_reservation, { nr_extents: 1n, extent_order: 10, domid: SELF }),
    0,
  ],
  [
    'populate on demand',
    () =>
      reserve(XENMEM.populate_physmap, { nr_extents: 1n, extent_start: guest.put(0), mem_flags: 1 << 16, domid: SELF }),
    0,
  ],
  [
    'give up what is not one’s own',
    () => reserve(XENMEM.decrease_reservation, { nr_extents: 1n, extent_start: guest.put(1), domid: SELF }),
    0,
  ],
  [
    'a start behind the end',
    () =>
      memory(XENMEM.decrease_reservation | (7 << 6), make(abi.xen_memory_reservation, { nr_extents: 3n, domid: SELF })),
    7,
  ],
  [
    'exchange an order too large',
    () => memory(XENMEM.exchange, make(abi.xen_memory_exchange, { in: { extent_order: 10 } })),
    [-1, -7],
  ],
  [
    'exchange of two orders too large',
    () =>
      memory(XENMEM.exchange, make(abi.xen_memory_exchange, { in: { extent_order: 10 }, out: { extent_order: 10 } })),
    -1,
  ],
  [
    'exchange of nothing, of nobody’s',
    () => memory(XENMEM.exchange, make(abi.xen_memory_exchange, { in: { domid: NOBODY }, out: { domid: NOBODY } })),
    0,
  ],
  [
    'exchange for a node of its choice',
    () =>
      memory(
        XENMEM.exchange,
        make(abi.xen_memory_exchange, {
          in: { nr_extents: 1n, extent_start: guest.put(0), domid: SELF },
          out: { nr_extents: 1n, extent_start: guest.put(0), domid: SELF, mem_flags: (1 << 17) | (1 << 8) },
        }),
      ),
    -22,
  ],
  [
    'reserve on a node of its choice',
    () => reserve(XENMEM.increase_reservation, { nr_extents: 1n, mem_flags: (1 << 17) | (1 << 8), domid: SELF }),
    0,
  ],
  ['the number of frames', () => memory(XENMEM.maximum_ram_page, 0n), 4096],
  [
    'add_to_physmap of another',
    () => memory(XENMEM.add_to_physmap, make(abi.xen_add_to_physmap, { domid: HOST })),
    -13,
  ],
  [
    'add_to_physmap of nobody',
    () => memory(XENMEM.add_to_physmap, make(abi.xen_add_to_physmap, { domid: NOBODY })),
    -3,
  ],
  [
    'a range of frames in a batch',
    () => memory(XENMEM.add_to_physmap_batch, guest.put(SELF | (3 << 16), 0, 0, 0)),
    -95,
  ],
  ['rights to memory, one’s own', () => memory(XENMEM.access_op, guest.put(guest.pv.domain.id << 16, 0, 0, 0)), -1],
  ['rights to memory of the host', () => memory(XENMEM.access_op, guest.put(HOST << 16, 0, 0, 0)), -22],
  ['rights to memory of nobody', () => memory(XENMEM.access_op, guest.put(NOBODY << 16, 0, 0, 0)), -3],
  ['pages that are shared', () => memory(XENMEM.get_sharing_shared_pages, 0n), 0],
  ['memory of devices', () => memory(XENMEM.reserved_device_memory_map, guest.put(1n | (7n << 32n), 0, 0)), 0],
  ['memory of devices, otherwise', () => memory(XENMEM.reserved_device_memory_map, guest.put(2, 0, 0)), -22],
  [
    'exchange between two',
    () => memory(XENMEM.exchange, make(abi.xen_memory_exchange, { in: { domid: SELF }, out: { domid: HOST } })),
    -22,
  ],
  [
    'exchange of unequal sizes',
    () =>
      memory(
        XENMEM.exchange,
        make(abi.xen_memory_exchange, { in: { nr_extents: 2n, domid: SELF }, out: { nr_extents: 1n, domid: SELF } }),
      ),
    -22,
  ],
  ['exchange past its end', () => memory(XENMEM.exchange, make(abi.xen_memory_exchange, { nr_exchanged: 1n })), -22],
  ['exchange in the middle', () => memory(XENMEM.exchange | 64, make(abi.xen_memory_exchange, {})), -22],
  [
    'exchange of the host’s',
    () =>
      memory(
        XENMEM.exchange,
        make(abi.xen_memory_exchange, {
          in: { nr_extents: 1n, extent_start: guest.put(0), domid: HOST },
          out: { nr_extents: 1n, extent_start: guest.put(0), domid: HOST },
        }),
      ),
    -1,
  ],
  ['pages of nobody', () => memory(XENMEM.current_reservation, make(abi.xen_memory_domid, { domid: NOBODY })), -3],
  ['pages of the host', () => memory(XENMEM.current_reservation, make(abi.xen_memory_domid, { domid: HOST })), -1],
  ['pages, resumed', () => memory(XENMEM.current_reservation | 64, make(abi.xen_memory_domid, { domid: SELF })), -22],
  ['add_to_physmap', () => memory(XENMEM.add_to_physmap, make(abi.xen_add_to_physmap, { domid: SELF })), -13],
  [
    'add_to_physmap far on',
    () => memory(XENMEM.add_to_physmap | (0x10000 << 6), make(abi.xen_add_to_physmap, { domid: SELF })),
    -33,
  ],
  [
    'add_to_physmap, foreign',
    () => memory(XENMEM.add_to_physmap, make(abi.xen_add_to_physmap, { domid: SELF, space: 4 })),
    -38,
  ],
  [
    'remove_from_physmap',
    () => memory(XENMEM.remove_from_physmap, make(abi.xen_remove_from_physmap, { domid: SELF })),
    -13,
  ],
  [
    'remove_from_physmap, resumed',
    () => memory(XENMEM.remove_from_physmap | 64, make(abi.xen_remove_from_physmap, { domid: SELF })),
    -22,
  ],
  ['claim from nowhere', () => memory(XENMEM.claim_pages, UNMAPPED), [-14, -38]],
  ['claim with flags', () => reserve(XENMEM.claim_pages, { mem_flags: 1, domid: SELF }), [-22, -38]],
  ['claim for the host', () => reserve(XENMEM.claim_pages, { domid: HOST }), [-1, -38]],
  ['claim for nobody', () => reserve(XENMEM.claim_pages, { domid: NOBODY }), [-22, -38]],
  [
    'a memory map too long',
    () => memory(XENMEM.set_memory_map, make(abi.xen_foreign_memory_map, { domid: SELF, map: { nr_entries: 1025 } })),
    -22,
  ],
  [
    'a memory map of the host',
    () => memory(XENMEM.set_memory_map, make(abi.xen_foreign_memory_map, { domid: HOST, map: { nr_entries: 1 } })),
    -1,
  ],
  ['the machine’s memory map', () => memory(XENMEM.machine_memory_map, UNMAPPED), -1],
  ['pages on demand', () => memory(XENMEM.get_pod_target, make(abi.xen_pod_target, { domid: SELF })), -22],
  ['vNUMA, with padding', () => memory(XENMEM.get_vnumainfo, guest.put(SELF | (1 << 16), 0, 0, 0, 0)), -22],
  ['no such memory operation', () => memory(40, UNMAPPED), -38],
  // Tables.
  ['tables of nobody', () => extended(MMUEXT.TLB_FLUSH_LOCAL, 0, 0, NOBODY), -3],
  ['tables of the host', () => extended(MMUEXT.TLB_FLUSH_LOCAL, 0, 0, HOST), -1],
  ['its own, by number', () => extended(MMUEXT.TLB_FLUSH_LOCAL, 0, 0, guest.pv.domain.id), -3],
  ['pin no frame', () => extended(MMUEXT.PIN_L1_TABLE, 0xfffff), -22],
  ['unpin what is not pinned', () => extended(MMUEXT.UNPIN_TABLE, guest.page().frame), -22],
  ['clear a table', () => extended(MMUEXT.CLEAR_PAGE, guest.vcpu.kernelRoot), -22],
  ['copy over a table', () => extended(MMUEXT.COPY_PAGE, guest.vcpu.kernelRoot, guest.page().frame), -22],
  ['caches', () => extended(MMUEXT.FLUSH_CACHE, 0), -13],
  ['all caches', () => extended(MMUEXT.FLUSH_CACHE_GLOBAL, 0), -22],
  ['an LDT too long', () => extended(MMUEXT.SET_LDT, UNMAPPED, 8193), -22],
  ['an LDT askew', () => extended(MMUEXT.SET_LDT, UNMAPPED + 8n, 1), -22],
  ['no LDT, anywhere', () => extended(MMUEXT.SET_LDT, 12_345, 0), 0],
  ['a flush of vCPUs that can’t be read', () => extended(MMUEXT.TLB_FLUSH_MULTI, 0, UNMAPPED), -22],
  ['a superpage', () => extended(MMUEXT.MARK_SUPER, 0), -95],
  ['no such operation on tables', () => extended(77, 0), -38],
  ['update no frame', () => update(0xfffff000n, 0n), -22],
  ['update by no command', () => update(4n, 0n), -38],
  ['update for the host', () => update(0n, 0n, HOST), -1],
  ['update of the host’s', () => update(0n, 0n, SELF | ((HOST + 1) << 16)), -1],
  ['update of nobody’s', () => update(0n, 0n, SELF | ((NOBODY + 1) << 16)), -3],
  ['tell the M2P of no frame', () => update(0xfffff001n, 0n), -22],
  // Grants.
  ['a count below zero', () => guest.call(hypercall.grant_table_op, GNTTABOP.copy, UNMAPPED, -1), -22],
  ['a command with a rest', () => guest.call(hypercall.grant_table_op, GNTTABOP.copy | 0x1000, UNMAPPED, 0), -22],
  ['an array in Xen’s range', () => guest.call(hypercall.grant_table_op, GNTTABOP.copy, xenAddress(), 0), -14],
  ['no table', () => guest.call(hypercall.grant_table_op, GNTTABOP.setup_table, UNMAPPED, 0), [-22, 0]],
  ['a cache flush over a page', () => flush(BigInt(guest.page().frame) << 12n, 4095, 2, 1), -22],
  ['a cache flush by no reference', () => flush(0n, 0, 1, 1 << 31), -22],
  ['a cache flush of nothing', () => flush(1n << 60n, 0, 0, 1), 0],
  ['a cache flush nowhere', () => flush(1n << 60n, 0, 1, 1), -22],
  ['a cache flush of the hypervisor’s', () => flush(0n, 0, 1, 1), -1],
  ['a cache flush of one’s own', () => flush(BigInt(guest.page().frame) << 12n, 0, 1, 1), 0],
  ['a loss of caches', () => flush(BigInt(guest.page().frame) << 12n, 0, 1, 2), -95],
  ['two tables at once', () => guest.call(hypercall.grant_table_op, GNTTABOP.setup_table, UNMAPPED, 2), -22],
  [
    'a table’s list in Xen’s range',
    () =>
      guest.call(
        hypercall.grant_table_op,
        GNTTABOP.setup_table,
        make(abi.gnttab_setup_table, { dom: SELF, nr_frames: 1, frame_list: xenAddress() }),
        1,
      ),
    -14,
  ],
  ['a table of nobody', () => status(GNTTABOP.setup_table, abi.gnttab_setup_table, { dom: NOBODY }), -2],
  ['a table of the host', () => status(GNTTABOP.setup_table, abi.gnttab_setup_table, { dom: HOST }), -8],
  ['a table too large', () => status(GNTTABOP.setup_table, abi.gnttab_setup_table, { dom: SELF, nr_frames: 65 }), -1],
  [
    'a table’s list unmapped',
    () => status(GNTTABOP.setup_table, abi.gnttab_setup_table, { dom: SELF, nr_frames: 1, frame_list: UNMAPPED }),
    -5,
  ],
  ['the size of another’s', () => status(GNTTABOP.query_size, abi.gnttab_query_size, { dom: other }), -8],
  [
    'status frames of version 1',
    () => status(GNTTABOP.get_status_frames, abi.gnttab_get_status_frames, { dom: SELF, nr_frames: 1 }),
    -1,
  ],
  ['map without a way to', () => status(GNTTABOP.map_grant_ref, abi.gnttab_map_grant_ref, { dom: other }), -3],
  ['map nobody’s', () => status(GNTTABOP.map_grant_ref, abi.gnttab_map_grant_ref, { dom: NOBODY, flags: 2 }), -2],
  ['map by its own alias', () => status(GNTTABOP.map_grant_ref, abi.gnttab_map_grant_ref, { dom: SELF, flags: 2 }), -2],
  [
    'map no entry',
    () => status(GNTTABOP.map_grant_ref, abi.gnttab_map_grant_ref, { dom: other, ref: 99_999, flags: 2 }),
    -3,
  ],
  [
    'map what is not granted',
    () => status(GNTTABOP.map_grant_ref, abi.gnttab_map_grant_ref, { dom: other, ref: 9, flags: 2 }),
    -1,
  ],
  ['unmap no handle', () => status(GNTTABOP.unmap_grant_ref, abi.gnttab_unmap_grant_ref, { handle: 1234 }), -4],
  ['replace no handle', () => status(GNTTABOP.unmap_and_replace, abi.gnttab_unmap_and_replace, { handle: 1234 }), -4],
  ['swap no entry', () => status(GNTTABOP.swap_grant_ref, abi.gnttab_swap_grant_ref, { ref_a: 8, ref_b: 99_999 }), -3],
  [
    'copy another’s frame',
    () => status(GNTTABOP.copy, abi.gnttab_copy, { source: { domid: other }, dest: { domid: SELF } }),
    -8,
  ],
  [
    'copy to another’s frame from no entry',
    () =>
      status(GNTTABOP.copy, abi.gnttab_copy, {
        source: { domid: other, u: 99_999n },
        dest: { domid: other },
        flags: 1,
      }),
    -8,
  ],
  [
    'copy nobody’s',
    () => status(GNTTABOP.copy, abi.gnttab_copy, { source: { domid: NOBODY }, dest: { domid: SELF }, flags: 1 }),
    -2,
  ],
  [
    'copy the host’s',
    () =>
      status(GNTTABOP.copy, abi.gnttab_copy, {
        source: { domid: HOST, u: 8n },
        dest: { domid: SELF, u: BigInt(guest.page().frame) },
        flags: 1,
      }),
    -1,
  ],
  [
    'copy no frame',
    () => status(GNTTABOP.copy, abi.gnttab_copy, { source: { domid: SELF, u: 99_999n }, dest: { domid: SELF } }),
    -9,
  ],
  [
    'copy past the page',
    () =>
      status(GNTTABOP.copy, abi.gnttab_copy, {
        source: { domid: SELF, u: BigInt(guest.page().frame), offset: 4090 },
        dest: { domid: SELF, u: BigInt(guest.page().frame) },
        len: 9,
      }),
    -10,
  ],
  ['transfer no frame', () => status(GNTTABOP.transfer, abi.gnttab_transfer, { mfn: 99_999n, domid: other }), -9],
  [
    'transfer a mapped frame',
    () => status(GNTTABOP.transfer, abi.gnttab_transfer, { mfn: BigInt(guest.page().frame), domid: other }),
    -9,
  ],
  [
    'version 3',
    () => guest.call(hypercall.grant_table_op, GNTTABOP.set_version, make(abi.gnttab_set_version, { version: 3 }), 1),
    -22,
  ],
  [
    'the version of nobody',
    () => guest.call(hypercall.grant_table_op, GNTTABOP.get_version, make(abi.gnttab_get_version, { dom: NOBODY }), 1),
    -3,
  ],
  [
    'the version of the host',
    () => guest.call(hypercall.grant_table_op, GNTTABOP.get_version, make(abi.gnttab_get_version, { dom: HOST }), 1),
    -1,
  ],
  ['no such grant operation', () => guest.call(hypercall.grant_table_op, 99, UNMAPPED, 1), -38],
  // Physical devices and the rest.
  ['IOPL 4', () => physdev(PHYSDEVOP.set_iopl, make(abi.physdev_set_iopl, { iopl: 4 })), -22],
  [
    'ports beyond the last',
    () => physdev(PHYSDEVOP.set_iobitmap, make(abi.physdev_set_iobitmap, { nr_ports: 65_537 })),
    -22,
  ],
  [
    'ports in Xen’s range',
    () => physdev(PHYSDEVOP.set_iobitmap, make(abi.physdev_set_iobitmap, { bitmap: xenAddress(), nr_ports: 8 })),
    -22,
  ],
  [
    'the state of no interrupt',
    () => physdev(PHYSDEVOP.irq_status_query, make(abi.physdev_irq_status_query, { irq: 5000 })),
    -22,
  ],
  [
    'the state of an interrupt',
    () => physdev(PHYSDEVOP.irq_status_query, make(abi.physdev_irq_status_query, { irq: 5 })),
    0,
  ],
  ['the old unmasking', () => physdev(4, UNMAPPED), 0],
  ['an interrupt for nobody', () => physdev(PHYSDEVOP.map_pirq, make(abi.physdev_map_pirq, { domid: NOBODY })), -3],
  ['an interrupt', () => physdev(PHYSDEVOP.map_pirq, make(abi.physdev_map_pirq, { domid: SELF })), -1],
  [
    'interrupts with a table',
    () => physdev(PHYSDEVOP.map_pirq, make(abi.physdev_map_pirq, { domid: NOBODY, type: 4, table_base: 1n })),
    -22,
  ],
  ['an interrupt less', () => physdev(PHYSDEVOP.unmap_pirq, make(abi.physdev_unmap_pirq, { domid: SELF })), -1],
  ['an interrupt beyond the last', () => events(EVTCHNOP.bind_pirq, make(abi.evtchn_bind_pirq, { pirq: 56 })), -22],
  ['a page of ends of interrupts that is none', () => physdev(PHYSDEVOP.pirq_eoi_gmfn_v2, guest.put(99_999)), -22],
  ['a device that is not there', () => physdev(PHYSDEVOP.restore_msi, guest.put(0)), -19],
  ['a pin that is not there', () => physdev(PHYSDEVOP.setup_gsi, guest.put(0xffffffff)), -22],
  ['a pin', () => physdev(PHYSDEVOP.setup_gsi, guest.put(9)), -1],
  ['half a function', () => physdev(PHYSDEVOP.manage_pci_add_ext, guest.put(2n << 32n, 0)), -22],
  ['a function', () => physdev(PHYSDEVOP.manage_pci_add_ext, guest.put(1n << 32n, 0)), -1],
  ['devices’ configuration', () => physdev(PHYSDEVOP.pci_mmcfg_reserved, UNMAPPED), -1],
  ['a device operation in the old form', () => guest.call(hypercall.physdev_op_compat, guest.put(99, 0, 0)), -38],
  ['the time, as of the other kind', () => guest.call(hypercall.hvm_op, 10, guest.put(0)), 0],
  ['a parameter that is none', () => guest.call(hypercall.hvm_op, 0, guest.put(BigInt(SELF) | (39n << 32n), 0)), -22],
  ['a parameter of nobody', () => guest.call(hypercall.hvm_op, 1, guest.put(NOBODY, 0)), -3],
  ['dying tables of another', () => guest.call(hypercall.hvm_op, 9, guest.put(HOST, 0)), -95],
  ['a type of memory of another', () => guest.call(hypercall.hvm_op, 15, guest.put(HOST, 0)), -1],
  ['another view of memory', () => guest.call(hypercall.hvm_op, 25, UNMAPPED), -95],
  ['a model with three buffers', () => guest.call(41, 1, 3, UNMAPPED), -7],
  ['a model with no buffers', () => guest.call(41, HOST, 0, UNMAPPED), -22],
  ['a model of nobody', () => guest.call(41, NOBODY, 0, 0), -3],
  ['a model of itself', () => guest.call(41, guest.pv.domain.id, 0, 0), -1],
  ['a profile of no kind', () => guest.call(31, 18, 0), -22],
  ['a profile of others', () => guest.call(31, 3, 0), -1],
  ['a profile’s buffer to nowhere', () => guest.call(31, 14, UNMAPPED), -14],
  ['a profile to nowhere', () => guest.call(31, 0, UNMAPPED), -14],
  ['a profile’s interrupts', () => guest.call(31, 8, UNMAPPED), -1],
  ['a profile’s interrupts no more', () => guest.call(31, 11, UNMAPPED), -1],
  ['a profile’s operation -1', () => guest.call(31, -1, UNMAPPED), -22],
  ['an end of no interrupt', () => physdev(PHYSDEVOP.eoi, make(abi.physdev_eoi, { irq: 5 })), -22],
  ['an APIC', () => physdev(PHYSDEVOP.apic_read, make(abi.physdev_apic, {})), -1],
  ['no such device operation', () => physdev(99, UNMAPPED), -38],
  ['no such assist', () => guest.call(hypercall.vm_assist, 0, 31), -22],
  ['nothing done to an assist', () => guest.call(hypercall.vm_assist, 2, 4), -38],
  ['debug register 8', () => guest.call(hypercall.set_debugreg, 8, 0), -19],
  ['read debug register 8', () => guest.call(hypercall.get_debugreg, 8), -19],
  ['DR7 with GD', () => guest.call(hypercall.set_debugreg, 7, 0x2000), -1],
  ['DR7 with a port, without CR4.DE', () => guest.call(hypercall.set_debugreg, 7, 0x20002), -1],
  ['a GDT too long', () => guest.call(hypercall.set_gdt, UNMAPPED, 7169), -22],
  ['a GDT’s list unmapped', () => guest.call(hypercall.set_gdt, UNMAPPED, 1), -14],
  ['a GDT of tables', () => guest.call(hypercall.set_gdt, guest.put(guest.vcpu.kernelRoot), 1), -22],
  ['a trap table unmapped', () => guest.call(hypercall.set_trap_table, UNMAPPED), -14],
  ['a callback of no type', () => guest.call(hypercall.callback_op, 0, make(abi.callback_register, { type: 6 })), -38],
  [
    'unregister the event callback',
    () => guest.call(hypercall.callback_op, 1, make(abi.callback_unregister, { type: 0 })),
    -22,
  ],
  ['no such NMI operation', () => guest.call(hypercall.nmi_op, 9, UNMAPPED), -38],
  ['a version to where nothing is', () => guest.call(hypercall.xen_version, 1, UNMAPPED), -14],
  ['features of no submap', () => guest.call(hypercall.xen_version, 6, guest.put(1)), -22],
  ['the page size, with an argument', () => guest.call(hypercall.xen_version, 7, 8), -22],
  ['no such version', () => guest.call(hypercall.xen_version, 99, 0), -38],
  ['a batch unmapped', () => guest.call(hypercall.multicall, UNMAPPED, 1), -14],
  ['a batch of nothing in Xen’s range', () => guest.call(hypercall.multicall, xenAddress(), 0), -14],
];

const flush = (address: bigint, offset: number, length: number, op: number): bigint => {
  const request = guest.put(address, BigInt(offset) | (BigInt(length) << 16n) | (BigInt(op >>> 0) << 32n));
  return guest.call(hypercall.grant_table_op, GNTTABOP.cache_flush, request, 1);
};
/** In the range that is Xen's. */
const xenAddress = (): bigint => (width === 64 ? 0xffff800000000000n : 0xf5800000n);

const FAULTING = [
  ...faulting(hypercall.event_channel_op, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13),
  ...faulting(hypercall.sched_op, 2, 3, 4, 5, 6),
  ...faulting(hypercall.memory_op, 3, 4, 5, 7, 9, 11, 12, 13, 14, 15, 16, 17, 21, 23, 26, 27),
  ...faulting(hypercall.grant_table_op, 0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11),
  ...faulting(hypercall.physdev_op, 5, 6, 7, 8, 9, 10, 12, 13, 14, 23),
  ...faulting(hypercall.callback_op, 0, 1),
  ...faulting(hypercall.nmi_op, 0),
];

describe.each([64, 32] as const)('a PV%d guest', (bits) => {
  beforeAll(() => {
    width = bits;
    const on = createTestHypervisor();
    other = createTestGuest({ name: `other-${bits}` }, on).pv.domain.id;
    guest = createTestGuest({ name: `guest-${bits}`, vcpus: 2, ...(bits === 32 ? { image: compatImage() } : {}) }, on);
  });

  it.each(rows)('hears of %s what Xen says', (_, call, answer) => {
    expect(Number(call())).toBe(typeof answer === 'number' ? answer : answer[bits === 64 ? 0 : 1]);
    expect(guest.pv.domain.state).not.toBe('crashed');
  });

  it.each(FAULTING)('hears EFAULT of %s without an argument', (_, call) => {
    expect(call()).toBe(-14n);
  });
});
