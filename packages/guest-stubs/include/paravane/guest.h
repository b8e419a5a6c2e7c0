/* All of the stubs. A kernel defines kernel_main(); guest_start() (src/start.c) calls it when everything below works. */
#ifndef PARAVANE_GUEST_H
#define PARAVANE_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <paravane/console.h>
#include <paravane/event.h>
#include <paravane/hypercall.h>
#include <paravane/mm.h>
#include <paravane/panic.h>
#include <paravane/printf.h>
#include <paravane/sched.h>
#include <paravane/string.h>
#include <paravane/time.h>
#include <paravane/trap.h>
#include <paravane/user.h>
#include <xen/xen.h>

/* Where the image lies (linker script). */
extern char kernel_start[], kernel_end[], virt_base[];
extern char kernel_stack[], kernel_stack_end[];

extern struct start_info *start_info;

/* The shared page, mapped by guest_start(); this vCPU's part of it. */
extern struct shared_info shared_info;
#define this_vcpu_info (&shared_info.vcpu_info[0])

#define barrier() __asm__ volatile("" ::: "memory")

/* To be written by the kernel; when it returns, the domain powers off. */
void kernel_main(void);

#endif
