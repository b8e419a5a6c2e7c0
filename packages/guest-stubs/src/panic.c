/*
 * The last words of a kernel. A panic inside a panic goes straight to the shutdown. Frames are followed by the frame
 * pointer, inside the kernel stack only.
 */
#include <paravane/guest.h>

static bool panicking;

static bool on_stack(unsigned long frame) {
  return frame >= HYPERCALL_POINTER(kernel_stack) && frame + 2 * sizeof frame <= HYPERCALL_POINTER(kernel_stack_end) &&
         frame % sizeof frame == 0;
}

void backtrace_print(unsigned long ip, unsigned long bp) {
  printf("backtrace: %lx", ip);
  for (int depth = 0; depth < 32 && on_stack(bp); depth++) {
    const unsigned long *frame = (const unsigned long *)bp;
    printf(" %lx", frame[1]);
    if (frame[0] <= bp) break;
    bp = frame[0];
  }
  printf("\n");
}

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
  backtrace_print(regs->ip, regs->bp);
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
  if (trap_from_user(&regs)) regs.cs &= (uint16_t)~3; /* as a trap would show the kernel */
  va_list args;
  va_start(args, format);
  panic_va(&regs, format, args);
}
