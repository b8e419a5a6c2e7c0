/* Code that was not there when the program began: functions made and called a few times, and one that is patched. */
#include "work.h"
#include <string.h>
#include <sys/mman.h>

typedef uint32_t function(void);
#define SPACE 65536
static unsigned char *space;

static void prepare(void) {
  space = mmap(NULL, SPACE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (space == MAP_FAILED) fail("no memory that may be executed");
}

static unsigned char *emit32(unsigned char *to, uint32_t value) {
  memcpy(to, &value, 4);
  return to + 4;
}

/* MOV EAX, a; MOV ECX, turns; loop: IMUL EAX, EAX, b; ADD EAX, c; SUB ECX, 1; JNE loop; RET. The same in both modes. */
static unsigned char *emit_function(unsigned char *to, uint32_t a, uint32_t b, uint32_t c, uint32_t turns) {
  *to++ = 0xb8, to = emit32(to, a);
  *to++ = 0xb9, to = emit32(to, turns);
  unsigned char *loop = to;
  *to++ = 0x69, *to++ = 0xc0, to = emit32(to, b);
  *to++ = 0x05, to = emit32(to, c);
  *to++ = 0x83, *to++ = 0xe9, *to++ = 1;
  *to++ = 0x75, *to = (unsigned char)(loop - (to + 1)), to++;
  *to++ = 0xc3;
  return to;
}

/* Takes a pointer to data as one to code. */
static function *as_function(unsigned char *at) {
  function *result;
  memcpy(&result, &at, sizeof result);
  return result;
}

static uint32_t run_generated(void) {
  uint32_t state = 3, sum = 0;
  unsigned char *to = space;
  for (int i = 0; i < 64; i++) {
    unsigned char *entry = to;
    to = emit_function(to, next_random(&state), next_random(&state) | 1, next_random(&state), 40);
    for (int call = 0; call < 30; call++) sum = sum * 5 + as_function(entry)();
  }
  return sum;
}
const struct workload generated_code = {"generated-code", prepare, run_generated};

static uint32_t run_self_modifying(void) {
  uint32_t sum = 0;
  emit_function(space, 1, 3, 7, 10);
  for (uint32_t i = 0; i < 200; i++) {
    /* The constant of the ADD. */
    emit32(space + 17, i * 2654435761u);
    sum = sum * 5 + as_function(space)();
  }
  return sum;
}
const struct workload self_modifying = {"self-modifying", prepare, run_self_modifying};
