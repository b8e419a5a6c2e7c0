/*
 * Line editing for a terminal that understands ANSI: arrows, home, end, delete, backspace, ^A ^E ^B ^F ^D ^K ^U ^W ^L ^C,
 * and a history on ^P ^N and the vertical arrows.
 */
#include "kernel.h"

#define CTRL(letter) ((letter) & 0x1f)
#define HISTORY 16
#define LINE_MAX 256

enum { KEY_UP = 256, KEY_DOWN, KEY_RIGHT, KEY_LEFT, KEY_HOME, KEY_END, KEY_DELETE, KEY_NONE };

struct line {
  const char *prompt;
  char *text;
  size_t size, length, cursor;
};

static char history[HISTORY][LINE_MAX];
static unsigned int history_count; /* lines ever entered; the last HISTORY of them are kept */

static int read_escape(void) {
  int key = console_read();
  if (key != '[' && key != 'O') return KEY_NONE;
  unsigned int parameter = 0;
  for (key = console_read(); (key >= '0' && key <= '9') || key == ';'; key = console_read()) {
    parameter = key == ';' ? parameter : parameter * 10 + (unsigned int)(key - '0');
  }
  switch (key) {
    case 'A':
      return KEY_UP;
    case 'B':
      return KEY_DOWN;
    case 'C':
      return KEY_RIGHT;
    case 'D':
      return KEY_LEFT;
    case 'H':
      return KEY_HOME;
    case 'F':
      return KEY_END;
    case '~':
      return parameter == 3 ? KEY_DELETE : parameter == 1 ? KEY_HOME : parameter == 4 ? KEY_END : KEY_NONE;
    default:
      return KEY_NONE;
  }
}

static int read_key(void) {
  int byte = console_read();
  return byte == CTRL('[') ? read_escape() : byte;
}

/* Writes the text from `from` on, clears what follows, and puts the cursor back where it belongs. */
static void redraw(const struct line *line, size_t from) {
  console_write(line->text + from, line->length - from);
  printf("\x1b[K");
  if (line->length > line->cursor) printf("\x1b[%zuD", line->length - line->cursor);
}

static void redraw_all(const struct line *line) {
  printf("\r%s", line->prompt);
  redraw(line, 0);
}

static void insert(struct line *line, char byte) {
  if (line->length + 1 >= line->size) return;
  size_t at = line->cursor;
  memmove(line->text + at + 1, line->text + at, line->length - at);
  line->text[at] = byte;
  line->length++;
  line->cursor++;
  if (line->cursor == line->length) {
    console_write(&byte, 1);
  } else {
    redraw(line, at);
  }
}

/* Removes the text between two places; the cursor ends at the first. */
static void erase(struct line *line, size_t from, size_t to) {
  if (from >= to) return;
  memmove(line->text + from, line->text + to, line->length - to);
  line->length -= to - from;
  line->cursor = from;
  redraw_all(line);
}

static void move(struct line *line, size_t to) {
  if (to > line->length) return;
  if (to < line->cursor) printf("\x1b[%zuD", line->cursor - to);
  if (to > line->cursor) printf("\x1b[%zuC", to - line->cursor);
  line->cursor = to;
}

static size_t word_start(const struct line *line) {
  size_t at = line->cursor;
  while (at > 0 && line->text[at - 1] == ' ') at--;
  while (at > 0 && line->text[at - 1] != ' ') at--;
  return at;
}

static void show_history(struct line *line, unsigned int number) {
  const char *text = number == history_count ? "" : history[number % HISTORY];
  line->length = strnlen(text, line->size - 1);
  line->cursor = line->length;
  memcpy(line->text, text, line->length);
  redraw_all(line);
}

static void remember(const char *text) {
  if (!*text || (history_count > 0 && strcmp(history[(history_count - 1) % HISTORY], text) == 0)) return;
  snprintf(history[history_count++ % HISTORY], LINE_MAX, "%s", text);
}

static bool edit(struct line *line, int key, unsigned int *shown) {
  unsigned int oldest = history_count > HISTORY ? history_count - HISTORY : 0;
  switch (key) {
    case '\r':
    case '\n':
      return false;
    case CTRL('C'):
      printf("^C");
      line->length = 0;
      return false;
    case CTRL('H'):
    case 0x7f:
      if (line->cursor > 0) erase(line, line->cursor - 1, line->cursor);
      break;
    case CTRL('D'):
    case KEY_DELETE:
      if (line->cursor < line->length) erase(line, line->cursor, line->cursor + 1);
      break;
    case CTRL('U'):
      erase(line, 0, line->cursor);
      break;
    case CTRL('K'):
      erase(line, line->cursor, line->length);
      break;
    case CTRL('W'):
      erase(line, word_start(line), line->cursor);
      break;
    case CTRL('A'):
    case KEY_HOME:
      move(line, 0);
      break;
    case CTRL('E'):
    case KEY_END:
      move(line, line->length);
      break;
    case CTRL('B'):
    case KEY_LEFT:
      if (line->cursor > 0) move(line, line->cursor - 1);
      break;
    case CTRL('F'):
    case KEY_RIGHT:
      move(line, line->cursor + 1);
      break;
    case CTRL('P'):
    case KEY_UP:
      if (*shown > oldest) show_history(line, --*shown);
      break;
    case CTRL('N'):
    case KEY_DOWN:
      if (*shown < history_count) show_history(line, ++*shown);
      break;
    case CTRL('L'):
      printf("\x1b[H\x1b[2J");
      redraw_all(line);
      break;
    default:
      if (key >= ' ' && key < 0x7f) insert(line, (char)key);
  }
  return true;
}

size_t line_read(const char *prompt, char *buffer, size_t size) {
  struct line line = {.prompt = prompt, .text = buffer, .size = size < LINE_MAX ? size : LINE_MAX};
  unsigned int shown = history_count;
  printf("%s", prompt);
  while (edit(&line, read_key(), &shown)) continue;
  printf("\n");
  buffer[line.length] = '\0';
  remember(buffer);
  return line.length;
}
