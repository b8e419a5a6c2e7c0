/*
 * Runs single instructions on the processor this program runs on.
 *
 * Standard input is a file of cases (struct request), standard output one with room for an answer (struct answer) to
 * each; both are mapped. Everything happens inside one signal handler: it stores what the last case left behind, puts
 * the next case into the interrupted context, and returns into it. Freestanding (no C library), so that FS and GS belong
 * to the cases and nothing but the handler uses the processor's state between two cases.
 *
 * A case may begin with an RSP that is not canonical. Not every machine returns from a signal to such a one (a hypervisor
 * may be in between), so the case is then entered from a page of this program that loads it.
 *
 * The memory layout is LAYOUT in packages/x86/silicon/state.ts. A request may name selectors: of the segments of
 * SEGMENTS in packages/xen/silicon/segments.ts, which are this program's LDT, and of Linux's flat ones. With TF set
 * the processor stops it behind one instruction, whatever code it is.
 */
#include <stddef.h>
#include <stdint.h>
#include <asm/signal.h>
#include <asm/sigcontext.h>
#include <asm/siginfo.h>
#include <asm/ucontext.h>
#include <asm/unistd.h>
#include <asm/prctl.h>
#include <asm/ldt.h>
#include <linux/mman.h>

#define DATA_BASE 0x10000000ul
#define DATA_SIZE 0x2000ul
#define READ_ONLY_BASE 0x10004000ul
#define READ_ONLY_SIZE 0x1000ul
#define CODE_BASE 0x20000000ul
#define CODE_SIZE 0x2000ul
#define INSTRUCTION_AT 0x20000800ul
/* Far from all that a case names. */
#define REQUESTS_BASE 0x500000000000ul
#define ANSWERS_BASE 0x510000000000ul
#define ENTRY_BASE 0x520000000000ul
#define SIGNAL_STACK_BASE 0x530000000000ul
#define SIGNAL_STACK_SIZE 0x20000ul
#define FS_BASE 0x10000180ul
#define GS_BASE 0x10001180ul

#define USER_CS 0x33
#define USER_SS 0x2b
#define FXSAVE_USED 416
#define TRAP_DB 1
#define TRAP_BP 3
/*
 * Bits that a case may leave set: AC and DF must not reach this program's own code, and NT and ID are not restored by
 * rt_sigreturn, so they would reach the next case.
 */
#define HOSTILE_FLAGS 0x244400ul

enum { ES, CS, SS, DS, FS, GS, SEGMENTS };

struct request {
  uint8_t code[16];
  uint16_t selectors[SEGMENTS]; /* all 0: those of this program */
  uint32_t instruction_pointer; /* with selectors */
  uint32_t length;
  uint32_t rflags;
  uint64_t gpr[16];
  uint8_t fx[FXSAVE_USED];
  uint8_t data[DATA_SIZE];
};

struct answer {
  uint64_t gpr[16];
  uint64_t rip;
  uint64_t rflags;
  uint64_t vector; /* ~0 if the instruction completed */
  uint64_t error_code;
  uint64_t address;
  uint16_t selectors[SEGMENTS];
  uint32_t unused;
  uint8_t fx[FXSAVE_USED];
  uint8_t data[DATA_SIZE];
};

/* SEGMENTS of packages/xen/silicon/segments.ts: base, limit, 32-bit, contents, read-only or execute-only, pages, absent. */
static const struct {
  uint32_t base, limit;
  uint8_t big, contents, restricted, pages, absent;
} segments[] = {
    {DATA_BASE, 0x1fff, 1, 0, 0, 0, 0},          {DATA_BASE, 0xff, 1, 0, 0, 0, 0},
    {DATA_BASE, 0x1fff, 1, 0, 1, 0, 0},          {DATA_BASE, 0xfff, 1, 1, 0, 0, 0},
    {DATA_BASE - 0xe000, 0xefff, 0, 1, 0, 0, 0}, {DATA_BASE, 0x1fff, 0, 0, 0, 0, 0},
    {CODE_BASE, 0x1fff, 1, 2, 0, 0, 0},          {CODE_BASE, 0x1fff, 0, 2, 0, 0, 0},
    {CODE_BASE, 0x81f, 1, 2, 1, 0, 0},           {CODE_BASE, 0x1fff, 1, 3, 0, 0, 1},
    {DATA_BASE, 0x1fff, 1, 0, 0, 0, 1},          {CODE_BASE, 0x1fff, 1, 2, 0, 0, 1},
    {DATA_BASE, 1, 1, 0, 0, 1, 0},               {CODE_BASE, 0x81f, 0, 2, 0, 0, 0},
};

static struct request *request = (struct request *)REQUESTS_BASE;
static struct request *requests_end;
static struct answer *answer = (struct answer *)ANSWERS_BASE;
static int running;
static int has_selectors;

