/* `map`: what page tables must do in a PV domain, and what Xen must refuse. */
#include "kernel.h"

#define TEST_VA (MM_SCRATCH + 0x400000)

/* A load, store or call that may fault; returns the error code of the page fault, -1 for none, -2 for another trap. */
static long caught(void) {
  if (trap_caught.vector < 0) return -1;
  return trap_caught.vector == TRAP_page_fault && trap_caught.cr2 == TEST_VA ? (long)trap_caught.error_code : -2;
}

static long try_read(unsigned long va, unsigned long *value) {
  unsigned long got = 0;
  trap_caught.vector = -1;
  __asm__ volatile("1: mov (%1), %0\n2:\n\t" TRAP_FIXUP(1b, 2b) : "+r"(got) : "r"(va) : "memory");
  *value = got;
  return caught();
}

static long try_write(unsigned long va, unsigned long value) {
  trap_caught.vector = -1;
  __asm__ volatile("1: mov %0, (%1)\n2:\n\t" TRAP_FIXUP(1b, 2b)::"r"(value), "r"(va) : "memory");
  return caught();
}

/* The fault's address is the target itself, which no fixup can name: the handler goes back by the return address. */
static bool return_from_call(struct registers *regs) {
  if (regs->ip != TEST_VA) return false;
  trap_caught.vector = (int)regs->vector;
  trap_caught.error_code = regs->error_code;
  trap_caught.cr2 = trap_cr2();
  regs->ip = *(unsigned long *)trap_stack_pointer(regs);
  return true;
}

#ifdef __x86_64__
#define STACK_POINTER "%%rsp"
#else
#define STACK_POINTER "%%esp"
#endif

static long try_call(unsigned long va) {
  unsigned long stack;
  trap_caught.vector = -1;
  trap_handle(TRAP_page_fault, return_from_call);
  /* If the call faulted, its return address is still on the stack. */
  __asm__ volatile("mov " STACK_POINTER ", %0\n\tcall *%1\n\tmov %0, " STACK_POINTER : "=&b"(stack) : "r"(va) : "memory");
  trap_handle(TRAP_page_fault, NULL);
  return caught();
}

static void test_mapping(struct checks *checks, uint64_t *page, unsigned long mfn) {
  unsigned long value;
  page[0] = 0x55667788;
  check(checks, mm_map(TEST_VA, mfn, PTE_KERNEL) == 0, "map mfn %lx at %lx", mfn, TEST_VA);
  check(checks, try_read(TEST_VA, &value) == -1 && value == (unsigned long)page[0], "read through the new mapping: %lx", value);
  check(checks, try_write(TEST_VA, 42) == -1 && page[0] == 42, "a write shows in the other mapping: %lu", (unsigned long)page[0]);
  check(checks, (mm_lookup(TEST_VA) & (PTE_ACCESSED | PTE_DIRTY | PTE_RW)) == (PTE_ACCESSED | PTE_DIRTY | PTE_RW),
        "the entry reads %" PRIx64, mm_lookup(TEST_VA));

  check(checks, mm_map(TEST_VA, mfn, PTE_KERNEL_RO) == 0, "make it read-only");
  check(checks, try_read(TEST_VA, &value) == -1 && value == 42, "it can be read");
  long error = try_write(TEST_VA, 43);
  check(checks, error == (PFEC_present | PFEC_write) && page[0] == 42, "a write faults with error code %ld", error);

  page[0] = 0xc3; /* ret */
  check(checks, mm_map(TEST_VA, mfn, PTE_KERNEL) == 0 && try_call(TEST_VA) == -1, "code in it can be called");
  check(checks, mm_map(TEST_VA, mfn, PTE_KERNEL | PTE_NX) == 0, "forbid execution");
  error = try_call(TEST_VA);
  check(checks, error == (PFEC_present | PFEC_fetch), "a call faults with error code %ld", error);

  check(checks, mm_unmap(TEST_VA) == 0 && mm_lookup(TEST_VA) == 0, "unmap");
  error = try_read(TEST_VA, &value);
  check(checks, error == 0, "a read faults with error code %ld", error);
}

