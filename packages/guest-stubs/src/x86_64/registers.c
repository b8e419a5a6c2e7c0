/* Registers and backtraces in words. Frames are followed by RBP, inside the kernel stack only. */
#include <paravane/guest.h>

void registers_print(const struct registers *r) {
  printf("rip %016lx  cs %04x  rflags %08lx  %s\n", r->rip, r->cs, r->rflags, trap_from_user(r) ? "user" : "kernel");
  printf("rsp %016lx  ss %04lx  vector %lu  error %lx  cr2 %lx\n", r->rsp, r->ss, r->vector, r->error_code, trap_cr2());
  printf("rax %016lx  rbx %016lx  rcx %016lx\n", r->rax, r->rbx, r->rcx);
  printf("rdx %016lx  rsi %016lx  rdi %016lx\n", r->rdx, r->rsi, r->rdi);
  printf("rbp %016lx  r8  %016lx  r9  %016lx\n", r->rbp, r->r8, r->r9);
  printf("r10 %016lx  r11 %016lx  r12 %016lx\n", r->r10, r->r11, r->r12);
  printf("r13 %016lx  r14 %016lx  r15 %016lx\n", r->r13, r->r14, r->r15);
}

static bool on_stack(uint64_t frame) {
  return frame >= HYPERCALL_POINTER(kernel_stack) && frame + 16 <= HYPERCALL_POINTER(kernel_stack_end) && frame % 8 == 0;
}

void backtrace_print(uint64_t rip, uint64_t rbp) {
  printf("backtrace: %lx", rip);
  for (int depth = 0; depth < 32 && on_stack(rbp); depth++) {
    const uint64_t *frame = (const uint64_t *)rbp;
    printf(" %lx", frame[1]);
    if (frame[0] <= rbp) break;
    rbp = frame[0];
  }
  printf("\n");
}
