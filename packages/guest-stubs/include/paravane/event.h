/* Event channels, two-level form: ports, their handlers, and the mask that stands in for the interrupt flag. */
#ifndef PARAVANE_EVENT_H
#define PARAVANE_EVENT_H

#include <stdbool.h>
#include <stdint.h>
#include <xen/xen.h>

typedef uint32_t evtchn_port_t;
#define EVENT_PORTS (EVENT_WORDS * EVENT_WORD_BITS)

/* Called from the upcall, events masked. */
typedef void (*event_handler)(evtchn_port_t port);

void event_init(void);
/* Sets the handler of a port that is bound already, and unmasks it. */
void event_handle(evtchn_port_t port, event_handler handler);
/* Bind for vCPU 0 and handle; a port, or a negative errno. */
int event_bind_virq(unsigned int virq, event_handler handler);
int event_bind_ipi(event_handler handler);
int event_notify(evtchn_port_t port);
int event_close(evtchn_port_t port);
void event_mask_port(evtchn_port_t port);
void event_unmask_port(evtchn_port_t port);
void event_clear(evtchn_port_t port);

/* Mask all events; the return value is for events_restore(). */
bool events_disable(void);
void events_enable(void);
void events_restore(bool were_enabled);

/* Dispatch what is pending: the body of the upcall. */
void event_upcall(void);

#endif
