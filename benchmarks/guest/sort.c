/* Quicksort and the library's qsort over integers, a merge sort over strings, a walk through scattered memory. */
#include "work.h"
#include <stdlib.h>
#include <string.h>

#define NUMBERS 4096
static uint32_t numbers[NUMBERS];

static void quicksort(uint32_t *first, uint32_t *last) {
  while (last - first > 12) {
    uint32_t pivot = first[(last - first) / 2];
    uint32_t *low = first, *high = last;
    while (low <= high) {
      while (*low < pivot) low++;
      while (*high > pivot) high--;
      if (low <= high) {
        uint32_t kept = *low;
        *low++ = *high;
        *high-- = kept;
      }
    }
    quicksort(first, high);
    first = low;
  }
  for (uint32_t *at = first + 1; at <= last; at++) {
    uint32_t value = *at, *to = at;
    for (; to > first && to[-1] > value; to--) *to = to[-1];
    *to = value;
  }
}

static int by_lower_half(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a & 0xffff, y = *(const uint32_t *)b & 0xffff;
  return x < y ? -1 : x > y;
}

static uint32_t run_integers(void) {
  uint32_t state = 99, sum = 0;
  for (int i = 0; i < NUMBERS; i++) numbers[i] = next_random(&state);
  quicksort(numbers, numbers + NUMBERS - 1);
  for (int i = 1; i < NUMBERS; i++) {
    if (numbers[i - 1] > numbers[i]) fail("not sorted");
    sum = sum * 31 + numbers[i];
  }
  qsort(numbers, NUMBERS / 2, sizeof numbers[0], by_lower_half);
  for (int i = 0; i < NUMBERS / 2; i++) sum = sum * 31 + (numbers[i] & 0xffff);
  return sum;
}
const struct workload sort_integers = {"sort-integers", NULL, run_integers};

#define TEXT 16384
#define WORDS 4096
static char text[TEXT + 1];
static const char *words[WORDS], *order[WORDS], *spare[WORDS];
static size_t count;

static void prepare_strings(void) {
  fill_with_text(text, TEXT, 5);
  for (char *word = strtok(text, " \n"); word && count < WORDS; word = strtok(NULL, " \n")) words[count++] = word;
}

static void merge_sort(const char **list, size_t length) {
  if (length < 2) return;
  size_t half = length / 2, left = 0, right = half, out = 0;
  merge_sort(list, half);
  merge_sort(list + half, length - half);
  while (left < half && right < length) spare[out++] = strcmp(list[left], list[right]) <= 0 ? list[left++] : list[right++];
  while (left < half) spare[out++] = list[left++];
  memcpy(list, spare, out * sizeof *list);
}

static uint32_t run_strings(void) {
  memcpy(order, words, sizeof order);
  merge_sort(order, count);
  uint32_t sum = 0;
  for (size_t i = 0; i < count; i++) sum = sum * 31 + checksum(order[i], strlen(order[i]));
  return sum;
}
const struct workload sort_strings = {"sort-strings", prepare_strings, run_strings};

/* Four MiB in nodes of 64 bytes, linked in one circle of no pattern. */
#define NODES 65536
static struct node {
  uint32_t next, value[15];
} nodes[NODES];

static void prepare_chase(void) {
  static uint32_t rest[NODES];
  uint32_t state = 31337, at = 0;
  for (uint32_t i = 0; i < NODES; i++) rest[i] = i;
  for (uint32_t left = NODES - 1; left > 0; left--) {
    uint32_t chosen = 1 + next_random(&state) % left, next = rest[chosen];
    rest[chosen] = rest[left];
    nodes[at].next = next;
    nodes[at].value[7] = state;
    at = next;
  }
  nodes[at].next = 0;
}

static uint32_t run_chase(void) {
  uint32_t at = 0, sum = 0;
  for (int i = 0; i < NODES; i++) {
    sum = (sum << 1 | sum >> 31) + nodes[at].value[7];
    at = nodes[at].next;
  }
  return sum + at;
}
const struct workload memory_chase = {"memory-chase", prepare_chase, run_chase};
