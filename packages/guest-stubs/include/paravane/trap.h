/*
 * Exceptions of the kernel and of its user mode. One C function sees them all; a kernel takes single vectors over with
 * trap_handle(), or marks an instruction that may fault with TRAP_FIXUP. What nobody takes panics.
 */
#ifndef PARAVANE_TRAP_H
#define PARAVANE_TRAP_H

#include <stdbool.h>
#include <stdint.h>

enum {
  TRAP_divide_error = 0,
  TRAP_debug = 1,
  TRAP_int3 = 3,
  TRAP_invalid_op = 6,
  TRAP_stack_error = 12,
  TRAP_gp_fault = 13,
  TRAP_page_fault = 14,
  TRAP_event = 256,
  TRAP_failsafe = 257,
  TRAP_syscall = 258,
};

/* Error code of a page fault. */
enum { PFEC_present = 1, PFEC_write = 2, PFEC_user = 4, PFEC_reserved = 8, PFEC_fetch = 16 };

#define RFLAGS_IF 0x200

/* On the stack at every entry; entry.S depends on the order. */
struct registers {
  uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
  uint64_t vector;
  uint64_t error_code;
  uint64_t rip;
  uint16_t cs;
  uint16_t cs_pad;
  uint8_t saved_upcall_mask;
  uint8_t mask_pad[3];
  uint64_t rflags;
  uint64_t rsp;
  uint64_t ss;
};

/* What the last TRAP_FIXUP caught. vector is -1 if nothing was. */
struct trap_record {
  int vector;
  uint64_t error_code;
  uint64_t cr2;
  uint64_t rip;
};
extern volatile struct trap_record trap_caught;

/* In inline assembly: a trap whose saved RIP is label `at` is recorded in trap_caught and goes on at label `resume`. */
#define TRAP_FIXUP(at, resume) \
  ".pushsection .trap_fixups, \"a\"\n\t.quad " #at ", " #resume "\n\t.popsection\n\t"

/* Returns whether it dealt with the trap. Runs with events masked; may change the registers. */
typedef bool (*trap_handler)(struct registers *regs);

void trap_init(void);
void trap_handle(unsigned int vector, trap_handler handler);
const char *trap_name(unsigned int vector);
bool trap_from_user(const struct registers *regs);

/* Address of the last page fault of this vCPU. */
uint64_t trap_cr2(void);

void registers_print(const struct registers *regs);
void registers_capture(struct registers *regs);
__attribute__((noreturn)) void registers_restore(struct registers *regs);

#endif
