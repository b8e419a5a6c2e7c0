/* A bytecode interpreter with a stack: a switch in a loop, over a program that sieves primes and sums digits. */
#include "work.h"

enum { PUSH, LOAD, STORE, ADD, SUB, MUL, MOD, DIV, LESS, EQUAL, FETCH, PUT, JUMP, JUMP_ZERO, HALT };

#define LIMIT 600
static int32_t memory[LIMIT + 1];

/* Variables: 0 i, 1 j, 2 count, 3 sum, 4 n. */
static const int16_t program[] = {
    /* i = 2 */ PUSH, 2, STORE, 0,
    /* 4: while (i < LIMIT) */ LOAD, 0, PUSH, LIMIT, LESS, JUMP_ZERO, 73,
    /* 11: if (memory[i] == 0) */ LOAD, 0, FETCH, PUSH, 0, EQUAL, JUMP_ZERO, 64,
    /* 19: count += 1; n = i */ LOAD, 2, PUSH, 1, ADD, STORE, 2, LOAD, 0, STORE, 4,
    /* 30: j = i * 2 */ LOAD, 0, PUSH, 2, MUL, STORE, 1,
    /* 37: while (j < LIMIT) */ LOAD, 1, PUSH, LIMIT, LESS, JUMP_ZERO, 64,
    /* 44: memory[j] = memory[j] + i */ LOAD, 1, LOAD, 1, FETCH, LOAD, 0, ADD, PUT,
    /* 53: j += i */ LOAD, 1, LOAD, 0, ADD, STORE, 1,
    /* 60: */ PUSH, 0, JUMP, 37,
    /* 64: i += 1 */ LOAD, 0, PUSH, 1, ADD, STORE, 0, JUMP, 4,
    /* 73: i = 0 */ PUSH, 0, STORE, 0,
    /* 77: while (i < LIMIT) */ LOAD, 0, PUSH, LIMIT, LESS, JUMP_ZERO, 110,
    /* 84: sum = (sum * 3 + memory[i]) % 65521 */ LOAD, 3, PUSH, 3, MUL, LOAD, 0, FETCH, ADD, PUSH, 32749, MOD, STORE, 3,
    /* 98: i += 1 */ LOAD, 0, PUSH, 1, ADD, STORE, 0,
    /* 105: */ PUSH, 7, DIV, JUMP, 77,
    /* 110: */ HALT,
};

static uint32_t run(void) {
  int32_t stack[64] = {1 << 20}, variables[8] = {0}, *top = stack;
  for (int i = 0; i <= LIMIT; i++) memory[i] = 0;
  uint32_t steps = 0;
  for (const int16_t *at = program;;) {
    steps++;
    switch (*at++) {
    case PUSH: *++top = *at++; break;
    case LOAD: *++top = variables[*at++]; break;
    case STORE: variables[*at++] = *top--; break;
    case ADD: top--, top[0] += top[1]; break;
    case SUB: top--, top[0] -= top[1]; break;
    case MUL: top--, top[0] *= top[1]; break;
    case MOD: top--, top[0] %= top[1]; break;
    case DIV: top--, top[0] = top[0] / top[1] + 1; break;
    case LESS: top--, top[0] = top[0] < top[1]; break;
    case EQUAL: top--, top[0] = top[0] == top[1]; break;
    case FETCH: top[0] = memory[top[0]]; break;
    case PUT: top -= 2, memory[top[1]] = top[2]; break;
    case JUMP: at = program + *at; top = stack; break;
    case JUMP_ZERO: at = *top-- == 0 ? program + *at : at + 1; break;
    default: return steps ^ (uint32_t)variables[2] << 16 ^ (uint32_t)variables[3];
    }
  }
}
const struct workload bytecode = {"bytecode", NULL, run};
