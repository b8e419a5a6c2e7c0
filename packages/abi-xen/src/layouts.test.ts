import { describe, expect, it } from 'vitest';
import * as abi from './index.js';

const both = (layout: { size(abi: abi.Abi): number }) => [layout.size(32), layout.size(64)];
const at = <K extends string>(layout: { offset(field: K, abi: abi.Abi): number }, field: K) => [
  layout.offset(field, 32),
  layout.offset(field, 64),
];

describe('sizes are those of the public headers', () => {
  it.each([
    ['vcpu_info', abi.vcpu_info, 64, 64],
    ['vcpu_time_info', abi.vcpu_time_info, 32, 32],
    ['vcpu_runstate_info', abi.vcpu_runstate_info, 44, 48],
    ['vcpu_guest_context', abi.vcpu_guest_context, 2800, 5168],
    ['cpu_user_regs', abi.cpu_user_regs, 68, 200],
    ['trap_info', abi.trap_info, 8, 16],
    ['mmu_update', abi.mmu_update, 16, 16],
    ['mmuext_op', abi.mmuext_op, 12, 24],
    ['multicall_entry', abi.multicall_entry, 32, 64],
    ['xen_memory_reservation', abi.xen_memory_reservation, 20, 32],
    ['xen_add_to_physmap', abi.xen_add_to_physmap, 16, 24],
    ['e820entry', abi.e820entry, 20, 20],
    ['evtchn_bind_interdomain', abi.evtchn_bind_interdomain, 12, 12],
    ['evtchn_bind_virq', abi.evtchn_bind_virq, 12, 12],
    ['evtchn_status', abi.evtchn_status, 24, 24],
    ['evtchn_alloc_unbound', abi.evtchn_alloc_unbound, 8, 8],
    ['evtchn_init_control', abi.evtchn_init_control, 24, 24],
    ['evtchn_fifo_control_block', abi.evtchn_fifo_control_block, 72, 72],
    ['gnttab_map_grant_ref', abi.gnttab_map_grant_ref, 32, 32],
    ['gnttab_unmap_grant_ref', abi.gnttab_unmap_grant_ref, 24, 24],
    ['gnttab_setup_table', abi.gnttab_setup_table, 16, 24],
    ['gnttab_copy', abi.gnttab_copy, 24, 40],
    ['gnttab_query_size', abi.gnttab_query_size, 16, 16],
    ['grant_entry_v1', abi.grant_entry_v1, 8, 8],
    ['grant_entry_v2_full_page', abi.grant_entry_v2_full_page, 16, 16],
    ['grant_entry_v2_sub_page', abi.grant_entry_v2_sub_page, 16, 16],
    ['grant_entry_v2_transitive', abi.grant_entry_v2_transitive, 16, 16],
    ['hvm_start_info', abi.hvm_start_info, 56, 56],
    ['hvm_modlist_entry', abi.hvm_modlist_entry, 32, 32],
    ['hvm_memmap_table_entry', abi.hvm_memmap_table_entry, 24, 24],
    ['blkif_request', abi.blkif_request, 108, 112],
    ['blkif_request_discard', abi.blkif_request_discard, 28, 32],
    ['blkif_request_indirect', abi.blkif_request_indirect, 56, 64],
    ['blkif_response', abi.blkif_response, 12, 16],
    ['netif_tx_request', abi.netif_tx_request, 12, 12],
    ['netif_rx_response', abi.netif_rx_response, 8, 8],
    ['netif_extra_info', abi.netif_extra_info, 8, 8],
  ] as const)('%s', (_, layout, size32, size64) => {
    expect(both(layout)).toEqual([size32, size64]);
  });
});

