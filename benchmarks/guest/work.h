/* The workloads: each does the same work in every repetition and returns the same checksum, on every machine. */
#pragma once
#include <stdint.h>
#include <stddef.h>

struct workload {
  const char *name;
  /* Makes data, processes or mappings; not measured. May be NULL. */
  void (*prepare)(void);
  /* One repetition. */
  uint32_t (*run)(void);
};

extern const struct workload integer_mix, compress_lz, compress_range, hash_sha256, hash_crc32, sort_integers,
    sort_strings, string_functions, memory_chase, sse2_scalar, sse2_packed, x87_mix, bytecode, recursion,
    generated_code, self_modifying, system_calls, pipe_ping_pong, pipe_bulk, fork_exit, fork_exec, map_touch,
    page_protect;

/* xorshift32 from a state that is never 0. */
static inline uint32_t next_random(uint32_t *state) {
  uint32_t x = *state;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return *state = x;
}

/* FNV-1a. */
uint32_t checksum(const void *bytes, size_t length);
/* Lower-case words of a vocabulary, frequent ones often, with spaces and line ends. */
void fill_with_text(char *text, size_t length, uint32_t seed);
/* Ends the program with a message and status 1. */
void fail(const char *what) __attribute__((noreturn));
