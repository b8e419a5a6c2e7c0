/**
 * Structures that Xen shares with a domain or takes at boot: public/xen.h, arch-x86/xen.h, arch-x86/xen-x86_32.h,
 * arch-x86/xen-x86_64.h, vcpu.h, arch-x86/hvm/start_info.h. Member names are the headers' own. Where the ABIs differ
 * in members, one value type has them all and a member that an ABI lacks reads as zero.
 */
import { array, bytes, chars, s8, struct, structByAbi, u8, u16, u32, u64, word } from './struct.js';

export const vcpu_time_info = struct({
  version: u32,
  pad0: u32,
  tsc_timestamp: u64,
  system_time: u64,
  tsc_to_system_mul: u32,
  tsc_shift: s8,
  flags: u8,
  pad1: bytes(2),
});

export const arch_vcpu_info = structByAbi({ cr2: word, pad: array(word, 5) }, { cr2: word, pad: array(word, 1) });

export const vcpu_info = struct({
  evtchn_upcall_pending: u8,
  evtchn_upcall_mask: u8,
  evtchn_pending_sel: word,
  arch: arch_vcpu_info,
  time: vcpu_time_info,
});

const arch_shared_info_common = {
  max_pfn: word,
  pfn_to_mfn_frame_list_list: word,
  nmi_reason: word,
  p2m_cr3: word,
  p2m_vaddr: word,
  p2m_generation: word,
} as const;

export const arch_shared_info = structByAbi(
  { ...arch_shared_info_common, wc_sec_hi: u32 },
  { ...arch_shared_info_common },
);

export const shared_info = structByAbi(
  {
    vcpu_info: array(vcpu_info, 32),
    evtchn_pending: array(word, 32),
    evtchn_mask: array(word, 32),
    wc_version: u32,
    wc_sec: u32,
    wc_nsec: u32,
    arch: arch_shared_info,
  },
  {
    vcpu_info: array(vcpu_info, 32),
    evtchn_pending: array(word, 64),
    evtchn_mask: array(word, 64),
    wc_version: u32,
    wc_sec: u32,
    wc_nsec: u32,
    wc_sec_hi: u32,
    arch: arch_shared_info,
  },
);

export const start_info = struct({
  magic: chars(32),
  nr_pages: word,
  shared_info: word,
  flags: u32,
  store_mfn: word,
  store_evtchn: u32,
  /** `console.domU.mfn`; for the initial domain `console.dom0.info_off`. */
  console_mfn: word,
  /** `console.domU.evtchn`; for the initial domain `console.dom0.info_size`. */
  console_evtchn: u32,
  pt_base: word,
  nr_pt_frames: word,
  mfn_list: word,
  mod_start: word,
  mod_len: word,
  cmd_line: chars(1024),
  first_p2m_pfn: word,
  nr_p2m_frames: word,
});

export const vcpu_runstate_info = struct({ state: u32, state_entry_time: u64, time: array(u64, 4) });

/** Written by 64-bit names in both ABIs: `rip` is `eip` for a 32-bit guest. */
export const cpu_user_regs = structByAbi(
  {
    rbx: word,
    rcx: word,
    rdx: word,
    rsi: word,
    rdi: word,
    rbp: word,
    rax: word,
    error_code: u16,
    entry_vector: u16,
    rip: word,
    cs: u16,
    saved_upcall_mask: u8,
    _pad0: u8,
    rflags: word,
    rsp: word,
    ss: u16,
    _pad1: u16,
    es: u16,
    _pad2: u16,
    ds: u16,
    _pad3: u16,
    fs: u16,
    _pad4: u16,
    gs: u16,
    _pad5: u16,
  },
  {
    r15: word,
    r14: word,
    r13: word,
    r12: word,
    rbp: word,
    rbx: word,
    r11: word,
    r10: word,
    r9: word,
    r8: word,
    rax: word,
    rcx: word,
    rdx: word,
    rsi: word,
    rdi: word,
    error_code: u32,
    entry_vector: u32,
    rip: word,
    cs: u16,
    _pad0_64: u16,
    saved_upcall_mask: u8,
    _pad1_64: bytes(3),
    rflags: word,
    rsp: word,
    ss: u16,
    _pad2_64: bytes(6),
    es: u16,
    _pad3_64: bytes(6),
    ds: u16,
    _pad4_64: bytes(6),
    fs: u16,
    _pad5_64: bytes(6),
    gs: u16,
    _pad6_64: bytes(6),
  },
);

export const trap_info = struct({ vector: u8, flags: u8, cs: u16, address: word });

const vcpu_guest_context_common = {
  fpu_ctxt: bytes(512),
  flags: word,
  user_regs: cpu_user_regs,
  trap_ctxt: array(trap_info, 256),
  ldt_base: word,
  ldt_ents: word,
  gdt_frames: array(word, 16),
  gdt_ents: word,
  kernel_ss: word,
  kernel_sp: word,
  ctrlreg: array(word, 8),
  debugreg: array(word, 8),
} as const;

export const vcpu_guest_context = structByAbi(
  {
    ...vcpu_guest_context_common,
    event_callback_cs: word,
    event_callback_eip: word,
    failsafe_callback_cs: word,
    failsafe_callback_eip: word,
    vm_assist: word,
  },
  {
    ...vcpu_guest_context_common,
    event_callback_eip: word,
    failsafe_callback_eip: word,
    syscall_callback_eip: word,
    vm_assist: word,
    fs_base: word,
    gs_base_kernel: word,
    gs_base_user: word,
  },
);

export const hvm_start_info = struct({
  magic: u32,
  version: u32,
  flags: u32,
  nr_modules: u32,
  modlist_paddr: u64,
  cmdline_paddr: u64,
  rsdp_paddr: u64,
  memmap_paddr: u64,
  memmap_entries: u32,
  reserved: u32,
});
export const hvm_modlist_entry = struct({ paddr: u64, size: u64, cmdline_paddr: u64, reserved: u64 });
export const hvm_memmap_table_entry = struct({ addr: u64, size: u64, type: u32, reserved: u32 });

export const evtchn_fifo_control_block = struct({ ready: u32, _rsvd: u32, head: array(u32, 16) });

export const grant_entry_v1 = struct({ flags: u16, domid: u16, frame: u32 });
export const grant_entry_v2_full_page = struct({ flags: u16, domid: u16, pad0: u32, frame: u64 });
export const grant_entry_v2_sub_page = struct({ flags: u16, domid: u16, page_off: u16, length: u16, frame: u64 });
export const grant_entry_v2_transitive = struct({
  flags: u16,
  domid: u16,
  trans_domid: u16,
  pad0: u16,
  gref: u32,
  pad1: u32,
});
