/* The C library's functions on memory and strings, short and long, at odd addresses. Built without builtins. */
#include "work.h"
#include <string.h>

static char a[16384], b[16384];

static void prepare(void) {
  fill_with_text(a, sizeof a, 8);
  for (size_t i = 0; i < sizeof a; i++) {
    if (a[i] == '\n') a[i] = ' ';
  }
}

static uint32_t run(void) {
  uint32_t sum = 0;
  memset(b, 0, sizeof b);
  for (size_t length = 1; length < 4096; length += length / 3 + 1) {
    for (size_t shift = 0; shift < 4; shift++) {
      memcpy(b + shift, a + 2 * shift + length, length);
      b[shift + length] = 0;
      memmove(b + shift + 3, b + shift, length + 1);
      sum = sum * 31 + (uint32_t)strlen(b + shift + 3);
      sum += memcmp(b + shift + 3, a + 2 * shift + length, length) == 0;
      const char *found = memchr(b + shift + 3, 'z', length);
      sum += found ? (uint32_t)(found - b) : 1;
      found = strchr(b + shift + 3, 'q');
      sum += found ? (uint32_t)(found - b) : 2;
      strcpy(b + 8192, b + shift + 3);
      sum += strcmp(b + 8192, b + shift + 3) == 0;
      found = strstr(b + 8192, "xyzzy");
      sum += found ? (uint32_t)(found - b) : 3;
      memset(b + 8192, (int)shift, length);
    }
  }
  return sum + checksum(b, 256);
}
const struct workload string_functions = {"strings", prepare, run};
