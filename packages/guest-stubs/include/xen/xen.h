/*
 * Xen's interface to paravirtual guests: the numbers, names and layouts of its public headers (xen.h,
 * arch-x86/xen-x86_64.h and xen-x86_32.h, version.h, sched.h, vcpu.h, event_channel.h, memory.h, io/console.h), as far
 * as the stubs use them. An unsigned long is a word of the guest, 64 or 32 bits wide.
 */
#ifndef XEN_XEN_H
#define XEN_XEN_H

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096

/* Hypercall numbers; number n is entered at byte 32 * n of the hypercall page. */
#define __HYPERVISOR_set_trap_table 0
#define __HYPERVISOR_mmu_update 1
#define __HYPERVISOR_set_gdt 2
#define __HYPERVISOR_stack_switch 3
#define __HYPERVISOR_set_callbacks 4
#define __HYPERVISOR_fpu_taskswitch 5
#define __HYPERVISOR_set_debugreg 8
#define __HYPERVISOR_get_debugreg 9
#define __HYPERVISOR_update_descriptor 10
#define __HYPERVISOR_memory_op 12
#define __HYPERVISOR_multicall 13
#define __HYPERVISOR_update_va_mapping 14
#define __HYPERVISOR_set_timer_op 15
#define __HYPERVISOR_xen_version 17
#define __HYPERVISOR_console_io 18
#define __HYPERVISOR_grant_table_op 20
#define __HYPERVISOR_vm_assist 21
#define __HYPERVISOR_iret 23
#define __HYPERVISOR_vcpu_op 24
#define __HYPERVISOR_set_segment_base 25
#define __HYPERVISOR_mmuext_op 26
#define __HYPERVISOR_sched_op 29
#define __HYPERVISOR_callback_op 30
#define __HYPERVISOR_event_channel_op 32

/* Selectors in Xen's part of the descriptor table, and where Xen lies. */
#ifdef __x86_64__
#define FLAT_RING3_CS32 0xe023
#define FLAT_RING3_SS32 0xe02b
#define FLAT_RING3_CS64 0xe033
#define FLAT_KERNEL_CS FLAT_RING3_CS64
#define FLAT_KERNEL_SS FLAT_RING3_SS32
#define FLAT_USER_CS FLAT_RING3_CS64
#define FLAT_USER_SS FLAT_RING3_SS32
#define HYPERVISOR_VIRT_START 0xffff800000000000
#define HYPERVISOR_VIRT_END 0xffff880000000000
#else
#define FLAT_RING1_CS 0xe019
#define FLAT_RING1_DS 0xe021
#define FLAT_RING3_CS 0xe02b
#define FLAT_RING3_DS 0xe033
#define FLAT_KERNEL_CS FLAT_RING1_CS
#define FLAT_KERNEL_DS FLAT_RING1_DS
#define FLAT_KERNEL_SS FLAT_RING1_DS
#define FLAT_USER_CS FLAT_RING3_CS
#define FLAT_USER_DS FLAT_RING3_DS
#define FLAT_USER_SS FLAT_RING3_DS
#define HYPERVISOR_VIRT_START 0xf5800000
#endif

/* Flag word of the frame that a 64-bit HYPERVISOR_iret takes. */
#define VGCF_in_syscall 0x100

#define XEN_EPERM 1
#define XEN_ENOENT 2
#define XEN_EFAULT 14
#define XEN_EINVAL 22
#define XEN_ENOSYS 38
#define XEN_ETIME 62

#ifndef __ASSEMBLER__
#include <stdint.h>

#define XEN_LEGACY_MAX_VCPUS 32
/* Event channels of the two-level form are bits in so many words. */
#define EVENT_WORD_BITS (8 * sizeof(unsigned long))
#define EVENT_WORDS EVENT_WORD_BITS
#define DOMID_SELF 0x7ff0
typedef uint16_t domid_t;

/* trap_info.flags */
#define XEN_TRAP_DPL(dpl) (dpl)
#define XEN_TRAP_MASK_EVENTS 4

struct trap_info {
  uint8_t vector;
  uint8_t flags;
  uint16_t cs;
  unsigned long address;
};

/* mmu_update: kinds of request, in the low two bits of ptr */
#define MMU_NORMAL_PT_UPDATE 0
#define MMU_MACHPHYS_UPDATE 1
#define MMU_PT_UPDATE_PRESERVE_AD 2

