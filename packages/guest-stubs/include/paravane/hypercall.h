/*
 * Hypercalls by the names that Xen's guests use. Each returns what Xen returns: 0 or more, or a negative errno.
 * Arguments go in RDI, RSI, RDX, R10, R8, R9; the page saves RCX and R11 itself.
 */
#ifndef PARAVANE_HYPERCALL_H
#define PARAVANE_HYPERCALL_H

#include <stdint.h>
#include <xen/xen.h>

static inline __attribute__((always_inline)) long hypercall(unsigned int number, uint64_t a1, uint64_t a2, uint64_t a3,
                                                            uint64_t a4, uint64_t a5) {
  register uint64_t r10 __asm__("r10") = a4;
  register uint64_t r8 __asm__("r8") = a5;
  long result;
  /* The number is a constant after inlining, so this is a direct call into the page. */
  __asm__ volatile("call hypercall_page + %c[slot]"
                   : "=a"(result), "+D"(a1), "+S"(a2), "+d"(a3), "+r"(r10), "+r"(r8)
                   : [slot] "i"(number * 32)
                   : "rcx", "r9", "r11", "memory", "cc");
  return result;
}

#define HYPERCALL_POINTER(p) ((uint64_t)(uintptr_t)(p))

static inline long HYPERVISOR_set_trap_table(const struct trap_info *table) {
  return hypercall(__HYPERVISOR_set_trap_table, HYPERCALL_POINTER(table), 0, 0, 0, 0);
}

static inline long HYPERVISOR_mmu_update(struct mmu_update *requests, unsigned int count, int *done) {
  return hypercall(__HYPERVISOR_mmu_update, HYPERCALL_POINTER(requests), count, HYPERCALL_POINTER(done), DOMID_SELF, 0);
}

static inline long HYPERVISOR_mmuext_op(struct mmuext_op *ops, unsigned int count, int *done) {
  return hypercall(__HYPERVISOR_mmuext_op, HYPERCALL_POINTER(ops), count, HYPERCALL_POINTER(done), DOMID_SELF, 0);
}

static inline long HYPERVISOR_update_va_mapping(uint64_t va, uint64_t entry, unsigned int flags) {
  return hypercall(__HYPERVISOR_update_va_mapping, va, entry, flags, 0, 0);
}

static inline long HYPERVISOR_stack_switch(uint64_t ss, uint64_t sp) {
  return hypercall(__HYPERVISOR_stack_switch, ss, sp, 0, 0, 0);
}

static inline long HYPERVISOR_set_callbacks(void (*event)(void), void (*failsafe)(void), void (*syscall)(void)) {
  return hypercall(__HYPERVISOR_set_callbacks, HYPERCALL_POINTER(event), HYPERCALL_POINTER(failsafe),
                   HYPERCALL_POINTER(syscall), 0, 0);
}

static inline long HYPERVISOR_callback_op(unsigned int cmd, void *arg) {
  return hypercall(__HYPERVISOR_callback_op, cmd, HYPERCALL_POINTER(arg), 0, 0, 0);
}

static inline long HYPERVISOR_memory_op(unsigned int cmd, void *arg) {
  return hypercall(__HYPERVISOR_memory_op, cmd, HYPERCALL_POINTER(arg), 0, 0, 0);
}

static inline long HYPERVISOR_set_timer_op(uint64_t system_time) {
  return hypercall(__HYPERVISOR_set_timer_op, system_time, 0, 0, 0, 0);
}

static inline long HYPERVISOR_xen_version(unsigned int cmd, void *arg) {
  return hypercall(__HYPERVISOR_xen_version, cmd, HYPERCALL_POINTER(arg), 0, 0, 0);
}

static inline long HYPERVISOR_console_io(unsigned int cmd, unsigned int count, char *text) {
  return hypercall(__HYPERVISOR_console_io, cmd, count, HYPERCALL_POINTER(text), 0, 0);
}

static inline long HYPERVISOR_vm_assist(unsigned int cmd, unsigned int type) {
  return hypercall(__HYPERVISOR_vm_assist, cmd, type, 0, 0, 0);
}

static inline long HYPERVISOR_vcpu_op(unsigned int cmd, unsigned int vcpu, void *arg) {
  return hypercall(__HYPERVISOR_vcpu_op, cmd, vcpu, HYPERCALL_POINTER(arg), 0, 0);
}

static inline long HYPERVISOR_set_segment_base(unsigned int which, uint64_t base) {
  return hypercall(__HYPERVISOR_set_segment_base, which, base, 0, 0, 0);
}

static inline long HYPERVISOR_sched_op(unsigned int cmd, void *arg) {
  return hypercall(__HYPERVISOR_sched_op, cmd, HYPERCALL_POINTER(arg), 0, 0, 0);
}

static inline long HYPERVISOR_event_channel_op(unsigned int cmd, void *arg) {
  return hypercall(__HYPERVISOR_event_channel_op, cmd, HYPERCALL_POINTER(arg), 0, 0, 0);
}

#endif
