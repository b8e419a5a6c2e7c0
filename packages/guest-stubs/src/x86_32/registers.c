/* The registers of a 32-bit domain in words. */
#include <paravane/guest.h>

void registers_print(const struct registers *r) {
  bool user = trap_from_user(r);
  printf("eip %08x  cs %04x  eflags %08x  %s\n", r->ip, r->cs, r->flags, user ? "user" : "kernel");
  printf("esp %08lx  ss %04x  vector %u  error %x  cr2 %lx\n", trap_stack_pointer(r), user ? r->ss : FLAT_KERNEL_SS,
         r->vector, r->error_code, trap_cr2());
  printf("eax %08x  ebx %08x  ecx %08x  edx %08x\n", r->ax, r->bx, r->cx, r->dx);
  printf("esi %08x  edi %08x  ebp %08x  ds %04x  es %04x\n", r->si, r->di, r->bp, r->ds, r->es);
}
