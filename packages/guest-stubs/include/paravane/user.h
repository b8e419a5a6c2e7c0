/* User mode: one program at a time, entered like a function that returns when a trap handler says so. */
#ifndef PARAVANE_USER_H
#define PARAVANE_USER_H

#include <stdint.h>
#include <paravane/trap.h>

/*
 * Enters user mode with these registers (of them ip, sp, flags and the general ones count; the selectors are set
 * here), in a 64-bit domain under the user page tables of MMUEXT_NEW_USER_BASEPTR. Traps and system calls arrive at their handlers, on the
 * stack of the caller, until one calls user_return().
 */
unsigned long user_run(struct registers *regs);
__attribute__((noreturn)) void user_return(unsigned long result);

#endif
