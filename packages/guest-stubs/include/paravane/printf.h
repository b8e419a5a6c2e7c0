/* A small printf: %c %s %d %i %u %x %X %p %%, flags - and 0, width and (for %s) precision, also as *, lengths l, ll, z. */
#ifndef PARAVANE_PRINTF_H
#define PARAVANE_PRINTF_H

#include <stdarg.h>
#include <stddef.h>

/* A uint64_t in a format, as in inttypes.h. */
#ifdef __x86_64__
#define PRIu64 "lu"
#define PRIx64 "lx"
#else
#define PRIu64 "llu"
#define PRIx64 "llx"
#endif

__attribute__((format(printf, 1, 2))) int printf(const char *format, ...);
int vprintf(const char *format, va_list args);
__attribute__((format(printf, 3, 4))) int snprintf(char *buffer, size_t size, const char *format, ...);
int vsnprintf(char *buffer, size_t size, const char *format, va_list args);

#endif
