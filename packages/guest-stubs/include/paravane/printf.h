/* A small printf: %c %s %d %i %u %x %X %p %%, flags - and 0, width and (for %s) precision, also as *, lengths l, ll, z. */
#ifndef PARAVANE_PRINTF_H
#define PARAVANE_PRINTF_H

#include <stdarg.h>
#include <stddef.h>

__attribute__((format(printf, 1, 2))) int printf(const char *format, ...);
int vprintf(const char *format, va_list args);
__attribute__((format(printf, 3, 4))) int snprintf(char *buffer, size_t size, const char *format, ...);
int vsnprintf(char *buffer, size_t size, const char *format, va_list args);

#endif
