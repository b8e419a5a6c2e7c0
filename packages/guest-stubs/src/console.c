/*
 * The PV console ring (Xen's public io/console.h) and, without one, CONSOLEIO_write. The ring's page is shared with the
 * console back end, which is trusted to be no worse than slow: indices are re-read, and bytes are copied once.
 */
#include <paravane/guest.h>

static struct xencons_interface *ring;
static evtchn_port_t port;

#define ring_read(field) (*(volatile uint32_t *)&(field))

void console_init(void) {
  if (!start_info->console.mfn) return;
  ring = mm_mfn_to_virt(start_info->console.mfn);
  port = start_info->console.evtchn;
}

bool console_has_ring(void) {
  return ring != NULL;
}

/* The event only ends the wait in console_read(); there the ring itself is looked at. */
static void console_event(evtchn_port_t unused) {
  (void)unused;
}

void console_bind_events(void) {
  if (ring && port) event_handle(port, console_event);
}

static void console_notify(void) {
  if (port) event_notify(port);
}

static uint32_t ring_used(void) {
  return ring_read(ring->out_prod) - ring_read(ring->out_cons);
}

static void ring_put(char byte) {
  while (ring_used() >= sizeof ring->out) {
    console_notify();
    sched_yield();
  }
  uint32_t prod = ring->out_prod;
  ring->out[prod % sizeof ring->out] = byte;
  barrier();
  ring_read(ring->out_prod) = prod + 1;
}

static void emergency_write(const char *text, size_t length) {
  char copy[128];
  while (length > 0) {
    size_t part = length < sizeof copy ? length : sizeof copy;
    memcpy(copy, text, part);
    HYPERVISOR_console_io(CONSOLEIO_write, (unsigned int)part, copy);
    text += part;
    length -= part;
  }
}

void console_write(const char *text, size_t length) {
  if (!ring) {
    emergency_write(text, length);
    return;
  }
  for (size_t i = 0; i < length; i++) {
    if (text[i] == '\n') ring_put('\r');
    ring_put(text[i]);
  }
  if (length > 0) console_notify();
}

void console_flush(void) {
  if (!ring) return;
  uint64_t deadline = time_now() + NSEC_PER_SEC;
  console_notify();
  /* Time stands still until the shared page is mapped, so the tries are counted too. */
  for (int tries = 0; ring_used() > 0 && time_now() < deadline && tries < 1000000; tries++) sched_yield();
}

int console_try_read(void) {
  if (!ring) {
    char byte;
    return HYPERVISOR_console_io(CONSOLEIO_read, 1, &byte) == 1 ? (unsigned char)byte : -1;
  }
  uint32_t cons = ring->in_cons;
  if (ring_read(ring->in_prod) == cons) return -1;
  barrier();
  int byte = (unsigned char)ring->in[cons % sizeof ring->in];
  barrier();
  ring_read(ring->in_cons) = cons + 1;
  if (ring_read(ring->in_prod) == cons + 1) console_notify();
  return byte;
}

int console_read(void) {
  for (;;) {
    events_disable();
    int byte = console_try_read();
    if (byte >= 0) {
      events_enable();
      return byte;
    }
    if (ring) {
      sched_block();
    } else {
      events_enable();
      time_sleep(20 * NSEC_PER_MSEC);
    }
  }
}
