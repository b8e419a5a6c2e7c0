/**
 * Argument structures of the hypercalls: public/memory.h, event_channel.h, grant_table.h, sched.h, vcpu.h, physdev.h,
 * callback.h, version.h, hvm/hvm_op.h and the general ones of xen.h. Each is named as in its header. Members that
 * Xen writes back are part of the same structure.
 */
import {
  array,
  chars,
  handle,
  s16,
  s32,
  signedWord,
  struct,
  structByAbi,
  u8,
  u16,
  u32,
  u64,
  word,
  xen_pfn,
} from './struct.js';

// xen.h
export const mmu_update = struct({ ptr: u64, val: u64 });
/** `arg1` is `mfn` or `linear_addr`; `arg2` is `nr_ents`, `vcpumask` or `src_mfn`. */
export const mmuext_op = struct({ cmd: u32, arg1: word, arg2: word });
export const multicall_entry = struct({ op: word, result: signedWord, args: array(word, 6) });
export const xennmi_callback = struct({ handler_address: word, pad: word });

// memory.h
export const xen_memory_reservation = struct({
  extent_start: handle,
  nr_extents: word,
  extent_order: u32,
  mem_flags: u32,
  domid: u16,
});
export const xen_memory_exchange = struct({
  in: xen_memory_reservation,
  out: xen_memory_reservation,
  nr_exchanged: word,
});
export const xen_machphys_mfn_list = struct({ max_extents: u32, extent_start: handle, nr_extents: u32 });
export const xen_machphys_mapping = struct({ v_start: word, v_end: word, max_mfn: word });
export const xen_add_to_physmap = struct({ domid: u16, size: u16, space: u32, idx: word, gpfn: xen_pfn });
export const xen_add_to_physmap_batch = struct({
  domid: u16,
  space: u16,
  size: u16,
  foreign_domid: u16,
  idxs: handle,
  gpfns: handle,
  errs: handle,
});
export const xen_remove_from_physmap = struct({ domid: u16, gpfn: xen_pfn });
export const xen_memory_map = struct({ nr_entries: u32, buffer: handle });
export const xen_foreign_memory_map = struct({ domid: u16, map: xen_memory_map });
export const xen_pod_target = struct({
  target_pages: u64,
  tot_pages: u64,
  pod_cache_pages: u64,
  pod_entries: u64,
  domid: u16,
});
/** An element of the memory map: 20 bytes, packed. */
export const e820entry = struct({ addr: u64, size: u64, type: u32 }, { packed: true });
/** Argument of current_reservation, maximum_reservation and maximum_gpfn. */
export const xen_memory_domid = struct({ domid: u16 });

// event_channel.h
export const evtchn_bind_interdomain = struct({ remote_dom: u16, remote_port: u32, local_port: u32 });
export const evtchn_bind_virq = struct({ virq: u32, vcpu: u32, port: u32 });
export const evtchn_bind_pirq = struct({ pirq: u32, flags: u32, port: u32 });
export const evtchn_close = struct({ port: u32 });
export const evtchn_send = struct({ port: u32 });
/** `u0`, `u1`: unbound.dom, or interdomain {dom, port}, or pirq, or virq. */
export const evtchn_status = struct({ dom: u16, port: u32, status: u32, vcpu: u32, u0: u32, u1: u32 });
export const evtchn_alloc_unbound = struct({ dom: u16, remote_dom: u16, port: u32 });
export const evtchn_bind_ipi = struct({ vcpu: u32, port: u32 });
export const evtchn_bind_vcpu = struct({ port: u32, vcpu: u32 });
export const evtchn_unmask = struct({ port: u32 });
export const evtchn_reset = struct({ dom: u16 });
export const evtchn_init_control = struct({
  control_gfn: u64,
  offset: u32,
  vcpu: u32,
  link_bits: u8,
  _pad: array(u8, 7),
});
export const evtchn_expand_array = struct({ array_gfn: u64 });
export const evtchn_set_priority = struct({ port: u32, priority: u32 });

