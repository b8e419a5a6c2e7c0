/* The end of a kernel that cannot go on: message, registers, backtrace, SCHEDOP_shutdown(crash). */
#ifndef PARAVANE_PANIC_H
#define PARAVANE_PANIC_H

#include <paravane/trap.h>

__attribute__((noreturn, format(printf, 1, 2))) void panic(const char *format, ...);
__attribute__((noreturn, format(printf, 2, 3))) void panic_at(const struct registers *regs, const char *format, ...);
void backtrace_print(unsigned long ip, unsigned long bp);

#endif
