/**
 * Hypercall numbers: public/xen.h, `__HYPERVISOR_*`. Also the sub-operation numbers of the calls that take one, each
 * object named by the prefix its header uses and keyed by what follows the prefix.
 */

export const hypercall = {
  set_trap_table: 0,
  mmu_update: 1,
  set_gdt: 2,
  stack_switch: 3,
  set_callbacks: 4,
  fpu_taskswitch: 5,
  sched_op_compat: 6,
  platform_op: 7,
  set_debugreg: 8,
  get_debugreg: 9,
  update_descriptor: 10,
  memory_op: 12,
  multicall: 13,
  update_va_mapping: 14,
  set_timer_op: 15,
  event_channel_op_compat: 16,
  xen_version: 17,
  console_io: 18,
  physdev_op_compat: 19,
  grant_table_op: 20,
  vm_assist: 21,
  update_va_mapping_otherdomain: 22,
  iret: 23,
  vcpu_op: 24,
  set_segment_base: 25,
  mmuext_op: 26,
  xsm_op: 27,
  nmi_op: 28,
  sched_op: 29,
  callback_op: 30,
  xenoprof_op: 31,
  event_channel_op: 32,
  physdev_op: 33,
  hvm_op: 34,
  sysctl: 35,
  domctl: 36,
  kexec_op: 37,
  tmem_op: 38,
  argo_op: 39,
  xenpmu_op: 40,
  dm_op: 41,
  hypfs_op: 42,
  mca: 48,
} as const;

/** Numbers below this have a slot in the hypercall page. */
export const NR_HYPERCALLS = 64;
export const HYPERCALL_SLOT_BYTES = 32;

/** memory_op: public/memory.h, `XENMEM_*`. */
export const XENMEM = {
  increase_reservation: 0,
  decrease_reservation: 1,
  maximum_ram_page: 2,
  current_reservation: 3,
  maximum_reservation: 4,
  machphys_mfn_list: 5,
  populate_physmap: 6,
  add_to_physmap: 7,
  memory_map: 9,
  machine_memory_map: 10,
  exchange: 11,
  machphys_mapping: 12,
  set_memory_map: 13,
  maximum_gpfn: 14,
  remove_from_physmap: 15,
  set_pod_target: 16,
  get_pod_target: 17,
  get_sharing_freed_pages: 18,
  get_sharing_shared_pages: 19,
  access_op: 21,
  add_to_physmap_batch: 23,
  claim_pages: 24,
  machphys_compat_mfn_list: 25,
  get_vnumainfo: 26,
  reserved_device_memory_map: 27,
  acquire_resource: 28,
} as const;

/** Spaces of XENMEM_add_to_physmap: `XENMAPSPACE_*`. */
export const XENMAPSPACE = {
  shared_info: 0,
  grant_table: 1,
  gmfn: 2,
  gmfn_range: 3,
  gmfn_foreign: 4,
  dev_mmio: 5,
} as const;
/** In the grant-table space: the index names a version 2 status frame. */
export const XENMAPIDX_grant_table_status = 0x8000_0000;

/** `mem_flags` of a reservation: `XENMEMF_*`. */
export const XENMEMF = {
  address_bits_mask: 0xff,
  node_shift: 8,
  /** The node's number plus one; 0 for none. */
  node_mask: 0xff,
  populate_on_demand: 1 << 16,
  exact_node: 1 << 17,
  vnode: 1 << 18,
} as const;

/** event_channel_op: public/event_channel.h, `EVTCHNOP_*`. */
export const EVTCHNOP = {
  bind_interdomain: 0,
  bind_virq: 1,
  bind_pirq: 2,
  close: 3,
  send: 4,
  status: 5,
  alloc_unbound: 6,
  bind_ipi: 7,
  bind_vcpu: 8,
  unmask: 9,
  reset: 10,
  init_control: 11,
  expand_array: 12,
  set_priority: 13,
  /** Xen's own, for the rest of a reset; a guest may use it too. */
  reset_cont: 14,
} as const;

/** Answers of EVTCHNOP_status: `EVTCHNSTAT_*`. */
export const EVTCHNSTAT = { closed: 0, unbound: 1, interdomain: 2, pirq: 3, virq: 4, ipi: 5 } as const;

