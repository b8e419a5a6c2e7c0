/* The commands, and the short ones themselves. */
#include "kernel.h"

static void command_help(const char *arguments) {
  (void)arguments;
  for (const struct command *command = commands; command->name; command++) {
    printf("  %-9s %-6s %s\n", command->name, command->arguments, command->help);
  }
}

static void command_time(const char *arguments) {
  (void)arguments;
  uint64_t now = time_now();
  struct wall_clock wall = time_wall();
  struct calendar_time t = time_calendar(wall.seconds);
  printf("uptime      %" PRIu64 ".%09" PRIu64 " s\n", now / NSEC_PER_SEC, now % NSEC_PER_SEC);
  printf("wall clock  %u-%02u-%02u %02u:%02u:%02u.%03u UTC (%" PRIu64 ")\n", t.year, t.month, t.day, t.hour, t.minute, t.second,
         wall.nanoseconds / 1000000, wall.seconds);
}

static void command_sleep(const char *arguments) {
  unsigned long milliseconds = 0;
  for (; *arguments >= '0' && *arguments <= '9'; arguments++) milliseconds = milliseconds * 10 + (unsigned long)(*arguments - '0');
  uint64_t before = time_now();
  time_sleep((uint64_t)milliseconds * NSEC_PER_MSEC);
  unsigned long slept = (unsigned long)((time_now() - before) / NSEC_PER_MSEC);
  printf("slept %lu ms, asked for %lu\n", slept, milliseconds);
}

static void command_echo(const char *arguments) {
  printf("%s\n", arguments);
}

static void command_crash(const char *arguments) {
  (void)arguments;
  printf("crashing: a read of an address that nobody mapped\n");
  *(volatile int *)0x10;
}

static void command_panic(const char *arguments) {
  panic("%s", *arguments ? arguments : "asked for at the prompt");
}

static void command_poweroff(const char *arguments) {
  (void)arguments;
  sched_shutdown(SHUTDOWN_poweroff);
}

static void command_reboot(const char *arguments) {
  (void)arguments;
  sched_shutdown(SHUTDOWN_reboot);
}

const struct command commands[] = {
    {"help", "", "this list", command_help},
    {"info", "", "the hypervisor, the domain and the processor", command_info},
    {"mem", "", "memory, by the domain's own count and by the hypervisor's", command_mem},
    {"memtest", "", "write all of memory and read it back", command_memtest},
    {"time", "", "uptime and wall clock", command_time},
    {"sleep", "MS", "block for some milliseconds", command_sleep},
    {"bench", "[MS]", "loops, copies, hypercalls, faults and events per second", command_bench},
    {"map", "", "page tables: map, protect, unmap, pin, and what must be refused", command_map},
    {"traps", "", "raise exceptions and look at what arrives", command_traps},
    {"user", "", "run a program in user mode", command_user},
    {"echo", "TEXT", "print the text", command_echo},
    {"crash", "", "fault in the kernel", command_crash},
    {"panic", "[TEXT]", "panic", command_panic},
    {"poweroff", "", "shut down", command_poweroff},
    {"reboot", "", "restart", command_reboot},
    {NULL, NULL, NULL, NULL},
};

const struct command *command_find(const char *name, size_t length) {
  for (const struct command *command = commands; command->name; command++) {
    if (strlen(command->name) == length && strncmp(command->name, name, length) == 0) return command;
  }
  return NULL;
}

void check(struct checks *checks, bool ok, const char *format, ...) {
  va_list args;
  va_start(args, format);
  printf("  %s ", ok ? "ok   " : "WRONG");
  vprintf(format, args);
  printf("\n");
  va_end(args);
  *(ok ? &checks->passed : &checks->failed) += 1;
}

void checks_print(const char *what, const struct checks *checks) {
  printf("%s: %u passed, %u failed\n", what, checks->passed, checks->failed);
}
