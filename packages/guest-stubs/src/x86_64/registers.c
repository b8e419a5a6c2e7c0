/* The registers of a 64-bit domain in words. */
#include <paravane/guest.h>

void registers_print(const struct registers *r) {
  printf("rip %016lx  cs %04x  rflags %08lx  %s\n", r->ip, r->cs, r->flags, trap_from_user(r) ? "user" : "kernel");
  printf("rsp %016lx  ss %04lx  vector %lu  error %lx  cr2 %lx\n", r->sp, r->ss, r->vector, r->error_code, trap_cr2());
  printf("rax %016lx  rbx %016lx  rcx %016lx\n", r->ax, r->bx, r->cx);
  printf("rdx %016lx  rsi %016lx  rdi %016lx\n", r->dx, r->si, r->di);
  printf("rbp %016lx  r8  %016lx  r9  %016lx\n", r->bp, r->r8, r->r9);
  printf("r10 %016lx  r11 %016lx  r12 %016lx\n", r->r10, r->r11, r->r12);
  printf("r13 %016lx  r14 %016lx  r15 %016lx\n", r->r13, r->r14, r->r15);
}
