/* What the compiler may call by itself (memcpy, memset, memmove, memcmp), and what the stubs use. */
#ifndef PARAVANE_STRING_H
#define PARAVANE_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *text);
size_t strnlen(const char *text, size_t limit);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t size);
const char *strchr(const char *text, int wanted);
const char *strstr(const char *text, const char *wanted);

#endif
