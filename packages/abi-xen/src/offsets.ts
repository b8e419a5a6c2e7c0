/**
 * Plain offsets for code that is too hot for a codec, by ABI. They are computed from the layouts once, at load.
 */
import { arch_shared_info, shared_info, vcpu_runstate_info } from './layouts.js';
import type { Abi } from './struct.js';

/** Within vcpu_info, the same in both ABIs unless it says otherwise. */
export const VCPU_INFO_BYTES = 64;
export const VCPU_INFO_UPCALL_PENDING = 0;
export const VCPU_INFO_UPCALL_MASK = 1;
export const VCPU_INFO_PENDING_SEL = { 32: 4, 64: 8 } as const;
export const VCPU_INFO_CR2 = { 32: 8, 64: 16 } as const;
export const VCPU_INFO_TIME = 32;

/** Within vcpu_time_info. */
export const TIME_VERSION = 0;
export const TIME_TSC_TIMESTAMP = 8;
export const TIME_SYSTEM_TIME = 16;
export const TIME_TSC_TO_SYSTEM_MUL = 24;
export const TIME_TSC_SHIFT = 28;
export const TIME_FLAGS = 29;

export interface SharedInfoOffsets {
  /** vcpu_info[n] is at n times VCPU_INFO_BYTES. */
  readonly vcpu_info: number;
  readonly evtchn_pending: number;
  readonly evtchn_mask: number;
  readonly wc_version: number;
  readonly wc_sec: number;
  readonly wc_nsec: number;
  readonly wc_sec_hi: number;
  readonly max_pfn: number;
  readonly pfn_to_mfn_frame_list_list: number;
  readonly nmi_reason: number;
  readonly p2m_cr3: number;
  readonly p2m_vaddr: number;
  readonly p2m_generation: number;
}

function sharedInfoOffsets(abi: Abi): SharedInfoOffsets {
  const arch = shared_info.offset('arch', abi);
  return {
    vcpu_info: shared_info.offset('vcpu_info', abi),
    evtchn_pending: shared_info.offset('evtchn_pending', abi),
    evtchn_mask: shared_info.offset('evtchn_mask', abi),
    wc_version: shared_info.offset('wc_version', abi),
    wc_sec: shared_info.offset('wc_sec', abi),
    wc_nsec: shared_info.offset('wc_nsec', abi),
    wc_sec_hi: abi === 64 ? shared_info.offset('wc_sec_hi', 64) : arch + arch_shared_info.offset('wc_sec_hi', 32),
    max_pfn: arch + arch_shared_info.offset('max_pfn', abi),
    pfn_to_mfn_frame_list_list: arch + arch_shared_info.offset('pfn_to_mfn_frame_list_list', abi),
    nmi_reason: arch + arch_shared_info.offset('nmi_reason', abi),
    p2m_cr3: arch + arch_shared_info.offset('p2m_cr3', abi),
    p2m_vaddr: arch + arch_shared_info.offset('p2m_vaddr', abi),
    p2m_generation: arch + arch_shared_info.offset('p2m_generation', abi),
  };
}

export const SHARED_INFO_OFFSETS: Readonly<Record<Abi, SharedInfoOffsets>> = {
  32: sharedInfoOffsets(32),
  64: sharedInfoOffsets(64),
};

export interface RunstateOffsets {
  readonly state: number;
  readonly state_entry_time: number;
  readonly time: number;
  readonly size: number;
}

function runstateOffsets(abi: Abi): RunstateOffsets {
  return {
    state: vcpu_runstate_info.offset('state', abi),
    state_entry_time: vcpu_runstate_info.offset('state_entry_time', abi),
    time: vcpu_runstate_info.offset('time', abi),
    size: vcpu_runstate_info.size(abi),
  };
}

export const RUNSTATE_OFFSETS: Readonly<Record<Abi, RunstateOffsets>> = {
  32: runstateOffsets(32),
  64: runstateOffsets(64),
};
