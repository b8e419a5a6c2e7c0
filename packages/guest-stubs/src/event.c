/*
 * Two-level event channels for one vCPU. A port is pending in shared_info.evtchn_pending, its word in the vCPU's
 * evtchn_pending_sel, and evtchn_upcall_pending says that anything is. Xen enters event_callback with the upcall mask
 * set; the mask is taken back by the iret hypercall that ends the upcall, which also takes what came in between.
 */
#include <paravane/guest.h>

void event_callback(void);
void failsafe_callback(void);
void syscall_callback(void);

static event_handler handlers[EVENT_PORTS];

static inline void set_bit(unsigned long *words, unsigned int bit) {
  __atomic_fetch_or(&words[bit / EVENT_WORD_BITS], 1ul << bit % EVENT_WORD_BITS, __ATOMIC_SEQ_CST);
}

static inline void clear_bit(unsigned long *words, unsigned int bit) {
  __atomic_fetch_and(&words[bit / EVENT_WORD_BITS], ~(1ul << bit % EVENT_WORD_BITS), __ATOMIC_SEQ_CST);
}

void event_init(void) {
  this_vcpu_info->evtchn_upcall_mask = 1;
  for (unsigned int i = 0; i < EVENT_WORDS; i++) shared_info.evtchn_mask[i] = ~0ul;
  long result = HYPERVISOR_set_callbacks(HYPERCALL_POINTER(event_callback), HYPERCALL_POINTER(failsafe_callback),
                                         HYPERCALL_POINTER(syscall_callback));
  if (result < 0) panic("set_callbacks: error %ld", result);
}

static void dispatch(evtchn_port_t port) {
  event_clear(port);
  if (handlers[port]) {
    handlers[port](port);
  } else {
    event_mask_port(port);
  }
}

void event_upcall(void) {
  struct vcpu_info *vcpu = this_vcpu_info;
  while (vcpu->evtchn_upcall_pending) {
    vcpu->evtchn_upcall_pending = 0;
    unsigned long words = __atomic_exchange_n(&vcpu->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
    while (words) {
      unsigned int word = (unsigned int)__builtin_ctzl(words);
      words &= words - 1;
      volatile unsigned long *pending = &shared_info.evtchn_pending[word];
      volatile unsigned long *mask = &shared_info.evtchn_mask[word];
      for (unsigned long ports; (ports = *pending & ~*mask) != 0;) {
        dispatch(word * EVENT_WORD_BITS + (unsigned int)__builtin_ctzl(ports));
      }
    }
    barrier();
  }
}

void event_handle(evtchn_port_t port, event_handler handler) {
  if (port == 0 || port >= EVENT_PORTS) panic("event port %u is out of range", port);
  handlers[port] = handler;
  event_unmask_port(port);
}

int event_bind_virq(unsigned int virq, event_handler handler) {
  struct evtchn_bind_virq bind = {.virq = virq, .vcpu = 0};
  long result = HYPERVISOR_event_channel_op(EVTCHNOP_bind_virq, &bind);
  if (result < 0) return (int)result;
  event_handle(bind.port, handler);
  return (int)bind.port;
}

int event_bind_ipi(event_handler handler) {
  struct evtchn_bind_ipi bind = {.vcpu = 0};
  long result = HYPERVISOR_event_channel_op(EVTCHNOP_bind_ipi, &bind);
  if (result < 0) return (int)result;
  event_handle(bind.port, handler);
  return (int)bind.port;
}

int event_notify(evtchn_port_t port) {
  struct evtchn_port send = {.port = port};
  return (int)HYPERVISOR_event_channel_op(EVTCHNOP_send, &send);
}

int event_close(evtchn_port_t port) {
  struct evtchn_port close = {.port = port};
  event_mask_port(port);
  handlers[port] = NULL;
  return (int)HYPERVISOR_event_channel_op(EVTCHNOP_close, &close);
}

void event_mask_port(evtchn_port_t port) {
  set_bit(shared_info.evtchn_mask, port);
}

/* By hypercall, so that Xen looks whether the port became pending while it was masked. */
void event_unmask_port(evtchn_port_t port) {
  struct evtchn_port unmask = {.port = port};
  if (HYPERVISOR_event_channel_op(EVTCHNOP_unmask, &unmask) < 0) clear_bit(shared_info.evtchn_mask, port);
}

void event_clear(evtchn_port_t port) {
  clear_bit(shared_info.evtchn_pending, port);
}

bool events_disable(void) {
  bool were_enabled = !this_vcpu_info->evtchn_upcall_mask;
  this_vcpu_info->evtchn_upcall_mask = 1;
  barrier();
  return were_enabled;
}

void events_enable(void) {
  barrier();
  this_vcpu_info->evtchn_upcall_mask = 0;
  barrier();
  /* Events are delivered on the way out of a hypercall, and Xen cannot see that the mask was just cleared. */
  if (this_vcpu_info->evtchn_upcall_pending) HYPERVISOR_xen_version(XENVER_version, NULL);
}

void events_restore(bool were_enabled) {
  if (were_enabled) events_enable();
}
