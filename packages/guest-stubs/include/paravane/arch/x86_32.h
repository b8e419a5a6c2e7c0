/* 32-bit domains on PAE page tables: the kernel runs in ring 1, its programs in ring 3 behind the same tables. */
#ifndef PARAVANE_ARCH_X86_32_H
#define PARAVANE_ARCH_X86_32_H

#include <stdint.h>
#include <xen/xen.h>

/* Arguments go in EBX, ECX, EDX, ESI, EDI, which Xen may change. */
static inline __attribute__((always_inline)) long hypercall(unsigned int number, unsigned long a1, unsigned long a2,
                                                            unsigned long a3, unsigned long a4, unsigned long a5) {
  long result;
  __asm__ volatile("call hypercall_page + %c[slot]"
                   : "=a"(result), "+b"(a1), "+c"(a2), "+d"(a3), "+S"(a4), "+D"(a5)
                   : [slot] "i"(number * 32)
                   : "memory", "cc");
  return result;
}

/* 64-bit arguments take two registers, the low half first. */
static inline long HYPERVISOR_update_va_mapping(unsigned long va, uint64_t entry, unsigned int flags) {
  return hypercall(__HYPERVISOR_update_va_mapping, va, (unsigned long)entry, (unsigned long)(entry >> 32), flags, 0);
}

static inline long HYPERVISOR_set_timer_op(uint64_t system_time) {
  return hypercall(__HYPERVISOR_set_timer_op, (unsigned long)system_time, (unsigned long)(system_time >> 32), 0, 0, 0);
}

/* Programs call by INT 0x80, through the trap table, so there is no callback for it. */
static inline long HYPERVISOR_set_callbacks(unsigned long event, unsigned long failsafe, unsigned long unused) {
  (void)unused;
  return hypercall(__HYPERVISOR_set_callbacks, FLAT_KERNEL_CS, event, FLAT_KERNEL_CS, failsafe, 0);
}

/* INT 0x80 of a program. */
#define TRAP_syscall 0x80

/* On the stack at every entry; entry.S depends on the order. The last two are there only if a program was interrupted. */
struct registers {
  uint32_t bx, cx, dx, si, di, bp, ax;
  uint16_t ds, ds_pad, es, es_pad;
  uint32_t vector;
  uint32_t error_code;
  uint32_t ip;
  uint16_t cs;
  uint8_t saved_upcall_mask;
  uint8_t mask_pad;
  uint32_t flags;
  uint32_t sp;
  uint32_t ss;
};

#define FIXUP_WORD ".long"

#define TABLE_LEVELS 3
#define TABLE_TOP_ENTRIES 4
#define MACH2PHYS_DEFAULT 0xf5800000ul
/* The allocator maps memory up to here, behind virt_base; MM_SCRATCH lies above it, below the hypervisor. */
#define MAPPED_LIMIT 0x2f000000ul
#define MM_SCRATCH_OFFSET 0x30000000ul

#endif
