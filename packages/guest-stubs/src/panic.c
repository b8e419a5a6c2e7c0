/* The last words of a kernel. A panic inside a panic goes straight to the shutdown. */
#include <paravane/guest.h>

static bool panicking;

__attribute__((noreturn)) static void die(void) {
  struct sched_shutdown shutdown = {.reason = SHUTDOWN_crash};
  console_flush();
  for (;;) HYPERVISOR_sched_op(SCHEDOP_shutdown, &shutdown);
}

__attribute__((noreturn)) static void panic_va(const struct registers *regs, const char *format, va_list args) {
  if (panicking) die();
  panicking = true;
  printf("\nPANIC: ");
  vprintf(format, args);
  printf("\n");
  registers_print(regs);
  backtrace_print(regs->rip, regs->rbp);
  die();
}

void panic_at(const struct registers *regs, const char *format, ...) {
  va_list args;
  va_start(args, format);
  panic_va(regs, format, args);
}

void panic(const char *format, ...) {
  struct registers regs;
  registers_capture(&regs);
  regs.cs &= (uint16_t)~3; /* as a trap would show the kernel */
  va_list args;
  va_start(args, format);
  panic_va(&regs, format, args);
}