static long call(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

__attribute__((noreturn)) static void leave(int status) {
  for (;;) call(__NR_exit_group, status, 0, 0, 0, 0, 0);
}

static void copy(void *to, const void *from, size_t size) {
  __asm__ volatile("cld; rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

static void fill(void *to, int byte, size_t size) {
  __asm__ volatile("cld; rep stosb" : "+D"(to), "+c"(size) : "a"(byte) : "memory");
}

/* The kernel's order of registers in sigcontext is its own; cases use the encoding's. */
static uint64_t *slot(struct sigcontext *context, int gpr) {
  switch (gpr) {
    case 0: return (uint64_t *)&context->rax;
    case 1: return (uint64_t *)&context->rcx;
    case 2: return (uint64_t *)&context->rdx;
    case 3: return (uint64_t *)&context->rbx;
    case 4: return (uint64_t *)&context->rsp;
    case 5: return (uint64_t *)&context->rbp;
    case 6: return (uint64_t *)&context->rsi;
    case 7: return (uint64_t *)&context->rdi;
    default: return (uint64_t *)&context->r8 + (gpr - 8);
  }
}

static void store_answer(struct sigcontext *context) {
  for (int i = 0; i < 16; i++) answer->gpr[i] = *slot(context, i);
  answer->rip = context->rip;
  answer->rflags = context->eflags;
  answer->vector = context->trapno;
  answer->error_code = context->err;
  answer->address = context->trapno == 14 ? context->cr2 : 0;
  if (context->trapno == TRAP_BP) {
    answer->rip--;
    answer->vector = ~0ul;
    answer->error_code = 0;
  }
  if (context->trapno == TRAP_DB) {
    answer->vector = ~0ul;
    answer->error_code = 0;
  }
  answer->selectors[CS] = context->cs;
  answer->selectors[SS] = context->ss;
  __asm__ volatile("mov %%es, %0" : "=m"(answer->selectors[ES]));
  __asm__ volatile("mov %%ds, %0" : "=m"(answer->selectors[DS]));
  __asm__ volatile("mov %%fs, %0" : "=m"(answer->selectors[FS]));
  __asm__ volatile("mov %%gs, %0" : "=m"(answer->selectors[GS]));
  copy(answer->fx, context->fpstate, FXSAVE_USED);
  copy(answer->data, (void *)DATA_BASE, DATA_SIZE);
}

/* The last case may have written them. */
static void reset_bases(void) {
  call(__NR_arch_prctl, ARCH_SET_FS, FS_BASE, 0, 0, 0, 0);
  call(__NR_arch_prctl, ARCH_SET_GS, GS_BASE, 0, 0, 0, 0);
}

/* A case begins with these; the others come back with the context. */
static void load_selectors(struct sigcontext *context) {
  if (request->selectors[CS] == 0 && !has_selectors) {
    reset_bases();
    return;
  }
  has_selectors = request->selectors[CS] != 0;
  context->cs = has_selectors ? request->selectors[CS] : USER_CS;
  context->ss = has_selectors ? request->selectors[SS] : USER_SS;
  __asm__ volatile("mov %0, %%es" : : "r"((uint32_t)request->selectors[ES]));
  __asm__ volatile("mov %0, %%ds" : : "r"((uint32_t)request->selectors[DS]));
  __asm__ volatile("mov %0, %%fs" : : "r"((uint32_t)request->selectors[FS]));
  __asm__ volatile("mov %0, %%gs" : : "r"((uint32_t)request->selectors[GS]));
  if (has_selectors) {
    context->rip = request->instruction_pointer;
    return;
  }
  reset_bases();
}

static int is_canonical(uint64_t address) {
  return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

/* Goes into the case through `movabs $rsp, %rsp; jmp *0(%rip)`. */
static void enter_with_stack(struct sigcontext *context) {
  uint8_t *entry = (uint8_t *)ENTRY_BASE;
  entry[0] = 0x48;
  entry[1] = 0xbc;
  copy(entry + 2, &request->gpr[4], 8);
  entry[10] = 0xff;
  entry[11] = 0x25;
  fill(entry + 12, 0, 4);
  uint64_t target = context->rip;
  copy(entry + 16, &target, 8);
  context->rsp = SIGNAL_STACK_BASE;
  context->rip = ENTRY_BASE;
}

static void load_request(struct sigcontext *context) {
  fill((void *)INSTRUCTION_AT, 0xcc, 16);
  copy((void *)INSTRUCTION_AT, request->code, request->length);
  copy((void *)DATA_BASE, request->data, DATA_SIZE);
  for (int i = 0; i < 16; i++) *slot(context, i) = request->gpr[i];
  context->rip = INSTRUCTION_AT;
  load_selectors(context);
  if (!is_canonical(request->gpr[4])) enter_with_stack(context);
  context->eflags = request->rflags;
  uint8_t *area = (uint8_t *)context->fpstate;
  copy(area, request->fx, 24);
  /* MXCSR_MASK at 28 stays what the processor said. */
  copy(area + 24, request->fx + 24, 4);
  copy(area + 32, request->fx + 32, FXSAVE_USED - 32);
  /* XSTATE_BV: x87 and SSE state are in use, so that XRSTOR loads them instead of their initial values. */
  *(uint64_t *)(area + 512) |= 3;
}

/*
 * Under a hypervisor an exception is, rarely, none of the instruction's own: it counts if the same comes twice in a row.
 */
static int is_settled(void) {
  static uint64_t vector, error_code, address;
  static int askings;
  int same = askings > 0 && vector == answer->vector && error_code == answer->error_code && address == answer->address;
  vector = answer->vector;
  error_code = answer->error_code;
  address = answer->address;
  if (vector != ~0ul && !same && ++askings < 5) return 0;
  askings = 0;
  return 1;
}

static void on_signal(int number, struct siginfo *info, struct ucontext *user) {
  (void)info;
  __asm__ volatile("pushfq; andq %0, (%%rsp); popfq" : : "i"(~(long)HOSTILE_FLAGS) : "cc", "memory");
  struct sigcontext *context = &user->uc_mcontext;
  if (running) {
    store_answer(context);
    if (is_settled()) {
      answer++;
      request++;
    }
  } else if (number != SIGTRAP) leave(4);
  running = 1;
  if (request == requests_end) leave(0);
  load_request(context);
}

/* arch/x86 wants a restorer; the kernel's struct is not the C library's. */
struct kernel_sigaction {
  void (*handler)(int, struct siginfo *, struct ucontext *);
  unsigned long flags;
  void (*restorer)(void);
  unsigned long mask;
};

__attribute__((naked)) static void restore(void) {
  __asm__ volatile("movl %0, %%eax; syscall" : : "i"(__NR_rt_sigreturn));
}

static void map(unsigned long base, unsigned long size) {
  long got = call(__NR_mmap, (long)base, (long)size, PROT_READ | PROT_WRITE | PROT_EXEC,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0);
  if (got != (long)base) leave(6);
}

/* Maps the whole of an open file; its size. */
static long map_file(int file, unsigned long base) {
  long size = call(__NR_lseek, file, 0, 2 /* SEEK_END */, 0, 0, 0);
  long got = call(__NR_mmap, (long)base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE,
                  file, 0);
  if (got != (long)base) leave(5);
  return size;
}

static uint8_t background(uint32_t offset) {
  uint32_t word = ((offset >> 2) + 0x3c6ef372u) * 0x85ebca6bu;
  return (uint8_t)((word ^ (word >> 13)) >> ((offset & 3) * 8));
}

static void install_segments(void) {
  for (unsigned i = 0; i < sizeof segments / sizeof *segments; i++) {
    struct user_desc entry = {.entry_number = i,
                              .base_addr = segments[i].base,
                              .limit = segments[i].limit,
                              .seg_32bit = segments[i].big,
                              .contents = segments[i].contents,
                              .read_exec_only = segments[i].restricted,
                              .limit_in_pages = segments[i].pages,
                              .seg_not_present = segments[i].absent};
    if (call(__NR_modify_ldt, 0x11, (long)&entry, sizeof entry, 0, 0, 0) != 0) leave(8);
  }
}

__attribute__((used)) static void start(void) {
  install_segments();
  map(DATA_BASE, DATA_SIZE);
  map(READ_ONLY_BASE, READ_ONLY_SIZE);
  map(CODE_BASE, CODE_SIZE);
  map(ENTRY_BASE, 0x1000);
  requests_end = (struct request *)(REQUESTS_BASE + (unsigned long)map_file(0, REQUESTS_BASE));
  map_file(1, ANSWERS_BASE);
  for (uint32_t i = 0; i < READ_ONLY_SIZE; i++) ((uint8_t *)READ_ONLY_BASE)[i] = background(i);
  call(__NR_mprotect, READ_ONLY_BASE, READ_ONLY_SIZE, PROT_READ, 0, 0, 0);
  fill((void *)CODE_BASE, 0xcc, CODE_SIZE);
  map(SIGNAL_STACK_BASE, SIGNAL_STACK_SIZE);
  stack_t stack = {.ss_sp = (void *)SIGNAL_STACK_BASE, .ss_size = SIGNAL_STACK_SIZE};
  call(__NR_sigaltstack, (long)&stack, 0, 0, 0, 0, 0);
  struct kernel_sigaction action = {
      .handler = on_signal, .flags = SA_SIGINFO | SA_ONSTACK | SA_RESTORER | SA_NODEFER, .restorer = restore};
  static const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
  for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
    call(__NR_rt_sigaction, numbers[i], (long)&action, 0, sizeof action.mask, 0, 0);
  reset_bases();
  __asm__ volatile("int3");
  leave(7);
}

__attribute__((naked, noreturn)) void _start(void) {
  __asm__ volatile("xorl %ebp, %ebp; andq $-64, %rsp; call start; hlt");
}
