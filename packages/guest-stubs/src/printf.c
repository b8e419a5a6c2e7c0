/* printf without floating point; one writer for both a buffer and the console. */
#include <paravane/console.h>
#include <paravane/printf.h>
#include <paravane/string.h>
#include <stdbool.h>
#include <stdint.h>

struct output {
  char *buffer;
  size_t size;
  size_t used; /* what would have been written, even if it did not fit */
};

struct field {
  bool left, zero;
  int width, precision;
};

static void put(struct output *out, const char *text, size_t length) {
  for (size_t i = 0; i < length; i++, out->used++) {
    if (out->used < out->size) out->buffer[out->used] = text[i];
  }
}

static void pad(struct output *out, char with, int count) {
  for (; count > 0; count--) put(out, &with, 1);
}

static void put_field(struct output *out, const struct field *field, const char *sign, const char *text, size_t length) {
  int blank = field->width - (int)(length + strlen(sign));
  if (!field->left && !field->zero) pad(out, ' ', blank);
  put(out, sign, strlen(sign));
  if (!field->left && field->zero) pad(out, '0', blank);
  put(out, text, length);
  if (field->left) pad(out, ' ', blank);
}

static void put_number(struct output *out, const struct field *field, const char *sign, uint64_t value,
                       unsigned int base, const char *digits) {
  char text[20];
  size_t at = sizeof text;
  do text[--at] = digits[value % base];
  while ((value /= base) != 0);
  put_field(out, field, sign, text + at, sizeof text - at);
}

static uint64_t magnitude(int64_t value) {
  return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

static const char *read_number(const char *format, int *number) {
  for (*number = 0; *format >= '0' && *format <= '9'; format++) *number = *number * 10 + (*format - '0');
  return format;
}

int vsnprintf(char *buffer, size_t size, const char *format, va_list args) {
  static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
  struct output out = {buffer, size, 0};
  for (; *format; format++) {
    if (*format != '%') {
      put(&out, format, 1);
      continue;
    }
    struct field field = {.precision = -1};
    size_t length = sizeof(int);
    for (format++; *format == '-' || *format == '0'; format++) *(*format == '-' ? &field.left : &field.zero) = true;
    if (*format == '*') {
      field.width = va_arg(args, int);
      format++;
    } else {
      format = read_number(format, &field.width);
    }
    if (format[0] == '.' && format[1] == '*') {
      field.precision = va_arg(args, int);
      format += 2;
    } else if (*format == '.') {
      format = read_number(format + 1, &field.precision);
    }
    for (; *format == 'l' || *format == 'z'; format++) {
      length = format[0] == 'l' && format[-1] == 'l' ? sizeof(long long) : sizeof(long);
    }
    switch (*format) {
      case 'd':
      case 'i': {
        int64_t value = length == 8 ? va_arg(args, int64_t) : va_arg(args, int);
        put_number(&out, &field, value < 0 ? "-" : "", magnitude(value), 10, lower);
        break;
      }
      case 'u':
        put_number(&out, &field, "", length == 8 ? va_arg(args, uint64_t) : va_arg(args, unsigned int), 10, lower);
        break;
      case 'x':
      case 'X':
        put_number(&out, &field, "", length == 8 ? va_arg(args, uint64_t) : va_arg(args, unsigned int), 16,
                   *format == 'x' ? lower : upper);
        break;
      case 'p':
        put_number(&out, &field, "0x", (uintptr_t)va_arg(args, void *), 16, lower);
        break;
      case 'c': {
        char byte = (char)va_arg(args, int);
        put_field(&out, &field, "", &byte, 1);
        break;
      }
      case 's': {
        const char *text = va_arg(args, const char *);
        if (!text) text = "(null)";
        put_field(&out, &field, "", text, strnlen(text, field.precision < 0 ? SIZE_MAX : (size_t)field.precision));
        break;
      }
      case '\0':
        format--;
        break;
      default:
        put(&out, format, 1);
    }
  }
  if (size > 0) buffer[out.used < size ? out.used : size - 1] = '\0';
  return (int)out.used;
}

int snprintf(char *buffer, size_t size, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int length = vsnprintf(buffer, size, format, args);
  va_end(args);
  return length;
}

int vprintf(const char *format, va_list args) {
  char line[1280];
  int length = vsnprintf(line, sizeof line, format, args);
  console_write(line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
  return length;
}

int printf(const char *format, ...) {
  va_list args;
  va_start(args, format);
  int length = vprintf(format, args);
  va_end(args);
  return length;
}
