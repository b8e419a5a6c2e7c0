/*
 * `user`: a program behind its own page-table root, which lacks the kernel. It makes system calls, reads what it must
 * not, and exits. The kernel's root shares the program's tables, so that the kernel can read its memory.
 */
#include "user.h"
#include "kernel.h"

#define USER_CODE 0x0000100000000000ul /* level-4 slot 32 */
#define USER_STACK (USER_CODE + PAGE_SIZE)
#define SLOT 32

extern const char user_program[], user_program_end[], user_program_read[], user_program_after_read[];

static struct {
  unsigned int calls, breakpoints, faults;
  uint64_t fault_code, fault_address;
  uint64_t loop_begin;
  bool wrong_mode;
} seen;

static uint64_t user_address(const char *label) {
  return USER_CODE + (uint64_t)(label - user_program);
}

static bool system_call(struct registers *regs) {
  seen.calls++;
  seen.wrong_mode |= !trap_from_user(regs);
  switch (regs->rax) {
    case USER_WRITE:
      if (regs->rdi >= USER_CODE && regs->rsi <= PAGE_SIZE && regs->rdi + regs->rsi <= USER_CODE + PAGE_SIZE) {
        console_write((const char *)regs->rdi, regs->rsi);
      }
      break;
    case USER_KERNEL_ADDRESS:
      regs->rax = HYPERCALL_POINTER(kernel_start);
      break;
    case USER_EXIT:
      user_return(regs->rdi);
    default:
      break;
  }
  return true;
}

static bool page_fault(struct registers *regs) {
  if (!trap_from_user(regs)) return false;
  seen.faults++;
  seen.fault_code = regs->error_code;
  seen.fault_address = trap_cr2();
  if (regs->rip != user_address(user_program_read)) user_return(2);
  regs->rip = user_address(user_program_after_read);
  return true;
}

static bool breakpoint(struct registers *regs) {
  if (!trap_from_user(regs)) return false;
  seen.breakpoints++;
  seen.loop_begin = time_now();
  return true;
}

static bool unexpected(struct registers *regs) {
  if (!trap_from_user(regs)) return false;
  registers_print(regs);
  user_return(3);
}

static void handle_traps(bool on) {
  trap_handle(TRAP_syscall, on ? system_call : NULL);
  trap_handle(TRAP_page_fault, on ? page_fault : NULL);
  trap_handle(TRAP_int3, on ? breakpoint : NULL);
  trap_handle(TRAP_gp_fault, on ? unexpected : NULL);
  trap_handle(TRAP_invalid_op, on ? unexpected : NULL);
}

/* Code and stack for the program, and a root with nothing but them. Made once; NULL if something was refused. */
static uint64_t *user_root(void) {
  static uint64_t *root;
  if (root) return root;
  char *code = mm_page_alloc(), *stack = mm_page_alloc();
  uint64_t *table = mm_page_alloc();
  if (!code || !stack || !table) return NULL;
  memcpy(code, user_program, (size_t)(user_program_end - user_program));
  if (mm_map(USER_CODE, mm_virt_to_mfn(code), PTE_KERNEL_RO | PTE_USER) < 0) return NULL;
  if (mm_map(USER_STACK, mm_virt_to_mfn(stack), PTE_KERNEL | PTE_USER | PTE_NX) < 0) return NULL;
  table[SLOT] = ((const uint64_t *)start_info->pt_base)[SLOT];
  if (mm_set_readonly(table) < 0 || mm_pin(mm_virt_to_mfn(table), 4) < 0) return NULL;
  return root = table;
}

void command_user(const char *arguments) {
  (void)arguments;
  struct checks checks = {0, 0};
  uint64_t *root = user_root();
  check(&checks, root != NULL, "a page-table root for user mode");
  if (!root) return;
  struct mmuext_op set_root = {.cmd = MMUEXT_NEW_USER_BASEPTR, .arg1.mfn = mm_virt_to_mfn(root)};
  int done = 0;
  long result = HYPERVISOR_mmuext_op(&set_root, 1, &done);
  check(&checks, result == 0, "take it (%ld)", result);
  if (result < 0) return;

  memset(&seen, 0, sizeof seen);
  struct registers regs = {.rip = USER_CODE, .rsp = USER_STACK + PAGE_SIZE, .rflags = RFLAGS_IF};
  handle_traps(true);
  uint64_t code = user_run(&regs);
  uint64_t elapsed = time_now() - seen.loop_begin;
  handle_traps(false);
  events_enable();

  check(&checks, code == 42, "exit code %lu", code);
  check(&checks, !seen.wrong_mode && seen.calls == USER_ROUNDS + 4, "%u system calls from user mode", seen.calls);
  check(&checks, seen.faults == 1 && seen.fault_address == HYPERCALL_POINTER(kernel_start) && seen.fault_code == PFEC_user,
        "a read of kernel memory faults at %lx with error code %lx", seen.fault_address, seen.fault_code);
  check(&checks, seen.breakpoints == 1, "int3 arrives");
  if (elapsed > 0) printf("  %lu system calls/s\n", USER_ROUNDS * NSEC_PER_SEC / elapsed);
  checks_print("user", &checks);
}
