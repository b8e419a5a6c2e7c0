/* Integer arithmetic: shifts, multiplications, divisions, branches that data decides; and deep recursion. */
#include "work.h"
#include <stdlib.h>

static uint32_t gcd(uint32_t a, uint32_t b) {
  while (b != 0) {
    uint32_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

static uint32_t run_integer(void) {
  uint32_t state = 12345, sum = 0;
  for (int i = 0; i < 4000; i++) {
    uint32_t x = next_random(&state), y = next_random(&state);
    sum += (uint32_t)(((uint64_t)x * y) >> 29);
    if (x & 4) sum = (sum << 7 | sum >> 25) ^ y;
    else if (x & 8) sum -= y >> (x & 15);
    if (i % 16 == 0) sum += gcd(x | 1, y | 1);
    /* Steps of Collatz' sequence, a few. */
    uint32_t n = (x & 0xffff) | 1;
    for (int step = 0; step < 24 && n > 1; step++) n = n & 1 ? 3 * n + 1 : n >> 1;
    for (uint32_t bits = y; bits != 0; bits &= bits - 1) n++;
    sum += n;
  }
  return sum;
}
const struct workload integer_mix = {"integer", NULL, run_integer};

static uint32_t fibonacci(uint32_t n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
static uint32_t ackermann(uint32_t m, uint32_t n) {
  if (m == 0) return n + 1;
  return n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}
static uint32_t queens(uint32_t all, uint32_t columns, uint32_t left, uint32_t right) {
  if (columns == all) return 1;
  uint32_t found = 0;
  for (uint32_t free = all & ~(columns | left | right); free != 0; free &= free - 1) {
    uint32_t one = free & -free;
    found += queens(all, columns | one, (left | one) << 1, (right | one) >> 1);
  }
  return found;
}

struct tree {
  struct tree *left, *right;
};
static struct tree *grow(int depth) {
  struct tree *tree = malloc(sizeof *tree);
  if (!tree) fail("no memory");
  tree->left = depth > 0 ? grow(depth - 1) : NULL;
  tree->right = depth > 0 ? grow(depth - 1) : NULL;
  return tree;
}
static uint32_t fell(struct tree *tree) {
  if (!tree) return 0;
  uint32_t nodes = 1 + fell(tree->left) + fell(tree->right);
  free(tree);
  return nodes;
}
static uint32_t run_recursion(void) {
  return fibonacci(18) + ackermann(2, 20) + queens(0x7f, 0, 0, 0) + fell(grow(9));
}
const struct workload recursion = {"recursion", NULL, run_recursion};
