/*
 * Paravirtual time: system_time + ((tsc - tsc_timestamp) shifted by tsc_shift) * tsc_to_system_mul >> 32, read again if
 * Xen was writing (odd version). Needs the shared page; before it is mapped time stands at 0.
 */
#include <paravane/guest.h>

static evtchn_port_t timer_port;

#define seqread(version) (*(volatile uint32_t *)&(version))

uint64_t time_read_tsc(void) {
  uint32_t low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
  return (uint64_t)high << 32 | low;
}

static uint64_t scale(uint64_t ticks, int8_t shift, uint32_t mul) {
  ticks = shift < 0 ? ticks >> -shift : ticks << shift;
  return (ticks >> 32) * mul + ((ticks & 0xffffffff) * mul >> 32);
}

uint64_t time_now(void) {
  const struct vcpu_time_info *time = &this_vcpu_info->time;
  uint32_t version;
  uint64_t now;
  do {
    version = seqread(time->version);
    barrier();
    now = time->system_time + scale(time_read_tsc() - time->tsc_timestamp, time->tsc_shift, time->tsc_to_system_mul);
    barrier();
  } while ((version & 1) || seqread(time->version) != version);
  return now;
}

struct wall_clock time_wall(void) {
  uint32_t version;
  uint64_t seconds, nanoseconds;
  do {
    version = seqread(shared_info.wc_version);
    barrier();
    seconds = (uint64_t)shared_info.shared_info_wc_sec_hi << 32 | shared_info.wc_sec;
    nanoseconds = shared_info.wc_nsec;
    barrier();
  } while ((version & 1) || seqread(shared_info.wc_version) != version);
  nanoseconds += time_now();
  return (struct wall_clock){seconds + nanoseconds / NSEC_PER_SEC, (uint32_t)(nanoseconds % NSEC_PER_SEC)};
}

static bool is_leap(unsigned int year) {
  return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

struct calendar_time time_calendar(uint64_t seconds) {
  static const uint8_t lengths[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  uint64_t days = seconds / 86400, rest = seconds % 86400;
  struct calendar_time t = {.year = 1970,
                            .month = 1,
                            .hour = (unsigned int)(rest / 3600),
                            .minute = (unsigned int)(rest / 60 % 60),
                            .second = (unsigned int)(rest % 60)};
  for (; days >= (is_leap(t.year) ? 366u : 365u); t.year++) days -= is_leap(t.year) ? 366 : 365;
  for (;; t.month++) {
    unsigned int length = lengths[t.month - 1] + (t.month == 2 && is_leap(t.year));
    if (days < length) break;
    days -= length;
  }
  t.day = (unsigned int)days + 1;
  return t;
}

uint64_t time_tsc_khz(void) {
  const struct vcpu_time_info *time = &this_vcpu_info->time;
  if (!time->tsc_to_system_mul) return 0;
  uint64_t khz = (1000000ull << 32) / time->tsc_to_system_mul;
  return time->tsc_shift < 0 ? khz << -time->tsc_shift : khz >> time->tsc_shift;
}

/* The event only ends the wait in time_sleep(). */
static void timer_event(evtchn_port_t unused) {
  (void)unused;
}

void time_init(void) {
  /* New vCPUs have a 100 Hz timer; nothing here wants it, and an old hypervisor may not know the call. */
  HYPERVISOR_vcpu_op(VCPUOP_stop_periodic_timer, 0, NULL);
  int bound = event_bind_virq(VIRQ_TIMER, timer_event);
  if (bound < 0) panic("cannot bind the timer: error %d", bound);
  timer_port = (evtchn_port_t)bound;
}

static void timer_set(uint64_t deadline) {
  struct vcpu_set_singleshot_timer timer = {.timeout_abs_ns = deadline};
  if (HYPERVISOR_vcpu_op(VCPUOP_set_singleshot_timer, 0, &timer) < 0) HYPERVISOR_set_timer_op(deadline);
}

void time_sleep(uint64_t nanoseconds) {
  uint64_t deadline = time_now() + nanoseconds;
  for (;;) {
    events_disable();
    if (time_now() >= deadline) break;
    timer_set(deadline);
    sched_block();
  }
  events_enable();
}