struct mmu_update {
  uint64_t ptr;
  uint64_t val;
};

#define MMUEXT_PIN_L1_TABLE 0
#define MMUEXT_PIN_L2_TABLE 1
#define MMUEXT_PIN_L3_TABLE 2
#define MMUEXT_PIN_L4_TABLE 3
#define MMUEXT_UNPIN_TABLE 4
#define MMUEXT_NEW_BASEPTR 5
#define MMUEXT_TLB_FLUSH_LOCAL 6
#define MMUEXT_INVLPG_LOCAL 7
#define MMUEXT_NEW_USER_BASEPTR 15

struct mmuext_op {
  uint32_t cmd;
  union {
    unsigned long mfn;
    unsigned long linear_addr;
  } arg1;
  union {
    uint32_t nr_ents;
    unsigned long vcpumask;
    unsigned long src_mfn;
  } arg2;
};

/* update_va_mapping flags */
#define UVMF_NONE 0
#define UVMF_TLB_FLUSH 1
#define UVMF_INVLPG 2
#define UVMF_LOCAL 0
#define UVMF_ALL 4

#define VMASST_CMD_enable 0
#define VMASST_CMD_disable 1
#define VMASST_TYPE_writable_pagetables 2

#define SEGBASE_FS 0
#define SEGBASE_GS_USER 1
#define SEGBASE_GS_KERNEL 2

#define CONSOLEIO_write 0
#define CONSOLEIO_read 1

/* xen_version */
#define XENVER_version 0
#define XENVER_extraversion 1
#define XENVER_compile_info 2
#define XENVER_capabilities 3
#define XENVER_changeset 4
#define XENVER_platform_parameters 5
#define XENVER_get_features 6
#define XENVER_pagesize 7

typedef char xen_extraversion_t[16];
typedef char xen_capabilities_info_t[1024];

struct xen_feature_info {
  uint32_t submap_idx;
  uint32_t submap;
};

/* memory_op */
#define XENMEM_maximum_ram_page 2
#define XENMEM_current_reservation 3
#define XENMEM_maximum_reservation 4
#define XENMEM_memory_map 9
#define XENMEM_machphys_mapping 12

struct xen_machphys_mapping {
  unsigned long v_start, v_end;
  unsigned long max_mfn;
};

struct xen_memory_map {
  uint32_t nr_entries;
  unsigned long buffer;
};

struct e820entry {
  uint64_t addr;
  uint64_t size;
  uint32_t type;
} __attribute__((packed));

/* sched_op */
#define SCHEDOP_yield 0
#define SCHEDOP_block 1
#define SCHEDOP_shutdown 2
#define SCHEDOP_poll 3

#define SHUTDOWN_poweroff 0
#define SHUTDOWN_reboot 1
#define SHUTDOWN_suspend 2
#define SHUTDOWN_crash 3

struct sched_shutdown {
  uint32_t reason;
};

struct sched_poll {
  unsigned long ports; /* address of uint32_t[] */
  uint32_t nr_ports;
  uint64_t timeout; /* absolute system time in ns; 0 waits for ever */
};

/* vcpu_op */
#define VCPUOP_is_up 3
#define VCPUOP_set_periodic_timer 6
#define VCPUOP_stop_periodic_timer 7
#define VCPUOP_set_singleshot_timer 8
#define VCPUOP_stop_singleshot_timer 9

struct vcpu_set_singleshot_timer {
  uint64_t timeout_abs_ns;
  uint32_t flags;
};

/* event_channel_op */
#define EVTCHNOP_bind_virq 1
#define EVTCHNOP_close 3
#define EVTCHNOP_send 4
#define EVTCHNOP_bind_ipi 7
#define EVTCHNOP_unmask 9

#define VIRQ_TIMER 0
#define VIRQ_DEBUG 1

struct evtchn_bind_virq {
  uint32_t virq;
  uint32_t vcpu;
  uint32_t port; /* out */
};

struct evtchn_bind_ipi {
  uint32_t vcpu;
  uint32_t port; /* out */
};

struct evtchn_port {
  uint32_t port;
};

/* callback_op */
#define CALLBACKOP_register 0
#define CALLBACKTYPE_event 0
#define CALLBACKTYPE_failsafe 1
#define CALLBACKTYPE_syscall 2 /* 64-bit guests */
#define CALLBACKF_mask_events 1

