/* Strings and blocks of memory. Copies and fills are REP string instructions: one instruction for a fast machine. */
#include <paravane/string.h>
#include <stdint.h>

#ifdef __x86_64__
#define MOVS "rep movsq"
#define STOS "rep stosq"
#else
#define MOVS "rep movsl"
#define STOS "rep stosl"
#endif
#define WORD sizeof(unsigned long)

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  void *result = to;
  size_t words = size / WORD, bytes = size % WORD;
  __asm__ volatile(MOVS : "+D"(to), "+S"(from), "+c"(words)::"memory");
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes)::"memory");
  return result;
}

void *memmove(void *to, const void *from, size_t size) {
  if ((uintptr_t)to - (uintptr_t)from >= size) return memcpy(to, from, size);
  char *target = to;
  const char *source = from;
  while (size-- > 0) {
    target[size] = source[size];
    __asm__ volatile("" ::: "memory"); /* keeps the compiler from turning the loop into a call of memmove */
  }
  return to;
}

void *memset(void *to, int value, size_t size) {
  void *result = to;
  size_t words = size / WORD, bytes = size % WORD;
  unsigned long pattern = ~0ul / 0xff * (unsigned char)value;
  __asm__ volatile(STOS : "+D"(to), "+c"(words) : "a"(pattern) : "memory");
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(pattern) : "memory");
  return result;
}

int memcmp(const void *a, const void *b, size_t size) {
  const unsigned char *left = a, *right = b;
  for (size_t i = 0; i < size; i++) {
    if (left[i] != right[i]) return left[i] - right[i];
  }
  return 0;
}

size_t strlen(const char *text) {
  return strnlen(text, SIZE_MAX);
}

size_t strnlen(const char *text, size_t limit) {
  size_t length = 0;
  while (length < limit && text[length]) length++;
  return length;
}

int strcmp(const char *a, const char *b) {
  return strncmp(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t size) {
  for (size_t i = 0; i < size; i++) {
    if (a[i] != b[i]) return (unsigned char)a[i] - (unsigned char)b[i];
    if (!a[i]) break;
  }
  return 0;
}

const char *strchr(const char *text, int wanted) {
  for (;; text++) {
    if (*text == (char)wanted) return text;
    if (!*text) return NULL;
  }
}

const char *strstr(const char *text, const char *wanted) {
  size_t length = strlen(wanted);
  for (;; text++) {
    if (strncmp(text, wanted, length) == 0) return text;
    if (!*text) return NULL;
  }
}