// grant_table.h
export const gnttab_map_grant_ref = struct({
  host_addr: u64,
  flags: u32,
  ref: u32,
  dom: u16,
  status: s16,
  handle: u32,
  dev_bus_addr: u64,
});
export const gnttab_unmap_grant_ref = struct({ host_addr: u64, dev_bus_addr: u64, handle: u32, status: s16 });
export const gnttab_setup_table = struct({ dom: u16, nr_frames: u32, status: s16, frame_list: handle });
export const gnttab_dump_table = struct({ dom: u16, status: s16 });
export const gnttab_transfer = struct({ mfn: xen_pfn, domid: u16, ref: u32, status: s16 });
/** `u` is a grant reference in its low 32 bits (the rest is noise then), or a frame number, as the flags say. */
export const gnttab_copy_ptr = struct({ u: word, domid: u16, offset: u16 });
export const gnttab_copy = struct({
  source: gnttab_copy_ptr,
  dest: gnttab_copy_ptr,
  len: u16,
  flags: u16,
  status: s16,
});
export const gnttab_query_size = struct({ dom: u16, nr_frames: u32, max_nr_frames: u32, status: s16 });
export const gnttab_unmap_and_replace = struct({ host_addr: u64, new_addr: u64, handle: u32, status: s16 });
export const gnttab_set_version = struct({ version: u32 });
export const gnttab_get_version = struct({ dom: u16, pad: u16, version: u32 });
export const gnttab_get_status_frames = struct({ nr_frames: u32, dom: u16, status: s16, frame_list: handle });
export const gnttab_swap_grant_ref = struct({ ref_a: u32, ref_b: u32, status: s16 });
export const gnttab_cache_flush = struct({ a: u64, offset: u16, length: u16, op: u32 });

// sched.h
export const sched_shutdown = struct({ reason: u32 });
export const sched_poll = struct({ ports: handle, nr_ports: u32, timeout: u64 });
export const sched_remote_shutdown = struct({ domain_id: u16, reason: u32 });
export const sched_watchdog = struct({ id: u32, timeout: u32 });
export const sched_pin_override = struct({ pcpu: s32 });

// vcpu.h
export const vcpu_set_periodic_timer = struct({ period_ns: u64 });
export const vcpu_set_singleshot_timer = struct({ timeout_abs_ns: u64, flags: u32 });
export const vcpu_register_vcpu_info = struct({ mfn: u64, offset: u32, rsvd: u32 });
/** A virtual address, whatever the ABI 8 bytes long. */
export const vcpu_register_runstate_memory_area = struct({ addr: u64 });
export const vcpu_register_time_memory_area = struct({ addr: u64 });
export const vcpu_get_physid = struct({ phys_id: u64 });

// callback.h
export const callback_register = structByAbi(
  { type: u16, flags: u16, address_cs: word, address: word },
  { type: u16, flags: u16, address: word },
);
export const callback_unregister = struct({ type: u16, _unused: u16 });

// physdev.h
export const physdev_irq_status_query = struct({ irq: u32, flags: u32 });
export const physdev_set_iopl = struct({ iopl: u32 });
export const physdev_set_iobitmap = struct({ bitmap: handle, nr_ports: u32 });
export const physdev_apic = struct({ apic_physbase: word, reg: u32, value: u32 });
export const physdev_irq = struct({ irq: u32, vector: u32 });
export const physdev_eoi = struct({ irq: u32 });
export const physdev_pirq_eoi_gmfn = struct({ gmfn: xen_pfn });
export const physdev_map_pirq = struct({
  domid: u16,
  type: s32,
  index: s32,
  pirq: s32,
  bus: s32,
  devfn: s32,
  entry_nr: u16,
  table_base: u64,
});
export const physdev_unmap_pirq = struct({ domid: u16, pirq: s32 });
export const physdev_get_free_pirq = struct({ type: s32, pirq: u32 });

// xenoprof.h
export const xenoprof_init = struct({ num_events: s32, is_primary: s32, cpu_type: chars(64) });
export const xenoprof_get_buffer = struct({ max_samples: s32, nbuf: s32, bufsize: s32, buf_gmaddr: u64 });

// version.h
export const xen_feature_info = struct({ submap_idx: u32, submap: u32 });
export const xen_platform_parameters = struct({ virt_start: word });
export const xen_extraversion = chars(16);
export const xen_compile_info = struct({
  compiler: chars(64),
  compile_by: chars(16),
  compile_domain: chars(32),
  compile_date: chars(32),
});
export const xen_capabilities_info = chars(1024);
export const xen_changeset_info = chars(64);
export const xen_commandline = chars(1024);
export const xen_domain_handle = array(u8, 16);

// hvm_op.h
export const xen_hvm_param = struct({ domid: u16, pad: u16, index: u32, value: u64 });
export const xen_hvm_evtchn_upcall_vector = struct({ vcpu: u32, vector: u8 });
