/**
 * Constants of public/xen.h, arch-x86/xen*.h, features.h, grant_table.h, vcpu.h and elfnote.h that are not
 * operations. Values that need 64 bits are bigints.
 */

// Domain ids.
export const DOMID_FIRST_RESERVED = 0x7ff0;
export const DOMID_SELF = 0x7ff0;
export const DOMID_IO = 0x7ff1;
export const DOMID_XEN = 0x7ff2;
export const DOMID_COW = 0x7ff3;
export const DOMID_INVALID = 0x7ff4;
export const DOMID_IDLE = 0x7fff;

/** Bit numbers of feature submap 0: `XENFEAT_*`. */
export const XENFEAT = {
  writable_page_tables: 0,
  writable_descriptor_tables: 1,
  auto_translated_physmap: 2,
  supervisor_mode_kernel: 3,
  pae_pgdir_above_4gb: 4,
  mmu_pt_update_preserve_ad: 5,
  highmem_assist: 6,
  gnttab_map_avail_bits: 7,
  hvm_callback_vector: 8,
  hvm_safe_pvclock: 9,
  hvm_pirqs: 10,
  dom0: 11,
  grant_map_identity: 12,
  memory_op_vnode_supported: 13,
  linux_rsdp_unrestricted: 15,
  not_direct_mapped: 16,
  direct_mapped: 17,
  runstate_phys_area: 18,
  vcpu_time_phys_area: 19,
} as const;

export const VIRQ = {
  TIMER: 0,
  DEBUG: 1,
  CONSOLE: 2,
  DOM_EXC: 3,
  TBUF: 4,
  DEBUGGER: 6,
  XENOPROF: 7,
  CON_RING: 8,
  PCPU_STATE: 9,
  MEM_EVENT: 10,
  ARGO: 11,
  ENOMEM: 12,
  XENPMU: 13,
  ARCH_0: 16,
  ARCH_7: 23,
} as const;
export const NR_VIRQS = 24;
/** VIRQs bound per vCPU; the others exist once per domain. */
export const PER_VCPU_VIRQS: readonly number[] = [VIRQ.TIMER, VIRQ.DEBUG, VIRQ.XENOPROF, VIRQ.XENPMU];

// Flat selectors of the 32-bit ABI (arch-x86/xen-x86_32.h).
export const FLAT_RING1_CS = 0xe019;
export const FLAT_RING1_DS = 0xe021;
export const FLAT_RING1_SS = 0xe021;
export const FLAT_RING3_CS = 0xe02b;
export const FLAT_RING3_DS = 0xe033;
export const FLAT_RING3_SS = 0xe033;
// Flat selectors of the 64-bit ABI (arch-x86/xen-x86_64.h).
export const FLAT_RING3_CS32 = 0xe023;
export const FLAT_RING3_CS64 = 0xe033;
export const FLAT_RING3_DS32 = 0xe02b;
export const FLAT_RING3_DS64 = 0;
export const FLAT_RING3_SS32 = 0xe02b;
export const FLAT_RING3_SS64 = 0xe02b;
/** Selectors a PV kernel is entered with, by ABI: `FLAT_KERNEL_CS`, `_DS`, `_SS`. */
export const FLAT_KERNEL = {
  32: { CS: FLAT_RING1_CS, DS: FLAT_RING1_DS, SS: FLAT_RING1_SS },
  64: { CS: FLAT_RING3_CS64, DS: FLAT_RING3_DS64, SS: FLAT_RING3_SS64 },
} as const;
/** Selectors of flat user segments, by ABI: `FLAT_USER_CS`, `_DS`, `_SS`. */
export const FLAT_USER = {
  32: { CS: FLAT_RING3_CS, DS: FLAT_RING3_DS, SS: FLAT_RING3_SS },
  64: { CS: FLAT_RING3_CS64, DS: FLAT_RING3_DS64, SS: FLAT_RING3_SS64 },
} as const;

/** The guest's part of the GDT ends here; what follows is Xen's. */
export const FIRST_RESERVED_GDT_PAGE = 14;
export const FIRST_RESERVED_GDT_BYTE = 0xe000;
export const FIRST_RESERVED_GDT_ENTRY = 7168;

// The hypervisor's part of the address space.
export const HYPERVISOR_VIRT_START_PAE = 0xf580_0000;
export const MACH2PHYS_VIRT_START_PAE = 0xf580_0000;
export const MACH2PHYS_VIRT_END_PAE = 0xf680_0000;
export const HYPERVISOR_VIRT_START = 0xffff_8000_0000_0000n;
export const HYPERVISOR_VIRT_END = 0xffff_8800_0000_0000n;
export const MACH2PHYS_VIRT_START = 0xffff_8000_0000_0000n;
export const MACH2PHYS_VIRT_END = 0xffff_8040_0000_0000n;
/** L4 slots that belong to Xen: first, and one past the last. */
export const HYPERVISOR_L4_SLOT_FIRST = 256;
export const HYPERVISOR_L4_SLOT_END = 272;

// start_info.flags.
export const SIF_PRIVILEGED = 1;
export const SIF_INITDOMAIN = 2;
export const SIF_MULTIBOOT_MOD = 4;
export const SIF_MOD_START_PFN = 8;
export const SIF_VIRT_P2M_4TOOLS = 16;
export const SIF_PM_MASK = 0xff00;

export const XEN_START_MAGIC = { 32: 'xen-3.0-x86_32p', 64: 'xen-3.0-x86_64' } as const;
export const XEN_HVM_START_MAGIC_VALUE = 0x336e_c578;
export const MAX_GUEST_CMDLINE = 1024;

