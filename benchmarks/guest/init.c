/* The first process of a benchmark guest: reads "PROGRAM NAME COUNT" from the console and runs it, for ever. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static void make_console_plain(void) {
  struct termios settings;
  if (tcgetattr(0, &settings) != 0) return;
  cfmakeraw(&settings);
  tcsetattr(0, TCSANOW, &settings);
}

static int read_line(char *line, size_t size) {
  size_t length = 0;
  for (;;) {
    char byte;
    if (read(0, &byte, 1) != 1) return 0;
    if (byte == '\n') break;
    if (length + 1 < size) line[length++] = byte;
  }
  line[length] = 0;
  return 1;
}

int main(void) {
  char line[256];
  mount("proc", "/proc", "proc", 0, NULL);
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  make_console_plain();
  dprintf(1, "@init\n");
  while (read_line(line, sizeof line)) {
    char *arguments[4] = {NULL};
    int count = 0;
    for (char *word = strtok(line, " "); word && count < 3; word = strtok(NULL, " ")) arguments[count++] = word;
    if (count == 0) continue;
    pid_t child = fork();
    if (child == 0) {
      execv(arguments[0], arguments);
      _exit(127);
    }
    int status = 0;
    waitpid(child, &status, 0);
    dprintf(1, "@exit %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
  for (;;) pause();
}
