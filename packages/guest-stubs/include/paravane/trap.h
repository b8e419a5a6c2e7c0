/*
 * Exceptions of the kernel and of its user mode. One C function sees them all; a kernel takes single vectors over with
 * trap_handle(), or marks an instruction that may fault with TRAP_FIXUP. What nobody takes panics.
 */
#ifndef PARAVANE_TRAP_H
#define PARAVANE_TRAP_H

#include <paravane/arch.h>
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
};

/* Error code of a page fault. */
enum { PFEC_present = 1, PFEC_write = 2, PFEC_user = 4, PFEC_reserved = 8, PFEC_fetch = 16 };

#define EFLAGS_IF 0x200

/* What the last TRAP_FIXUP caught. vector is -1 if nothing was. */
struct trap_record {
  int vector;
  unsigned long error_code;
  unsigned long cr2;
  unsigned long ip;
};
extern volatile struct trap_record trap_caught;

/* In inline assembly: a trap whose saved instruction pointer is label `at` is recorded in trap_caught and goes on at label `resume`. */
#define TRAP_FIXUP(at, resume) \
  ".pushsection .trap_fixups, \"a\"\n\t" FIXUP_WORD " " #at ", " #resume "\n\t.popsection\n\t"

/* Returns whether it dealt with the trap. Runs with events masked; may change the registers. */
typedef bool (*trap_handler)(struct registers *regs);

void trap_init(void);
void trap_handle(unsigned int vector, trap_handler handler);
const char *trap_name(unsigned int vector);
bool trap_from_user(const struct registers *regs);
/* The interrupted stack pointer, which a 32-bit frame of the kernel does not hold. */
unsigned long trap_stack_pointer(const struct registers *regs);

/* Address of the last page fault of this vCPU. */
unsigned long trap_cr2(void);

void registers_print(const struct registers *regs);
void registers_capture(struct registers *regs);
__attribute__((noreturn)) void registers_restore(struct registers *regs);

#endif
