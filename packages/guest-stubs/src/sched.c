/* sched_op: yield, block, poll, shutdown. */
#include <paravane/guest.h>

void sched_yield(void) {
  HYPERVISOR_sched_op(SCHEDOP_yield, NULL);
}

void sched_block(void) {
  HYPERVISOR_sched_op(SCHEDOP_block, NULL);
}

long sched_poll(uint32_t *ports, unsigned int count, uint64_t timeout) {
  struct sched_poll poll = {.ports = HYPERCALL_POINTER(ports), .nr_ports = count, .timeout = timeout};
  return HYPERVISOR_sched_op(SCHEDOP_poll, &poll);
}

void sched_shutdown(unsigned int reason) {
  struct sched_shutdown shutdown = {.reason = reason};
  console_flush();
  for (;;) HYPERVISOR_sched_op(SCHEDOP_shutdown, &shutdown);
}
