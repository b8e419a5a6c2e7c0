/* 64-bit domains: the kernel runs in ring 3 beside its programs, behind page tables of its own. */
#ifndef PARAVANE_ARCH_X86_64_H
#define PARAVANE_ARCH_X86_64_H

#include <stdint.h>
#include <xen/xen.h>

/* Arguments go in RDI, RSI, RDX, R10, R8; the hypercall page saves RCX and R11 itself. */
static inline __attribute__((always_inline)) long hypercall(unsigned int number, unsigned long a1, unsigned long a2,
                                                            unsigned long a3, unsigned long a4, unsigned long a5) {
  register unsigned long r10 __asm__("r10") = a4;
  register unsigned long r8 __asm__("r8") = a5;
  long result;
  /* The number is a constant after inlining, so this is a direct call into the page. */
  __asm__ volatile("call hypercall_page + %c[slot]"
                   : "=a"(result), "+D"(a1), "+S"(a2), "+d"(a3), "+r"(r10), "+r"(r8)
                   : [slot] "i"(number * 32)
                   : "rcx", "r9", "r11", "memory", "cc");
  return result;
}

static inline long HYPERVISOR_update_va_mapping(unsigned long va, uint64_t entry, unsigned int flags) {
  return hypercall(__HYPERVISOR_update_va_mapping, va, entry, flags, 0, 0);
}

static inline long HYPERVISOR_set_timer_op(uint64_t system_time) {
  return hypercall(__HYPERVISOR_set_timer_op, system_time, 0, 0, 0, 0);
}

static inline long HYPERVISOR_set_callbacks(unsigned long event, unsigned long failsafe, unsigned long syscall) {
  return hypercall(__HYPERVISOR_set_callbacks, event, failsafe, syscall, 0, 0);
}

static inline long HYPERVISOR_set_segment_base(unsigned int which, uint64_t base) {
  return hypercall(__HYPERVISOR_set_segment_base, which, base, 0, 0, 0);
}

/* SYSCALL of a program. */
#define TRAP_syscall 258

/* On the stack at every entry; entry.S depends on the order. */
struct registers {
  uint64_t r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
  uint64_t vector;
  uint64_t error_code;
  uint64_t ip;
  uint16_t cs;
  uint16_t cs_pad;
  uint8_t saved_upcall_mask;
  uint8_t mask_pad[3];
  uint64_t flags;
  uint64_t sp;
  uint64_t ss;
};

#define FIXUP_WORD ".quad"

/* Levels of page tables, and the bits of an address that index the highest. */
#define TABLE_LEVELS 4
#define TABLE_TOP_ENTRIES 512
#define MACH2PHYS_DEFAULT 0xffff800000000000ul
/* The allocator maps memory up to here, behind virt_base; MM_SCRATCH lies above it. */
#define MAPPED_LIMIT 0x70000000ul
#define MM_SCRATCH_OFFSET 0x7c000000ul

#endif