describe('offsets are those of the public headers', () => {
  it('start_info', () => {
    expect(at(abi.start_info, 'nr_pages')).toEqual([0x20, 0x20]);
    expect(at(abi.start_info, 'shared_info')).toEqual([0x24, 0x28]);
    expect(at(abi.start_info, 'flags')).toEqual([0x28, 0x30]);
    expect(at(abi.start_info, 'store_mfn')).toEqual([0x2c, 0x38]);
    expect(at(abi.start_info, 'store_evtchn')).toEqual([0x30, 0x40]);
    expect(at(abi.start_info, 'console_mfn')).toEqual([0x34, 0x48]);
    expect(at(abi.start_info, 'console_evtchn')).toEqual([0x38, 0x50]);
    expect(at(abi.start_info, 'pt_base')).toEqual([0x3c, 0x58]);
    expect(at(abi.start_info, 'nr_pt_frames')).toEqual([0x40, 0x60]);
    expect(at(abi.start_info, 'mfn_list')).toEqual([0x44, 0x68]);
    expect(at(abi.start_info, 'mod_start')).toEqual([0x48, 0x70]);
    expect(at(abi.start_info, 'mod_len')).toEqual([0x4c, 0x78]);
    expect(at(abi.start_info, 'cmd_line')).toEqual([0x50, 0x80]);
    expect(at(abi.start_info, 'first_p2m_pfn')).toEqual([0x450, 0x480]);
    expect(at(abi.start_info, 'nr_p2m_frames')).toEqual([0x454, 0x488]);
  });

  it('vcpu_guest_context', () => {
    const context = abi.vcpu_guest_context;
    expect(at(context, 'flags')).toEqual([0x200, 0x200]);
    expect(at(context, 'user_regs')).toEqual([0x204, 0x208]);
    expect(at(context, 'trap_ctxt')).toEqual([0x248, 0x2d0]);
    expect(at(context, 'ldt_base')).toEqual([0xa48, 0x12d0]);
    expect(at(context, 'gdt_frames')).toEqual([0xa50, 0x12e0]);
    expect(at(context, 'gdt_ents')).toEqual([0xa90, 0x1360]);
    expect(at(context, 'kernel_ss')).toEqual([0xa94, 0x1368]);
    expect(at(context, 'kernel_sp')).toEqual([0xa98, 0x1370]);
    expect(at(context, 'ctrlreg')).toEqual([0xa9c, 0x1378]);
    expect(at(context, 'debugreg')).toEqual([0xabc, 0x13b8]);
    expect(at(context, 'vm_assist')).toEqual([0xaec, 0x1410]);
    expect(at(context, 'event_callback_cs')).toEqual([0xadc, -1]);
    expect(at(context, 'syscall_callback_eip')).toEqual([-1, 0x1408]);
  });

  it('cpu_user_regs', () => {
    expect(at(abi.cpu_user_regs, 'rax')).toEqual([24, 80]);
    expect(at(abi.cpu_user_regs, 'rip')).toEqual([32, 128]);
    expect(at(abi.cpu_user_regs, 'saved_upcall_mask')).toEqual([38, 140]);
    expect(at(abi.cpu_user_regs, 'rsp')).toEqual([44, 152]);
  });

  it('shared_info, also as plain constants', () => {
    expect(at(abi.shared_info, 'evtchn_pending')).toEqual([0x800, 0x800]);
    expect(at(abi.shared_info, 'evtchn_mask')).toEqual([0x880, 0xa00]);
    expect(at(abi.shared_info, 'wc_version')).toEqual([0x900, 0xc00]);
    expect(at(abi.shared_info, 'arch')).toEqual([0x90c, 0xc10]);
    expect(abi.SHARED_INFO_OFFSETS[32]).toMatchObject({
      wc_sec: 0x904,
      wc_sec_hi: 0x924,
      max_pfn: 0x90c,
      p2m_cr3: 0x918,
    });
    expect(abi.SHARED_INFO_OFFSETS[64]).toMatchObject({
      wc_sec_hi: 0xc0c,
      max_pfn: 0xc10,
      pfn_to_mfn_frame_list_list: 0xc18,
      nmi_reason: 0xc20,
      p2m_cr3: 0xc28,
      p2m_vaddr: 0xc30,
      p2m_generation: 0xc38,
    });
  });

  it.each([32, 64] as const)('vcpu_info and time constants equal the layout of the %i-bit ABI', (bits) => {
    expect(abi.VCPU_INFO_PENDING_SEL[bits]).toBe(abi.vcpu_info.offset('evtchn_pending_sel', bits));
    expect(abi.VCPU_INFO_CR2[bits]).toBe(abi.vcpu_info.offset('arch', bits));
    expect(abi.VCPU_INFO_TIME).toBe(abi.vcpu_info.offset('time', bits));
    expect(abi.TIME_TSC_TIMESTAMP).toBe(abi.vcpu_time_info.offset('tsc_timestamp', bits));
    expect(abi.TIME_SYSTEM_TIME).toBe(abi.vcpu_time_info.offset('system_time', bits));
    expect(abi.TIME_TSC_TO_SYSTEM_MUL).toBe(abi.vcpu_time_info.offset('tsc_to_system_mul', bits));
    expect(abi.TIME_TSC_SHIFT).toBe(abi.vcpu_time_info.offset('tsc_shift', bits));
    expect(abi.TIME_FLAGS).toBe(abi.vcpu_time_info.offset('flags', bits));
  });

  it('arguments', () => {
    expect(at(abi.xen_memory_reservation, 'nr_extents')).toEqual([4, 8]);
    expect(at(abi.xen_memory_reservation, 'domid')).toEqual([0x10, 0x18]);
    expect(at(abi.xen_add_to_physmap, 'gpfn')).toEqual([0xc, 0x10]);
    expect(at(abi.gnttab_map_grant_ref, 'dev_bus_addr')).toEqual([0x18, 0x18]);
    expect(at(abi.gnttab_unmap_grant_ref, 'status')).toEqual([0x14, 0x14]);
    expect(at(abi.gnttab_setup_table, 'frame_list')).toEqual([0xc, 0x10]);
    expect(at(abi.multicall_entry, 'args')).toEqual([8, 16]);
    expect(at(abi.mmuext_op, 'arg2')).toEqual([8, 16]);
    expect(at(abi.evtchn_init_control, 'link_bits')).toEqual([0x10, 0x10]);
    expect(at(abi.blkif_request, 'seg')).toEqual([0x14, 0x18]);
    expect(at(abi.blkif_request_indirect, 'indirect_grefs')).toEqual([0x18, 0x1c]);
  });

  it('rings', () => {
    expect(abi.ringEntries(112)).toBe(32);
    expect(abi.ringEntries(12)).toBe(256);
  });
});
