/*
 * The kernel of the demonstration: a banner, the commands of `cmd=` on its command line, then a prompt. `cmd=` takes the
 * rest of the command line (or what is in its double quotes); commands are separated by semicolons.
 */
#include "kernel.h"

#define PROMPT "paravane> "
#define LINE_SIZE 256

static void banner(void) {
  printf("\nParavane guest kernel on %s, %lu MiB, console %s\n", start_info->magic,
         start_info->nr_pages >> (20 - PAGE_SHIFT), console_has_ring() ? "ring" : "of the hypervisor");
  printf("Type `help` for the commands.\n\n");
}

static const char *skip_spaces(const char *text) {
  while (*text == ' ' || *text == '\t') text++;
  return text;
}

static void run_command(char *text) {
  size_t end = strlen(text);
  while (end > 0 && (text[end - 1] == ' ' || text[end - 1] == '\t')) text[--end] = '\0';
  const char *name = skip_spaces(text);
  size_t length = 0;
  while (name[length] && name[length] != ' ' && name[length] != '\t') length++;
  if (length == 0) return;
  const struct command *command = command_find(name, length);
  if (command) {
    command->run(skip_spaces(name + length));
  } else {
    printf("%.*s: unknown command; `help` lists them\n", (int)length, name);
  }
}

static void run_commands(char *line) {
  for (char *next; line; line = next) {
    next = (char *)strchr(line, ';');
    if (next) *next++ = '\0';
    run_command(line);
  }
}

/* Finds `cmd=` at the start of a word of the command line and copies its value. */
static bool find_commands(char *value, size_t size) {
  const char *line = start_info->cmd_line;
  const char *found = strstr(line, "cmd=");
  while (found && found != line && found[-1] != ' ') found = strstr(found + 1, "cmd=");
  if (!found) return false;
  found += 4;
  char end = *found == '"' ? *found++ : '\0';
  size_t length = 0;
  while (found[length] && found[length] != end && length + 1 < size) length++;
  memcpy(value, found, length);
  value[length] = '\0';
  return true;
}

void kernel_main(void) {
  static char line[1024];
  banner();
  if (find_commands(line, sizeof line)) {
    printf(PROMPT "%s\n", line);
    run_commands(line);
  }
  for (;;) {
    line_read(PROMPT, line, LINE_SIZE);
    run_commands(line);
  }
}