struct callback_register {
  uint16_t type;
  uint16_t flags;
#ifdef __x86_64__
  unsigned long address;
#else
  struct {
    unsigned long cs, eip;
  } address;
#endif
};

/* Shared page */
struct vcpu_time_info {
  uint32_t version; /* odd while Xen writes */
  uint32_t pad0;
  uint64_t tsc_timestamp;
  uint64_t system_time;
  uint32_t tsc_to_system_mul;
  int8_t tsc_shift;
  uint8_t flags;
  uint8_t pad1[2];
};

struct vcpu_info {
  uint8_t evtchn_upcall_pending;
  uint8_t evtchn_upcall_mask;
  unsigned long evtchn_pending_sel;
  struct {
    unsigned long cr2;
#ifdef __x86_64__
    unsigned long pad;
#else
    unsigned long pad[5];
#endif
  } arch;
  struct vcpu_time_info time;
};

struct arch_shared_info {
  unsigned long max_pfn;
  unsigned long pfn_to_mfn_frame_list_list;
  unsigned long nmi_reason;
  unsigned long p2m_cr3;
  unsigned long p2m_vaddr;
  unsigned long p2m_generation;
#ifndef __x86_64__
  uint32_t wc_sec_hi;
#endif
};

struct shared_info {
  struct vcpu_info vcpu_info[XEN_LEGACY_MAX_VCPUS];
  unsigned long evtchn_pending[EVENT_WORDS];
  unsigned long evtchn_mask[EVENT_WORDS];
  uint32_t wc_version;
  uint32_t wc_sec;
  uint32_t wc_nsec;
#ifdef __x86_64__
  uint32_t wc_sec_hi;
#define shared_info_wc_sec_hi wc_sec_hi
#else
#define shared_info_wc_sec_hi arch.wc_sec_hi
#endif
  struct arch_shared_info arch;
};

/* start_info.flags */
#define SIF_PRIVILEGED 1
#define SIF_INITDOMAIN 2

struct start_info {
  char magic[32];
  unsigned long nr_pages;
  unsigned long shared_info; /* machine address */
  uint32_t flags;
  unsigned long store_mfn;
  uint32_t store_evtchn;
  struct {
    unsigned long mfn;
    uint32_t evtchn;
  } console;
  unsigned long pt_base; /* virtual address of the top-level page table */
  unsigned long nr_pt_frames;
  unsigned long mfn_list; /* virtual address of the P2M list */
  unsigned long mod_start;
  unsigned long mod_len;
  char cmd_line[1024];
  unsigned long first_p2m_pfn;
  unsigned long nr_p2m_frames;
};

/* Console page: `in` is host to guest; indices run freely. */
struct xencons_interface {
  char in[1024];
  char out[2048];
  uint32_t in_cons, in_prod;
  uint32_t out_cons, out_prod;
};

/* Offsets in a 64-bit and in a 32-bit guest. */
#define XEN_LAYOUT(type, field, wide, narrow)                                                       \
  _Static_assert(__builtin_offsetof(struct type, field) == (sizeof(unsigned long) == 8 ? (wide) : (narrow)), \
                 #type "." #field " is misplaced")
XEN_LAYOUT(trap_info, address, 0x8, 0x4);
XEN_LAYOUT(mmuext_op, arg2, 0x10, 0x8);
XEN_LAYOUT(sched_poll, timeout, 0x10, 0x8);
XEN_LAYOUT(vcpu_info, arch, 0x10, 0x8);
XEN_LAYOUT(vcpu_info, time, 0x20, 0x20);
XEN_LAYOUT(shared_info, evtchn_pending, 0x800, 0x800);
XEN_LAYOUT(shared_info, evtchn_mask, 0xa00, 0x880);
XEN_LAYOUT(shared_info, wc_version, 0xc00, 0x900);
XEN_LAYOUT(shared_info, arch, 0xc10, 0x90c);
XEN_LAYOUT(start_info, console, 0x48, 0x34);
XEN_LAYOUT(start_info, pt_base, 0x58, 0x3c);
XEN_LAYOUT(start_info, cmd_line, 0x80, 0x50);
XEN_LAYOUT(start_info, first_p2m_pfn, 0x480, 0x450);
XEN_LAYOUT(xencons_interface, in_cons, 0xc00, 0xc00);

#endif /* __ASSEMBLER__ */
#endif
