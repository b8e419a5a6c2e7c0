/* `map`: what page tables must do in a PV domain, and what Xen must refuse. */
#include "kernel.h"

#define TEST_VA (MM_SCRATCH + 0x400000)

/* A load, store or call that may fault; returns the error code of the page fault, -1 for none, -2 for another trap. */
static long caught(void) {
  if (trap_caught.vector < 0) return -1;
  return trap_caught.vector == TRAP_page_fault && trap_caught.cr2 == TEST_VA ? (long)trap_caught.error_code : -2;
}

static long try_read(uint64_t va, uint64_t *value) {
  uint64_t got = 0;
  trap_caught.vector = -1;
  __asm__ volatile("1: movq (%1), %0\n2:\n\t" TRAP_FIXUP(1b, 2b) : "+r"(got) : "r"(va) : "memory");
  *value = got;
  return caught();
}

static long try_write(uint64_t va, uint64_t value) {
  trap_caught.vector = -1;
  __asm__ volatile("1: movq %0, (%1)\n2:\n\t" TRAP_FIXUP(1b, 2b)::"r"(value), "r"(va) : "memory");
  return caught();
}

/* The fault's RIP is the target itself, which no fixup can name: the handler goes back by the return address. */
static bool return_from_call(struct registers *regs) {
  if (regs->rip != TEST_VA) return false;
  trap_caught.vector = (int)regs->vector;
  trap_caught.error_code = regs->error_code;
  trap_caught.cr2 = trap_cr2();
  regs->rip = *(uint64_t *)regs->rsp;
  regs->rsp += 8;
  return true;
}

static long try_call(uint64_t va) {
  trap_caught.vector = -1;
  trap_handle(TRAP_page_fault, return_from_call);
  __asm__ volatile("call *%0" ::"r"(va) : "memory", "rax");
  trap_handle(TRAP_page_fault, NULL);
  return caught();
}

static void test_mapping(struct checks *checks, uint64_t *page, uint64_t mfn) {
  uint64_t value;
  page[0] = 0x1122334455667788ul;
  check(checks, mm_map(TEST_VA, mfn, PTE_KERNEL) == 0, "map mfn %lx at %lx", mfn, TEST_VA);
  check(checks, try_read(TEST_VA, &value) == -1 && value == page[0], "read through the new mapping: %lx", value);
  check(checks, try_write(TEST_VA, 42) == -1 && page[0] == 42, "a write shows in the other mapping: %lu", page[0]);
  check(checks, (mm_lookup(TEST_VA) & (PTE_ACCESSED | PTE_DIRTY | PTE_RW)) == (PTE_ACCESSED | PTE_DIRTY | PTE_RW),
        "the entry reads %lx", mm_lookup(TEST_VA));

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

static void test_types(struct checks *checks, uint64_t *page, uint64_t mfn) {
  uint64_t table_mfn = mm_virt_to_mfn((void *)start_info->pt_base);
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
  result = mm_write_entry(&page[5], table_mfn << PAGE_SHIFT | PTE_KERNEL);
  check(checks, result < 0 && page[5] == 0, "an entry that maps a table writable is refused (%ld)", result);
  result = mm_write_entry(&page[5], mm_virt_to_mfn(kernel_end - PAGE_SIZE) << PAGE_SHIFT | PTE_KERNEL);
  check(checks, result == 0 && page[5] != 0, "an honest entry is taken: %lx", page[5]);
  result = mm_unpin(mfn);
  check(checks, result == 0, "unpin (%ld)", result);
  check(checks, mm_set_writable(page) == 0 && try_write(HYPERCALL_POINTER(page), 1) == -1, "it is an ordinary page again");

  result = mm_map(TEST_VA, 0x000ffffffful, PTE_KERNEL);
  check(checks, result < 0, "a frame that does not exist is refused (%ld)", result);
}

/* With the writable-page-tables assist a store into a level-1 table faults into Xen, which checks it and carries it out. */
static void test_assist(struct checks *checks, uint64_t *page, uint64_t mfn) {
  volatile uint64_t *entry = mm_entry(TEST_VA);
  uint64_t at = HYPERCALL_POINTER(entry), value, table_mfn = mm_virt_to_mfn((void *)start_info->pt_base);
  long result = HYPERVISOR_vm_assist(VMASST_CMD_enable, VMASST_TYPE_writable_pagetables);
  check(checks, result == 0, "enable writable page tables (%ld)", result);
  if (result < 0) return;
  page[0] = 7;
  bool stored = try_write(at, mfn << PAGE_SHIFT | PTE_KERNEL) == -1 && (*entry & PTE_FRAME) >> PAGE_SHIFT == mfn;
  check(checks, stored && try_read(TEST_VA, &value) == -1 && value == 7, "a store into a table takes effect: %lx", *entry);
  stored = try_write(at, table_mfn << PAGE_SHIFT | PTE_KERNEL) == -1;
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
  uint64_t mfn = mm_virt_to_mfn(page);
  check(&checks, mm_mfn_to_virt(mfn) == page, "M2P and P2M agree on mfn %lx", mfn);
  test_mapping(&checks, page, mfn);
  test_types(&checks, page, mfn);
  test_assist(&checks, page, mfn);
  mm_page_free(page);
  checks_print("map", &checks);
}
