/* `traps`: exceptions raised on purpose; each must arrive once, with the manual's vector, error code and address. */
#include "kernel.h"

#define UNMAPPED (MM_SCRATCH + 0x123456)

struct expected {
  int vector;
  unsigned long error_code;
  unsigned long cr2;
};

/* Expands to one asm statement whose label 1 is the RIP that the trap saves, and label 2 where to go on. */
#define RAISE(code, at, resume, ...)                           \
  do {                                                         \
    trap_caught.vector = -1;                                   \
    __asm__ volatile(code TRAP_FIXUP(at, resume) __VA_ARGS__); \
  } while (0)

static void report(struct checks *checks, const char *what, struct expected expected) {
  struct trap_record got = {trap_caught.vector, trap_caught.error_code, trap_caught.cr2, trap_caught.ip};
  bool ok = got.vector == expected.vector && got.error_code == expected.error_code && got.cr2 == expected.cr2;
  if (got.vector < 0) {
    check(checks, ok, "%-26s no trap", what);
  } else {
    check(checks, ok, "%-26s vector %d (%s), error code %lx, cr2 %lx", what, got.vector,
          trap_name((unsigned int)got.vector), got.error_code, got.cr2);
  }
}

static void raise_faults(struct checks *checks) {
  RAISE("1: divl %0\n2:\n\t", 1b, 2b, ::"r"(0), "a"(1), "d"(0) : "memory", "cc");
  report(checks, "division by zero", (struct expected){TRAP_divide_error, 0, 0});

  RAISE("1: ud2\n2:\n\t", 1b, 2b, ::: "memory");
  report(checks, "ud2", (struct expected){TRAP_invalid_op, 0, 0});

  RAISE("int3\n1:\n\t", 1b, 1b, ::: "memory");
  report(checks, "int3", (struct expected){TRAP_int3, 0, 0});

  RAISE("int $0x81\n1:\n\t", 1b, 1b, ::: "memory");
  report(checks, "int 0x81", (struct expected){0x81, 0, 0});
}

/* What hangs on the mode: addresses that are none, segments that can't be loaded. */
#ifdef __x86_64__
#define NON_CANONICAL 0x8000123456789abcul

static void raise_own_faults(struct checks *checks) {
  RAISE("1: movq (%0), %%rax\n2:\n\t", 1b, 2b, ::"r"(NON_CANONICAL) : "rax", "memory");
  report(checks, "non-canonical address", (struct expected){TRAP_gp_fault, 0, 0});

  RAISE("xchgq %0, %%rbp\n1: movq (%%rbp), %%rcx\n2: xchgq %0, %%rbp\n\t", 1b, 2b, ::"a"(NON_CANONICAL) : "rcx", "memory");
  report(checks, "the same through RBP", (struct expected){TRAP_stack_error, 0, 0});

  RAISE("1: movb (%0), %%al\n2:\n\t", 1b, 2b, ::"r"(HYPERVISOR_VIRT_END - PAGE_SIZE) : "rax", "memory");
  trap_caught.error_code &= ~(unsigned long)PFEC_present; /* the hypervisor's own mappings are its own business */
  report(checks, "read of the hypervisor", (struct expected){TRAP_page_fault, 0, HYPERVISOR_VIRT_END - PAGE_SIZE});
}
#else
static void raise_own_faults(struct checks *checks) {
  RAISE("1: movl %0, %%es\n2:\n\t", 1b, 2b, ::"r"(0xfff8) : "memory");
  report(checks, "selector beyond the table", (struct expected){TRAP_gp_fault, 0xfff8, 0});

  RAISE("1: int $0x0d\n2:\n\t", 1b, 2b, ::: "memory");
  report(checks, "int 13, whose gate forbids", (struct expected){TRAP_gp_fault, 13 * 8 + 2, 0});

  RAISE("1: movl $0, (%0)\n2:\n\t", 1b, 2b, ::"r"(HYPERVISOR_VIRT_START) : "memory");
  report(checks, "write to M2P", (struct expected){TRAP_page_fault, PFEC_present | PFEC_write, HYPERVISOR_VIRT_START});
}
#endif

static void raise_page_faults(struct checks *checks) {
  RAISE("1: movb (%0), %%al\n2:\n\t", 1b, 2b, ::"r"(UNMAPPED) : "eax", "memory");
  report(checks, "read, not mapped", (struct expected){TRAP_page_fault, 0, UNMAPPED});

  RAISE("1: movb $1, (%0)\n2:\n\t", 1b, 2b, ::"r"(UNMAPPED) : "memory");
  report(checks, "write, not mapped", (struct expected){TRAP_page_fault, PFEC_write, UNMAPPED});

  RAISE("1: movb $0, (%0)\n2:\n\t", 1b, 2b, ::"r"(start_info->pt_base) : "memory");
  report(checks, "write to a page table", (struct expected){TRAP_page_fault, PFEC_present | PFEC_write, start_info->pt_base});
}

void command_traps(const char *arguments) {
  (void)arguments;
  struct checks checks = {0, 0};
  raise_faults(&checks);
  raise_page_faults(&checks);
  raise_own_faults(&checks);
  checks_print("traps", &checks);
}
