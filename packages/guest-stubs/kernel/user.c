/*
 * `user`: a program that makes system calls, reads what it must not, and exits. In a 64-bit domain it runs behind a
 * page-table root of its own, which lacks the kernel, and the kernel's root shares the program's tables, so that the
 * kernel can read its memory; in a 32-bit one both run behind the same tables, and privilege levels keep them apart.
 */
#include "user.h"
#include "kernel.h"

#ifdef __x86_64__
#define USER_CODE 0x0000100000000000ul
#define SLOT 32 /* of the level-4 table, which USER_CODE lies in */
#define ARGUMENT_1(regs) ((regs)->di)
#define ARGUMENT_2(regs) ((regs)->si)
#define KERNEL_FAULT PFEC_user
#else
#define USER_CODE 0x08000000ul
#define ARGUMENT_1(regs) ((regs)->bx)
#define ARGUMENT_2(regs) ((regs)->cx)
#define KERNEL_FAULT (PFEC_user | PFEC_present)
#endif
#define USER_STACK (USER_CODE + PAGE_SIZE)

extern const char user_program[], user_program_end[], user_program_read[], user_program_after_read[];

static struct {
  unsigned int calls, breakpoints, faults;
  unsigned long fault_code, fault_address;
  uint64_t loop_begin;
  bool wrong_mode;
} seen;

static unsigned long user_address(const char *label) {
  return USER_CODE + (unsigned long)(label - user_program);
}

static bool system_call(struct registers *regs) {
  seen.calls++;
  seen.wrong_mode |= !trap_from_user(regs);
  unsigned long text = ARGUMENT_1(regs), length = ARGUMENT_2(regs);
  switch (regs->ax) {
    case USER_WRITE:
      if (text >= USER_CODE && length <= PAGE_SIZE && text + length <= USER_CODE + PAGE_SIZE) {
        console_write((const char *)text, length);
      }
      break;
    case USER_KERNEL_ADDRESS:
      regs->ax = HYPERCALL_POINTER(kernel_start);
      break;
    case USER_EXIT:
      user_return(ARGUMENT_1(regs));
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
  if (regs->ip != user_address(user_program_read)) user_return(2);
  regs->ip = user_address(user_program_after_read);
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

/* Code and stack for the program. */
static bool map_program(void) {
  static bool mapped;
  if (mapped) return true;
  char *code = mm_page_alloc(), *stack = mm_page_alloc();
  if (!code || !stack) return false;
  memcpy(code, user_program, (size_t)(user_program_end - user_program));
  if (mm_map(USER_CODE, mm_virt_to_mfn(code), PTE_KERNEL_RO | PTE_USER) < 0) return false;
  if (mm_map(USER_STACK, mm_virt_to_mfn(stack), PTE_KERNEL | PTE_USER | PTE_NX) < 0) return false;
  return mapped = true;
}

#ifdef __x86_64__
/* A root with nothing but the program. Made once; NULL if something was refused. */
static uint64_t *user_root(void) {
  static uint64_t *root;
  if (root) return root;
  uint64_t *table = mm_page_alloc();
  if (!table) return NULL;
  table[SLOT] = ((const uint64_t *)start_info->pt_base)[SLOT];
  if (mm_set_readonly(table) < 0 || mm_pin(mm_virt_to_mfn(table), TABLE_LEVELS) < 0) return NULL;
  return root = table;
}

static bool take_root(struct checks *checks) {
  uint64_t *root = user_root();
  check(checks, root != NULL, "a page-table root for user mode");
  if (!root) return false;
  struct mmuext_op set_root = {.cmd = MMUEXT_NEW_USER_BASEPTR, .arg1.mfn = mm_virt_to_mfn(root)};
  int done = 0;
  long result = HYPERVISOR_mmuext_op(&set_root, 1, &done);
  check(checks, result == 0, "take it (%ld)", result);
  return result == 0;
}
#else
static bool take_root(struct checks *checks) {
  (void)checks;
  return true;
}
#endif

void command_user(const char *arguments) {
  (void)arguments;
  struct checks checks = {0, 0};
  bool mapped = map_program();
  check(&checks, mapped, "memory for the program");
  if (!mapped || !take_root(&checks)) return;

  memset(&seen, 0, sizeof seen);
  struct registers regs = {.ip = USER_CODE, .sp = USER_STACK + PAGE_SIZE, .flags = EFLAGS_IF};
  handle_traps(true);
  unsigned long code = user_run(&regs);
  uint64_t elapsed = time_now() - seen.loop_begin;
  handle_traps(false);
  events_enable();

  check(&checks, code == 42, "exit code %lu", code);
  check(&checks, !seen.wrong_mode && seen.calls == USER_ROUNDS + 4, "%u system calls from user mode", seen.calls);
  check(&checks, seen.faults == 1 && seen.fault_address == HYPERCALL_POINTER(kernel_start) && seen.fault_code == KERNEL_FAULT,
        "a read of kernel memory faults at %lx with error code %lx", seen.fault_address, seen.fault_code);
  check(&checks, seen.breakpoints == 1, "int3 arrives");
  if (elapsed > 0) printf("  %" PRIu64 " system calls/s\n", (uint64_t)USER_ROUNDS * NSEC_PER_SEC / elapsed);
  checks_print("user", &checks);
}
