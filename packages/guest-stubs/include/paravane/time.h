/* Time since boot (ns), the wall clock, and waiting with the single-shot timer. */
#ifndef PARAVANE_TIME_H
#define PARAVANE_TIME_H

#include <stdint.h>

#define NSEC_PER_SEC 1000000000u
#define NSEC_PER_MSEC 1000000u

struct wall_clock {
  uint64_t seconds; /* since 1970-01-01 00:00 UTC */
  uint32_t nanoseconds;
};

struct calendar_time {
  unsigned int year, month, day, hour, minute, second;
};

void time_init(void);
uint64_t time_now(void);
struct wall_clock time_wall(void);
struct calendar_time time_calendar(uint64_t seconds);
uint64_t time_tsc_khz(void);
uint64_t time_read_tsc(void);
/* Blocks until that much system time has passed. */
void time_sleep(uint64_t nanoseconds);

#endif
