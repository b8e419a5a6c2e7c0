/*
 * `work NAME COUNT`: prepares, says "@ready", waits for a line, repeats the work COUNT times, says "@done" with the
 * checksum and waits for another line. Who measures looks at its clocks while nothing runs. The microseconds that are
 * told as well are the process's own usage, its children's included: for a run without a machine around it.
 */
#define _GNU_SOURCE
#include "work.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const struct workload *const workloads[] = {
    &integer_mix,  &compress_lz,   &compress_range,   &hash_sha256,    &hash_crc32,     &sort_integers, &sort_strings,
    &string_functions, &memory_chase, &sse2_scalar,  &sse2_packed,    &x87_mix,        &bytecode,      &recursion,
    &generated_code,   &self_modifying, &system_calls, &pipe_ping_pong, &pipe_bulk,      &fork_exit,     &fork_exec,
    &map_touch,        &page_protect,
};

void fail(const char *what) {
  dprintf(1, "@failed %s\n", what);
  _exit(1);
}

uint32_t checksum(const void *bytes, size_t length) {
  const unsigned char *at = bytes;
  uint32_t hash = 0x811c9dc5;
  while (length-- > 0) hash = (hash ^ *at++) * 0x01000193;
  return hash;
}

void fill_with_text(char *text, size_t length, uint32_t seed) {
  for (size_t i = 0, word = 0; i < length; word++) {
    uint32_t random = next_random(&seed);
    /* The product of two small numbers: small words come often. */
    uint32_t which = (random & 31) * ((random >> 5) & 31) + 1;
    uint32_t letters = 2 + which % 7;
    for (uint32_t j = 0; j < letters && i < length; j++) {
      which = which * 1103515245 + 12345;
      text[i++] = (char)('a' + (which >> 16) % 26);
    }
    if (i < length) text[i++] = word % 11 == 10 ? '\n' : ' ';
  }
}

static uint64_t own_microseconds(void) {
  uint64_t sum = 0;
  const int whose[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
  for (int i = 0; i < 2; i++) {
    struct rusage usage;
    getrusage(whose[i], &usage);
    sum += (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000;
    sum += (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  }
  return sum;
}

static void wait_for_line(void) {
  char byte;
  do {
    if (read(0, &byte, 1) != 1) exit(1);
  } while (byte != '\n');
}

int main(int argc, char **argv) {
  /* What `fork_exec` starts. */
  if (argc == 2 && strcmp(argv[1], "nothing") == 0) return 0;
  if (argc == 2 && strcmp(argv[1], "list") == 0) {
    for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++) puts(workloads[i]->name);
    return 0;
  }
  const struct workload *workload = NULL;
  for (size_t i = 0; argc == 3 && i < sizeof workloads / sizeof workloads[0]; i++) {
    if (strcmp(workloads[i]->name, argv[1]) == 0) workload = workloads[i];
  }
  if (!workload) fail("usage: work NAME COUNT, work list");
  /* One processor, as in the machines: two processes of a workload take turns. */
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  sched_setaffinity(0, sizeof one, &one);
  unsigned long count = strtoul(argv[2], NULL, 10);
  if (workload->prepare) workload->prepare();
  dprintf(1, "@ready\n");
  wait_for_line();
  uint64_t before = own_microseconds();
  uint32_t sum = 0;
  for (unsigned long i = 0; i < count; i++) {
    uint32_t one_sum = workload->run();
    if (i > 0 && one_sum != sum) fail("a repetition has another checksum");
    sum = one_sum;
  }
  uint64_t microseconds = own_microseconds() - before;
  dprintf(1, "@done %08x %lu\n", (unsigned)sum, (unsigned long)microseconds);
  wait_for_line();
  return 0;
}