// vcpu_guest_context.flags and the flags word of the iret frame.
export const VGCF_I387_VALID = 1;
export const VGCF_IN_KERNEL = 4;
export const VGCF_FAILSAFE_DISABLES_EVENTS = 8;
export const VGCF_SYSCALL_DISABLES_EVENTS = 16;
export const VGCF_ONLINE = 32;
export const VGCF_IN_SYSCALL = 0x100;

// trap_info.flags: bits 0-1 are the DPL for INT n.
export const TI_DPL_MASK = 3;
export const TI_EVENT_MASK = 4;

export const XEN_LEGACY_MAX_VCPUS = 32;
/** Event channels of the two-level ABI, by ABI. */
export const EVTCHN_2L_NR_CHANNELS = { 32: 1024, 64: 4096 } as const;

// Event words of the FIFO ABI: bit numbers and limits.
export const EVTCHN_FIFO_PENDING = 31;
export const EVTCHN_FIFO_MASKED = 30;
export const EVTCHN_FIFO_LINKED = 29;
export const EVTCHN_FIFO_BUSY = 28;
export const EVTCHN_FIFO_LINK_BITS = 17;
export const EVTCHN_FIFO_LINK_MASK = 0x1_ffff;
export const EVTCHN_FIFO_NR_CHANNELS = 131_072;
export const EVTCHN_FIFO_PRIORITY_MAX = 0;
export const EVTCHN_FIFO_PRIORITY_DEFAULT = 7;
export const EVTCHN_FIFO_PRIORITY_MIN = 15;
export const EVTCHN_FIFO_MAX_QUEUES = 16;
export const EVTCHN_FIFO_WORDS_PER_PAGE = 1024;

export const BIND_PIRQ__WILL_SHARE = 1;

/** `RUNSTATE_*`. */
export const RUNSTATE = { running: 0, runnable: 1, blocked: 2, offline: 3 } as const;
/** In `state_entry_time`: Xen is writing the area. */
export const XEN_RUNSTATE_UPDATE = 1n << 63n;
/** vcpu_set_singleshot_timer.flags: fail with ETIME when the time has passed. */
export const VCPU_SSHOTTMR_future = 1;
/** vcpu_time_info.flags: the TSC is stable across vCPUs. */
export const XEN_PVCLOCK_TSC_STABLE_BIT = 1;

// Grant entries.
export const GTF_type_mask = 3;
export const GTF_invalid = 0;
export const GTF_permit_access = 1;
export const GTF_accept_transfer = 2;
export const GTF_transitive = 3;
export const GTF_readonly = 4;
export const GTF_reading = 8;
export const GTF_writing = 16;
export const GTF_PWT = 32;
export const GTF_PCD = 64;
export const GTF_PAT = 128;
export const GTF_sub_page = 256;
export const GTF_transfer_committed = 4;
export const GTF_transfer_completed = 8;
export const GNTTAB_NR_RESERVED_ENTRIES = 8;
export const GNTTAB_RESERVED_CONSOLE = 0;
export const GNTTAB_RESERVED_XENSTORE = 1;
/** Flags of GNTTABOP_map_grant_ref: `GNTMAP_*`. */
export const GNTMAP = { device_map: 1, host_map: 2, readonly: 4, application_map: 8, contains_pte: 16 } as const;
/** Flags of GNTTABOP_copy: `GNTCOPY_*`. */
export const GNTCOPY = { source_gref: 1, dest_gref: 2 } as const;
/** Status of a grant operation: `GNTST_*`. */
export const GNTST = {
  okay: 0,
  general_error: -1,
  bad_domain: -2,
  bad_gntref: -3,
  bad_handle: -4,
  bad_virt_addr: -5,
  bad_dev_addr: -6,
  no_device_space: -7,
  permission_denied: -8,
  bad_page: -9,
  bad_copy_arg: -10,
  address_too_big: -11,
  eagain: -12,
  no_space: -13,
} as const;

/** Note types of the owner "Xen": public/elfnote.h, `XEN_ELFNOTE_*`. */
export const XEN_ELFNOTE = {
  INFO: 0,
  ENTRY: 1,
  HYPERCALL_PAGE: 2,
  VIRT_BASE: 3,
  PADDR_OFFSET: 4,
  XEN_VERSION: 5,
  GUEST_OS: 6,
  GUEST_VERSION: 7,
  LOADER: 8,
  PAE_MODE: 9,
  FEATURES: 10,
  BSD_SYMTAB: 11,
  HV_START_LOW: 12,
  L1_MFN_VALID: 13,
  SUSPEND_CANCEL: 14,
  INIT_P2M: 15,
  MOD_START_PFN: 16,
  SUPPORTED_FEATURES: 17,
  PHYS32_ENTRY: 18,
} as const;

/** Types of a memory-map (e820) entry. */
export const E820 = { RAM: 1, RESERVED: 2, ACPI: 3, NVS: 4, UNUSABLE: 5, DISABLED: 6, PMEM: 7 } as const;

// CPUID leaves of the hypervisor.
export const XEN_CPUID_FIRST_LEAF = 0x4000_0000;
export const XEN_CPUID_SIGNATURE_EBX = 0x566e_6558;
export const XEN_CPUID_SIGNATURE_ECX = 0x6558_4d4d;
export const XEN_CPUID_SIGNATURE_EDX = 0x4d4d_566e;
/** MSR whose write places the hypercall page. */
export const XEN_HYPERCALL_MSR = 0x4000_0000;
/** `ud2; "xen"`: in front of CPUID it forces emulation in a PV guest. */
export const XEN_EMULATE_PREFIX: readonly number[] = [0x0f, 0x0b, 0x78, 0x65, 0x6e];

/** Xen's software bit in an L1 entry of a 64-bit guest: a page of the guest kernel. */
export const PAGE_GUEST_KERNEL = 1n << 52n;
