/* What a program asks of its kernel: calls, pipes, processes, mappings and faults. */
#define _GNU_SOURCE
#include "work.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int zero, null;

static void prepare_calls(void) {
  zero = open("/dev/zero", O_RDONLY);
  null = open("/dev/null", O_WRONLY);
  if (zero < 0 || null < 0) fail("no /dev/zero or /dev/null");
}

static uint32_t run_calls(void) {
  char buffer[64];
  uint32_t sum = 0;
  long parent = syscall(SYS_getppid);
  for (int i = 0; i < 1000; i++) {
    sum += syscall(SYS_getppid) == parent;
    if (i % 8 == 0) sum += (uint32_t)read(zero, buffer, sizeof buffer) + (uint32_t)write(null, buffer, 16);
  }
  return sum;
}
const struct workload system_calls = {"system-calls", prepare_calls, run_calls};

static int there[2], back[2];

/* A child that sends back what it gets, `size` bytes at a time. It dies with its parent. */
static void start_echo(size_t size) {
  static char buffer[65536];
  if (pipe(there) != 0 || pipe(back) != 0) fail("no pipe");
  pid_t child = fork();
  if (child < 0) fail("no process");
  if (child > 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) {
    ssize_t got = read(there[0], buffer, size);
    if (got <= 0) _exit(0);
    for (ssize_t sent = 0; sent < got;) {
      ssize_t more = write(back[1], buffer + sent, (size_t)(got - sent));
      if (more <= 0) _exit(0);
      sent += more;
    }
  }
}
static void prepare_ping_pong(void) { start_echo(64); }
static void prepare_bulk(void) { start_echo(4096); }

static uint32_t run_ping_pong(void) {
  unsigned char message[64] = {0};
  uint32_t sum = 0;
  for (uint32_t i = 0; i < 100; i++) {
    memset(message, (int)i, sizeof message);
    if (write(there[1], message, sizeof message) != sizeof message) fail("no write");
    if (read(back[0], message, sizeof message) != sizeof message) fail("no read");
    sum = sum * 3 + message[i % 64];
  }
  return sum;
}
const struct workload pipe_ping_pong = {"pipe-ping-pong", prepare_ping_pong, run_ping_pong};

static uint32_t run_bulk(void) {
  static char block[4096];
  uint32_t sum = 0;
  /* Eight blocks at a time: less than the two pipes hold. */
  for (int turn = 0; turn < 8; turn++) {
    memset(block, turn + 1, sizeof block);
    for (int i = 0; i < 8; i++) {
      if (write(there[1], block, sizeof block) != sizeof block) fail("no write");
    }
    for (size_t got = 0; got < 8 * sizeof block;) {
      ssize_t more = read(back[0], block, sizeof block);
      if (more <= 0) fail("no read");
      got += (size_t)more;
    }
    sum = sum * 31 + (uint32_t)block[4095];
  }
  return sum;
}
const struct workload pipe_bulk = {"pipe-bulk", prepare_bulk, run_bulk};

static uint32_t run_fork(void) {
  uint32_t sum = 0;
  for (int i = 0; i < 4; i++) {
    pid_t child = fork();
    if (child == 0) _exit(i + 3);
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child) fail("no child");
    sum = sum * 7 + (uint32_t)WEXITSTATUS(status);
  }
  return sum;
}
const struct workload fork_exit = {"fork-exit", NULL, run_fork};

static uint32_t run_exec(void) {
  char *const arguments[] = {"work", "nothing", NULL};
  char *const environment[] = {NULL};
  pid_t child = fork();
  if (child == 0) {
    execve("/proc/self/exe", arguments, environment);
    _exit(127);
  }
  int status;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) fail("no program");
  return 42;
}
const struct workload fork_exec = {"fork-exec", NULL, run_exec};

#define PAGES 256
static uint32_t run_map(void) {
  uint32_t sum = 0;
  unsigned char *area = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED) fail("no mapping");
  for (int i = 0; i < PAGES; i++) area[i * 4096 + i] = (unsigned char)(i + 1);
  for (int i = 0; i < PAGES; i++) sum = sum * 3 + area[i * 4096 + i];
  munmap(area, PAGES * 4096);
  return sum;
}
const struct workload map_touch = {"mmap-touch", NULL, run_map};

static unsigned char *guarded;
static volatile uint32_t faults;

static void open_page(int number, siginfo_t *info, void *unused) {
  (void)number;
  (void)unused;
  faults++;
  mprotect((void *)((uintptr_t)info->si_addr & ~(uintptr_t)4095), 4096, PROT_READ | PROT_WRITE);
}

static void prepare_protect(void) {
  guarded = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (guarded == MAP_FAILED) fail("no mapping");
  struct sigaction action = {.sa_sigaction = open_page, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
}

static uint32_t run_protect(void) {
  faults = 0;
  for (int turn = 0; turn < 4; turn++) {
    mprotect(guarded, 16 * 4096, PROT_READ);
    for (int i = 0; i < 16; i++) ((volatile unsigned char *)guarded)[i * 4096] = (unsigned char)turn;
  }
  return faults;
}
const struct workload page_protect = {"page-faults", prepare_protect, run_protect};
