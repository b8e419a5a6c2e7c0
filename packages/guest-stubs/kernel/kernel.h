/* The parts of the demonstration kernel: main.c runs commands, line.c reads them, the others are commands. */
#ifndef KERNEL_H
#define KERNEL_H

#include <paravane/guest.h>

struct command {
  const char *name;
  const char *arguments;
  const char *help;
  void (*run)(const char *arguments);
};

extern const struct command commands[];
const struct command *command_find(const char *name, size_t length);

/* Reads an edited line with history into the buffer; returns its length. ^C gives an empty line. */
size_t line_read(const char *prompt, char *buffer, size_t size);

void command_info(const char *arguments);
void command_mem(const char *arguments);
void command_memtest(const char *arguments);
void command_bench(const char *arguments);
void command_map(const char *arguments);
void command_traps(const char *arguments);
void command_user(const char *arguments);

/* Prints "ok" or "WRONG" for a check, and counts. */
struct checks {
  unsigned int passed, failed;
};
__attribute__((format(printf, 3, 4))) void check(struct checks *checks, bool ok, const char *format, ...);
void checks_print(const char *what, const struct checks *checks);

#endif