/** grant_table_op: public/grant_table.h, `GNTTABOP_*`. */
export const GNTTABOP = {
  map_grant_ref: 0,
  unmap_grant_ref: 1,
  setup_table: 2,
  dump_table: 3,
  transfer: 4,
  copy: 5,
  query_size: 6,
  unmap_and_replace: 7,
  set_version: 8,
  get_status_frames: 9,
  get_version: 10,
  swap_grant_ref: 11,
  cache_flush: 12,
} as const;

/** sched_op: public/sched.h, `SCHEDOP_*`. */
export const SCHEDOP = {
  yield: 0,
  block: 1,
  shutdown: 2,
  poll: 3,
  remote_shutdown: 4,
  shutdown_code: 5,
  watchdog: 6,
  pin_override: 7,
} as const;

/** Reasons of SCHEDOP_shutdown: `SHUTDOWN_*`. */
export const SHUTDOWN = { poweroff: 0, reboot: 1, suspend: 2, crash: 3, watchdog: 4, soft_reset: 5 } as const;

/** vcpu_op: public/vcpu.h, `VCPUOP_*`. */
export const VCPUOP = {
  initialise: 0,
  up: 1,
  down: 2,
  is_up: 3,
  get_runstate_info: 4,
  register_runstate_memory_area: 5,
  set_periodic_timer: 6,
  stop_periodic_timer: 7,
  set_singleshot_timer: 8,
  stop_singleshot_timer: 9,
  register_vcpu_info: 10,
  send_nmi: 11,
  get_physid: 12,
  register_vcpu_time_memory_area: 13,
  register_runstate_phys_area: 14,
  register_vcpu_time_phys_area: 15,
} as const;

/** mmuext_op: public/xen.h, `MMUEXT_*`. */
export const MMUEXT = {
  PIN_L1_TABLE: 0,
  PIN_L2_TABLE: 1,
  PIN_L3_TABLE: 2,
  PIN_L4_TABLE: 3,
  UNPIN_TABLE: 4,
  NEW_BASEPTR: 5,
  TLB_FLUSH_LOCAL: 6,
  INVLPG_LOCAL: 7,
  TLB_FLUSH_MULTI: 8,
  INVLPG_MULTI: 9,
  TLB_FLUSH_ALL: 10,
  INVLPG_ALL: 11,
  FLUSH_CACHE: 12,
  SET_LDT: 13,
  NEW_USER_BASEPTR: 15,
  CLEAR_PAGE: 16,
  COPY_PAGE: 17,
  FLUSH_CACHE_GLOBAL: 18,
  MARK_SUPER: 19,
  UNMARK_SUPER: 20,
} as const;

/** Low two bits of `mmu_update.ptr`: `MMU_*`. */
export const MMU = {
  NORMAL_PT_UPDATE: 0,
  MACHPHYS_UPDATE: 1,
  PT_UPDATE_PRESERVE_AD: 2,
  PT_UPDATE_NO_TRANSLATE: 3,
} as const;
/** In the counts of mmu_update and mmuext_op: a continuation after pre-emption. */
export const MMU_UPDATE_PREEMPTED = 0x8000_0000;

/** Flags of update_va_mapping: `UVMF_*`. */
export const UVMF = {
  NONE: 0,
  TLB_FLUSH: 1,
  INVLPG: 2,
  FLUSHTYPE_MASK: 3,
  LOCAL: 0,
  MULTI: 0,
  ALL: 4,
} as const;

/** physdev_op: public/physdev.h, `PHYSDEVOP_*`. */
export const PHYSDEVOP = {
  IRQ_UNMASK_NOTIFY: 4,
  irq_status_query: 5,
  set_iopl: 6,
  set_iobitmap: 7,
  apic_read: 8,
  apic_write: 9,
  alloc_irq_vector: 10,
  eoi: 12,
  map_pirq: 13,
  unmap_pirq: 14,
  manage_pci_add: 15,
  manage_pci_remove: 16,
  pirq_eoi_gmfn_v1: 17,
  restore_msi: 19,
  manage_pci_add_ext: 20,
  setup_gsi: 21,
  get_free_pirq: 23,
  pci_mmcfg_reserved: 24,
  pci_device_add: 25,
  pci_device_remove: 26,
  restore_msi_ext: 27,
  pirq_eoi_gmfn_v2: 28,
  dbgp_op: 29,
  prepare_msix: 30,
  release_msix: 31,
} as const;

/** Kinds of physical interrupts: public/physdev.h, `MAP_PIRQ_TYPE_*`. */
export const MAP_PIRQ_TYPE = { MSI: 0, GSI: 1, UNKNOWN: 2, MSI_SEG: 3, MULTI_MSI: 4 } as const;

