/*
 * From the entry point to kernel_main(): the order in which the parts of a PV kernel can come up. Traps first, so that a
 * fault in what follows is reported; the console second, so that the report can be read.
 */
#include <paravane/guest.h>

struct start_info *start_info;

__attribute__((noreturn)) void guest_start(struct start_info *info, unsigned long boot_stack);

static void shared_info_map(void) {
  long result = HYPERVISOR_update_va_mapping(HYPERCALL_POINTER(&shared_info),
                                             (start_info->shared_info & PTE_FRAME) | PTE_KERNEL, UVMF_INVLPG);
  if (result < 0) panic("cannot map the shared info page at machine address %lx: error %ld", start_info->shared_info, result);
}

void guest_start(struct start_info *info, unsigned long boot_stack) {
  start_info = info;
  trap_init();
  console_init();
  shared_info_map();
  event_init();
  console_bind_events();
  time_init();
  mm_init(boot_stack);
  events_enable();
  kernel_main();
  sched_shutdown(SHUTDOWN_poweroff);
}
