/*
 * `bench`: how much of each kind of work fits into a second of system time; `bench KIND TIMES` does a fixed amount of
 * one of them, for somebody outside to measure. The paths are the ones that cost a paravirtual guest: plain code,
 * copies, hypercalls, faults bounced to the guest, events, page-table updates.
 */
#include "kernel.h"

#define BUFFER (64 * 1024)

/* Of xorshift generators of a word's width. */
#ifdef __x86_64__
#define SHIFT_RIGHT 7
#define SHIFT_LEFT 17
#else
#define SHIFT_RIGHT 17
#define SHIFT_LEFT 5
#endif

static uint64_t source[BUFFER / 8], target[BUFFER / 8];
static evtchn_port_t ipi_port;
static volatile uint64_t ipis;

struct benchmark {
  const char *word; /* its name in a command */
  const char *name;
  const char *unit;
  uint64_t (*run)(void); /* does some milliseconds of work; returns how many units that was */
};

static uint64_t run_integer(void) {
  unsigned long x = (unsigned long)88172645463325252ull;
  for (int i = 0; i < 100000; i++) {
    x ^= x << 13;
    x ^= x >> SHIFT_RIGHT;
    x ^= x << SHIFT_LEFT;
    __asm__ volatile("" : "+r"(x));
  }
  return 100000;
}

/* Dependent loads and a branch that is taken in no pattern. */
static uint64_t run_branches(void) {
  uint64_t x = 1;
  unsigned long taken = 0;
  for (int i = 0; i < 100000; i++) {
    x = x * 6364136223846793005ull + 1442695040888963407ull;
    if (source[x >> 51] == (x >> 63)) taken++;
    __asm__ volatile("" : "+r"(taken));
  }
  return 100000;
}

static uint64_t run_copy_string(void) {
  for (int i = 0; i < 16; i++) memcpy(target, source, BUFFER);
  return 16 * BUFFER / 1024;
}

static uint64_t run_copy_loop(void) {
  for (int i = 0; i < BUFFER / 8; i++) {
    target[i] = source[i];
    __asm__ volatile("" ::: "memory");
  }
  return BUFFER / 1024;
}

static uint64_t run_hypercalls(void) {
  for (int i = 0; i < 1000; i++) HYPERVISOR_xen_version(XENVER_version, NULL);
  return 1000;
}

static uint64_t run_faults(void) {
  for (int i = 0; i < 200; i++) {
    __asm__ volatile("1: movb (%0), %%al\n2:\n\t" TRAP_FIXUP(1b, 2b)::"r"(MM_SCRATCH) : "eax", "memory");
  }
  return 200;
}

static void ipi_event(evtchn_port_t unused) {
  (void)unused;
  ipis++;
}

static uint64_t run_events(void) {
  uint64_t before = ipis;
  for (int i = 0; i < 200; i++) event_notify(ipi_port);
  return ipis - before;
}

static uint64_t run_mappings(void) {
  unsigned long mfn = mm_virt_to_mfn(target);
  for (int i = 0; i < 100; i++) {
    HYPERVISOR_update_va_mapping(MM_SCRATCH, mm_pte(mfn, PTE_KERNEL), UVMF_INVLPG);
    HYPERVISOR_update_va_mapping(MM_SCRATCH, 0, UVMF_INVLPG);
  }
  return 200;
}

static const struct benchmark benchmarks[] = {
    {"integer", "integer loop", "iterations", run_integer},
    {"branches", "loads and branches", "iterations", run_branches},
    {"movsq", "copy, rep movsq", "KiB", run_copy_string},
    {"copy", "copy, 8-byte loop", "KiB", run_copy_loop},
    {"hypercalls", "hypercall round trips", "calls", run_hypercalls},
    {"faults", "page fault round trips", "faults", run_faults},
    {"events", "event round trips", "events", run_events},
    {"mappings", "page-table updates", "updates", run_mappings},
};

static void measure(const struct benchmark *benchmark, uint64_t limit) {
  benchmark->run(); /* the first time is another matter: code is read, translated, compiled */
  uint64_t begin = time_now(), count = 0, elapsed;
  do {
    count += benchmark->run();
    elapsed = time_now() - begin;
  } while (elapsed < limit);
  printf("  %-24s %14" PRIu64 " %s/s\n", benchmark->name, count * 1000000 / (elapsed / 1000),
         benchmark->unit);
}

static uint64_t number(const char *digits) {
  uint64_t value = 0;
  for (; *digits >= '0' && *digits <= '9'; digits++) value = value * 10 + (uint64_t)(*digits - '0');
  return value;
}

static void repeat(const char *arguments) {
  for (unsigned int i = 0; i < sizeof benchmarks / sizeof benchmarks[0]; i++) {
    const struct benchmark *benchmark = &benchmarks[i];
    size_t length = strlen(benchmark->word);
    if (strncmp(arguments, benchmark->word, length) != 0 || arguments[length] != ' ') continue;
    uint64_t count = 0;
    for (uint64_t times = number(arguments + length + 1); times > 0; times--) count += benchmark->run();
    printf("bench: %" PRIu64 " %s\n", count, benchmark->unit);
    return;
  }
  printf("bench: kinds are");
  for (unsigned int i = 0; i < sizeof benchmarks / sizeof benchmarks[0]; i++) printf(" %s", benchmarks[i].word);
  printf("\n");
}

void command_bench(const char *arguments) {
  uint64_t milliseconds = number(arguments);
  if (milliseconds == 0) milliseconds = 100;
  if (!ipi_port) {
    int bound = event_bind_ipi(ipi_event);
    if (bound > 0) ipi_port = (evtchn_port_t)bound;
  }
  /* Builds the tables for the scratch page, so that later updates find them. */
  if (mm_map(MM_SCRATCH, mm_virt_to_mfn(target), PTE_KERNEL) < 0 || mm_unmap(MM_SCRATCH) < 0) {
    printf("bench: no page for the mappings\n");
    return;
  }
  if (*arguments >= 'a' && *arguments <= 'z') {
    repeat(arguments);
    return;
  }
  for (unsigned int i = 0; i < sizeof benchmarks / sizeof benchmarks[0]; i++) {
    measure(&benchmarks[i], milliseconds * NSEC_PER_MSEC);
  }
}