/** xenoprof_op: public/xenoprof.h, `XENOPROF_*`. */
export const XENOPROF = { init: 0, enable_virq: 8, disable_virq: 11, get_buffer: 14, last_op: 17 } as const;

/** xen_version: public/version.h, `XENVER_*`. */
export const XENVER = {
  version: 0,
  extraversion: 1,
  compile_info: 2,
  capabilities: 3,
  changeset: 4,
  platform_parameters: 5,
  get_features: 6,
  pagesize: 7,
  guest_handle: 8,
  commandline: 9,
  build_id: 10,
} as const;

/** callback_op: public/callback.h, `CALLBACKOP_*`. */
export const CALLBACKOP = { register: 0, unregister: 1 } as const;
export const CALLBACKTYPE = {
  event: 0,
  failsafe: 1,
  syscall: 2,
  sysenter_deprecated: 3,
  nmi: 4,
  sysenter: 5,
  syscall32: 7,
} as const;
/** Flag of a callback: enter it with events masked. */
export const CALLBACKF_mask_events = 1;

/** vm_assist: public/xen.h, `VMASST_CMD_*` and `VMASST_TYPE_*`. */
export const VMASST_CMD = { enable: 0, disable: 1 } as const;
export const VMASST_TYPE = {
  '4gb_segments': 0,
  '4gb_segments_notify': 1,
  writable_pagetables: 2,
  pae_extended_cr3: 3,
  architectural_iopl: 4,
  runstate_update_flag: 5,
  m2p_strict: 32,
} as const;

/** console_io: `CONSOLEIO_*`. */
export const CONSOLEIO = { write: 0, read: 1 } as const;

/** set_segment_base: `SEGBASE_*`. */
export const SEGBASE = { FS: 0, GS_USER: 1, GS_KERNEL: 2, GS_USER_SEL: 3 } as const;

/** nmi_op: public/nmi.h, `XENNMI_*`. */
export const XENNMI = { register_callback: 0, unregister_callback: 1 } as const;

/** xenpmu_op: public/pmu.h, `XENPMU_*`. */
export const XENPMU = {
  mode_get: 0,
  mode_set: 1,
  feature_get: 2,
  feature_set: 3,
  init: 4,
  finish: 5,
  lvtpc_set: 6,
  flush: 7,
} as const;

/** argo_op: public/argo.h, `XEN_ARGO_OP_*`. */
export const XEN_ARGO_OP = { register_ring: 1, unregister_ring: 2, sendv: 3, notify: 4 } as const;

/** hvm_op: public/hvm/hvm_op.h, `HVMOP_*`. */
export const HVMOP = {
  set_param: 0,
  get_param: 1,
  set_pci_intx_level: 2,
  set_isa_irq_level: 3,
  set_pci_link_route: 4,
  flush_tlbs: 5,
  pagetable_dying: 9,
  get_time: 10,
  xentrace: 11,
  get_mem_type: 15,
  set_evtchn_upcall_vector: 23,
  guest_request_vm_event: 24,
  altp2m: 25,
} as const;
/** Parameters of a domain (`HVM_NR_PARAMS`). */
export const HVM_NR_PARAMS = 39;

/** public/hvm/params.h, `HVM_PARAM_*`. */
export const HVM_PARAM = {
  CALLBACK_IRQ: 0,
  STORE_PFN: 1,
  STORE_EVTCHN: 2,
  PAE_ENABLED: 4,
  IOREQ_PFN: 5,
  BUFIOREQ_PFN: 6,
  VIRIDIAN: 9,
  TIMER_MODE: 10,
  HPET_ENABLED: 11,
  IDENT_PT: 12,
  ACPI_S_STATE: 14,
  VM86_TSS: 15,
  VPT_ALIGN: 16,
  CONSOLE_PFN: 17,
  CONSOLE_EVTCHN: 18,
  ACPI_IOPORTS_LOCATION: 19,
  BUFIOREQ_EVTCHN: 26,
  PAGING_RING_PFN: 27,
  MONITOR_RING_PFN: 28,
  SHARING_RING_PFN: 29,
  TRIPLE_FAULT_REASON: 31,
  IOREQ_SERVER_PFN: 32,
  NR_IOREQ_SERVER_PAGES: 33,
  VM_GENERATION_ID_ADDR: 34,
  ALTP2M: 35,
  X87_FIP_WIDTH: 36,
  VM86_TSS_SIZED: 37,
  MCA_CAP: 38,
} as const;
