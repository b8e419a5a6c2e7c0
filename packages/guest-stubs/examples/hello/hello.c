/* The smallest kernel: the stubs bring it up, it says hello, and the domain ends. */
#include <paravane/guest.h>

void kernel_main(void) {
  printf("Hello from %s, %lu MiB, %" PRIu64 " ns after boot.\n", start_info->magic,
         start_info->nr_pages >> (20 - PAGE_SHIFT), time_now());
  sched_shutdown(SHUTDOWN_poweroff);
}
