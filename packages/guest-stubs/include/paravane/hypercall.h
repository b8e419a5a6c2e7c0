/*
 * Hypercalls by the names that Xen's guests use. Each returns what Xen returns: 0 or more, or a negative errno.
 * How they are made, and those whose arguments differ between 64 and 32 bits, is in paravane/arch/.
 */
#ifndef PARAVANE_HYPERCALL_H
#define PARAVANE_HYPERCALL_H

#include <paravane/arch.h>
#include <stdint.h>
#include <xen/xen.h>

#define HYPERCALL_POINTER(p) ((unsigned long)(p))

static inline long HYPERVISOR_set_trap_table(const struct trap_info *table) {
  return hypercall(__HYPERVISOR_set_trap_table, HYPERCALL_POINTER(table), 0, 0, 0, 0);
}

static inline long HYPERVISOR_mmu_update(struct mmu_update *requests, unsigned int count, int *done) {
  return hypercall(__HYPERVISOR_mmu_update, HYPERCALL_POINTER(requests), count, HYPERCALL_POINTER(done), DOMID_SELF, 0);
}

static inline long HYPERVISOR_mmuext_op(struct mmuext_op *ops, unsigned int count, int *done) {
  return hypercall(__HYPERVISOR_mmuext_op, HYPERCALL_POINTER(ops), count, HYPERCALL_POINTER(done), DOMID_SELF, 0);
}

static inline long HYPERVISOR_stack_switch(unsigned long ss, unsigned long sp) {
  return hypercall(__HYPERVISOR_stack_switch, ss, sp, 0, 0, 0);
}

static inline long HYPERVISOR_callback_op(unsigned int cmd, void *arg) {
  return hypercall(__HYPERVISOR_callback_op, cmd, HYPERCALL_POINTER(arg), 0, 0, 0);
}

static inline long HYPERVISOR_memory_op(unsigned int cmd, void *arg) {
  return hypercall(__HYPERVISOR_memory_op, cmd, HYPERCALL_POINTER(arg), 0, 0, 0);
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

static inline long HYPERVISOR_sched_op(unsigned int cmd, void *arg) {
  return hypercall(__HYPERVISOR_sched_op, cmd, HYPERCALL_POINTER(arg), 0, 0, 0);
}

static inline long HYPERVISOR_event_channel_op(unsigned int cmd, void *arg) {
  return hypercall(__HYPERVISOR_event_channel_op, cmd, HYPERCALL_POINTER(arg), 0, 0, 0);
}

#endif
