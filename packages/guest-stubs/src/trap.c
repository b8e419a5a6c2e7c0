/*
 * The trap table, and what happens to a trap: event upcall, a kernel's own handler, a marked instruction's fixup, or
 * panic. All vectors mask events on entry, so handlers do not nest by surprise; the iret gives the old mask back.
 */
#include <paravane/guest.h>

struct fixup {
  unsigned long at, resume;
};
extern const struct fixup trap_fixups_start[], trap_fixups_end[];
extern const char trap_entries[];

#define TRAP_ENTRY_SIZE 16
#define VECTORS 256

volatile struct trap_record trap_caught = {.vector = -1};
static trap_handler handlers[VECTORS + 3];
static struct trap_info table[VECTORS + 1];

void trap_dispatch(struct registers *regs);

/* INT n reaches what its descriptor's privilege level allows: breakpoints, overflow and the vectors without a meaning. */
static bool is_for_software(unsigned int vector) {
  return vector == 3 || vector == 4 || vector >= 32;
}

void trap_init(void) {
  for (unsigned int i = 0; i < VECTORS; i++) {
    table[i] = (struct trap_info){
        .vector = (uint8_t)i,
        .flags = XEN_TRAP_DPL(is_for_software(i) ? 3 : 0) | XEN_TRAP_MASK_EVENTS,
        .cs = FLAT_KERNEL_CS,
        .address = HYPERCALL_POINTER(trap_entries + i * TRAP_ENTRY_SIZE),
    };
  }
  long result = HYPERVISOR_set_trap_table(table);
  if (result < 0) panic("set_trap_table: error %ld", result);
  result = HYPERVISOR_stack_switch(FLAT_KERNEL_SS, HYPERCALL_POINTER(kernel_stack_end));
  if (result < 0) panic("stack_switch: error %ld", result);
}

void trap_handle(unsigned int vector, trap_handler handler) {
  handlers[vector] = handler;
}

unsigned long trap_cr2(void) {
  return *(volatile unsigned long *)&this_vcpu_info->arch.cr2;
}

/* Xen shows an interrupted 64-bit kernel with RPL 0, although it runs in ring 3; a 32-bit one has RPL 1. */
bool trap_from_user(const struct registers *regs) {
  return (regs->cs & 3) == 3;
}

unsigned long trap_stack_pointer(const struct registers *regs) {
#ifndef __x86_64__
  if (!trap_from_user(regs)) return HYPERCALL_POINTER(&regs->sp);
#endif
  return regs->sp;
}

const char *trap_name(unsigned int vector) {
  static const char *const names[] = {
      "#DE divide error",  "#DB debug",           "NMI",
      "#BP breakpoint",    "#OF overflow",        "#BR bound range",
      "#UD invalid opcode", "#NM no device",      "#DF double fault",
      "vector 9",          "#TS invalid TSS",     "#NP segment not present",
      "#SS stack fault",   "#GP general protection", "#PF page fault",
      "vector 15",         "#MF x87 error",       "#AC alignment check",
      "#MC machine check", "#XM SIMD error",      "#VE virtualization",
      "#CP control protection",
  };
  if (vector < sizeof names / sizeof names[0]) return names[vector];
  if (vector == TRAP_event) return "event upcall";
  if (vector == TRAP_failsafe) return "failsafe callback";
  if (vector == TRAP_syscall) return "system call";
  return "interrupt";
}

static bool fix_up(struct registers *regs) {
  for (const struct fixup *fixup = trap_fixups_start; fixup < trap_fixups_end; fixup++) {
    if (fixup->at != regs->ip) continue;
    trap_caught.vector = (int)regs->vector;
    trap_caught.error_code = regs->error_code;
    trap_caught.cr2 = regs->vector == TRAP_page_fault ? trap_cr2() : 0;
    trap_caught.ip = regs->ip;
    regs->ip = fixup->resume;
    return true;
  }
  return false;
}

void trap_dispatch(struct registers *regs) {
  unsigned int vector = (unsigned int)regs->vector;
  if (vector == TRAP_event) {
    event_upcall();
    return;
  }
  if (handlers[vector] && handlers[vector](regs)) return;
  if (!trap_from_user(regs) && fix_up(regs)) return;
  if (vector == TRAP_page_fault) {
    panic_at(regs, "%s at %lx (error code %lx)", trap_name(vector), trap_cr2(), (unsigned long)regs->error_code);
  }
  panic_at(regs, "%s (vector %u, error code %lx)", trap_name(vector), vector, (unsigned long)regs->error_code);
}