static void test_types(struct checks *checks, uint64_t *page, unsigned long mfn) {
  unsigned long table_mfn = mm_virt_to_mfn((void *)start_info->pt_base);
  long result = mm_map(TEST_VA, table_mfn, PTE_KERNEL);
  check(checks, result < 0 && mm_lookup(TEST_VA) == 0, "a writable mapping of a page table is refused (%ld)", result);
  result = mm_map(TEST_VA, table_mfn, PTE_KERNEL_RO);
  check(checks, result == 0, "a read-only one is not (%ld)", result);
  mm_unmap(TEST_VA);

  memset(page, 0, PAGE_SIZE);
  result = mm_pin(mfn, 1);
  check(checks, result < 0, "pinning a writable page is refused (%ld)", result);
  check(checks, mm_set_readonly(page) == 0, "give up writing to it");
  result = mm_pin(mfn, 1);
  check(checks, result == 0, "pin it as a level-1 table (%ld)", result);
  result = mm_set_writable(page);
  check(checks, result < 0, "writing to it again is refused (%ld)", result);
  result = mm_write_entry(&page[5], mm_pte(table_mfn, PTE_KERNEL));
  check(checks, result < 0 && page[5] == 0, "an entry that maps a table writable is refused (%ld)", result);
  result = mm_write_entry(&page[5], mm_pte(mm_virt_to_mfn(kernel_end - PAGE_SIZE), PTE_KERNEL));
  check(checks, result == 0 && page[5] != 0, "an honest entry is taken: %" PRIx64, page[5]);
  result = mm_unpin(mfn);
  check(checks, result == 0, "unpin (%ld)", result);
  check(checks, mm_set_writable(page) == 0 && try_write(HYPERCALL_POINTER(page), 1) == -1, "it is an ordinary page again");

  result = mm_map(TEST_VA, 0x000ffffffful, PTE_KERNEL);
  check(checks, result < 0, "a frame that does not exist is refused (%ld)", result);
}

/*
 * With the writable-page-tables assist a store into a level-1 table faults into Xen, which checks it and carries it out:
 * in a 32-bit domain the low word, while the high one is 0.
 */
static void test_assist(struct checks *checks, uint64_t *page, unsigned long mfn) {
  volatile uint64_t *entry = mm_entry(TEST_VA);
  unsigned long at = HYPERCALL_POINTER(entry), value, table_mfn = mm_virt_to_mfn((void *)start_info->pt_base);
  long result = HYPERVISOR_vm_assist(VMASST_CMD_enable, VMASST_TYPE_writable_pagetables);
  check(checks, result == 0, "enable writable page tables (%ld)", result);
  if (result < 0) return;
  page[0] = 7;
  bool stored = try_write(at, (unsigned long)mm_pte(mfn, PTE_KERNEL)) == -1 && (*entry & PTE_FRAME) >> PAGE_SHIFT == mfn;
  check(checks, stored && try_read(TEST_VA, &value) == -1 && value == 7, "a store into a table takes effect: %" PRIx64, *entry);
  stored = try_write(at, (unsigned long)mm_pte(table_mfn, PTE_KERNEL)) == -1;
  check(checks, !stored && (*entry & PTE_FRAME) >> PAGE_SHIFT != table_mfn, "a store that maps a table writable faults");
  mm_unmap(TEST_VA);
  result = HYPERVISOR_vm_assist(VMASST_CMD_disable, VMASST_TYPE_writable_pagetables);
  check(checks, result == 0 && try_write(at, 0) != -1, "without the assist a store faults");
}

void command_map(const char *arguments) {
  (void)arguments;
  struct checks checks = {0, 0};
  uint64_t *page = mm_page_alloc();
  if (!page) {
    printf("map: no free page\n");
    return;
  }
  unsigned long mfn = mm_virt_to_mfn(page);
  check(&checks, mm_mfn_to_virt(mfn) == page, "M2P and P2M agree on mfn %lx", mfn);
  test_mapping(&checks, page, mfn);
  test_types(&checks, page, mfn);
  test_assist(&checks, page, mfn);
  mm_page_free(page);
  checks_print("map", &checks);
}
