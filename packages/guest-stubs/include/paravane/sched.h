/* Giving the processor back, for a moment or for good. */
#ifndef PARAVANE_SCHED_H
#define PARAVANE_SCHED_H

#include <stdint.h>

void sched_yield(void);
/* Waits for an event. Call it with events masked after looking for work: it unmasks and blocks in one step. */
void sched_block(void);
/* Waits until one of the ports is pending or system time `timeout` (0: never) is reached; events must be masked. */
long sched_poll(uint32_t *ports, unsigned int count, uint64_t timeout);
/* reason: SHUTDOWN_poweroff, _reboot, _crash. Lets the console drain first. */
__attribute__((noreturn)) void sched_shutdown(unsigned int reason);

#endif
