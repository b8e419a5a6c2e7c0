/*
 * The first console: the ring that start_info names, or the hypervisor's own console if it names none. Output waits
 * while the ring is full; input is taken a byte at a time. "\n" goes out as "\r\n".
 */
#ifndef PARAVANE_CONSOLE_H
#define PARAVANE_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>

void console_init(void);
/* After events work: input wakes a blocked vCPU from then on. */
void console_bind_events(void);
void console_write(const char *text, size_t length);
/* Waits (up to a second of system time) until the other side has taken all output. */
void console_flush(void);
/* The next byte of input, or -1 if there is none now. */
int console_try_read(void);
/* The next byte of input; blocks the vCPU until there is one. */
int console_read(void);
bool console_has_ring(void);

#endif
