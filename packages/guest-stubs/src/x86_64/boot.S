/*
 * Where a PV64 domain starts, and what it tells the domain builder before that: the ELF notes and the hypercall page.
 * Entry state (Xen's PV boot protocol): RSI = start_info, RSP = top of the boot stack, flat selectors, paging on,
 * events masked. A kernel names itself with -DGUEST_OS='"…"' and -DGUEST_VERSION='"…"'.
 */
#include <xen/elfnote.h>
#include <xen/xen.h>

#ifndef GUEST_OS
#define GUEST_OS "Paravane"
#endif
#ifndef GUEST_VERSION
#define GUEST_VERSION "0.1"
#endif
#define STACK_SIZE 32768

/* Where the kernel is linked if nobody chooses (kernel.lds): in the top 2 GiB, for -mcmodel=kernel. */
    .globl default_virt_base
    .set default_virt_base, 0xffffffff80000000

.macro XEN_NOTE_STRING type, text
    .balign 4
    .long 4, 2f - 1f, \type
    .asciz "Xen"
1:  .asciz "\text"
2:  .balign 4
.endm

.macro XEN_NOTE_QUAD type, value
    .balign 4
    .long 4, 8, \type
    .asciz "Xen"
    .quad \value
.endm

    .section .note.Xen, "a", @note
    XEN_NOTE_STRING XEN_ELFNOTE_GUEST_OS, GUEST_OS
    XEN_NOTE_STRING XEN_ELFNOTE_GUEST_VERSION, GUEST_VERSION
    XEN_NOTE_STRING XEN_ELFNOTE_XEN_VERSION, "xen-3.0"
    XEN_NOTE_STRING XEN_ELFNOTE_LOADER, "generic"
    XEN_NOTE_STRING XEN_ELFNOTE_FEATURES, "pae_pgdir_above_4gb"
    XEN_NOTE_QUAD XEN_ELFNOTE_VIRT_BASE, virt_base
    XEN_NOTE_QUAD XEN_ELFNOTE_PADDR_OFFSET, 0
    XEN_NOTE_QUAD XEN_ELFNOTE_ENTRY, _start
    XEN_NOTE_QUAD XEN_ELFNOTE_HYPERCALL_PAGE, hypercall_page
    XEN_NOTE_QUAD XEN_ELFNOTE_HV_START_LOW, HYPERVISOR_VIRT_START

/* The builder writes the calls in; what is here stops a kernel that was loaded without them (int3). */
    .section .text.hypercall_page, "ax", @progbits
    .balign PAGE_SIZE
    .globl hypercall_page
    .type hypercall_page, @object
hypercall_page:
    .fill PAGE_SIZE, 1, 0xcc
    .size hypercall_page, PAGE_SIZE

    .text
    .globl _start
    .type _start, @function
_start:
    cld
    movq %rsp, %rdx             /* the boot stack lies above all that the builder loaded */
    leaq kernel_stack_end(%rip), %rsp
    xorl %ebp, %ebp             /* ends the chain of frames for the backtrace */
    movq %rsi, %rdi
    movq %rdx, %rsi
    call guest_start
    ud2
    .size _start, . - _start

    .section .bss.stack, "aw", @nobits
    .balign PAGE_SIZE
    .globl kernel_stack
    .type kernel_stack, @object
kernel_stack:
    .skip STACK_SIZE
    .globl kernel_stack_end
kernel_stack_end:
    .size kernel_stack, STACK_SIZE

/* Xen's shared page is mapped over this one (src/start.c), so that nothing else may lie in it. */
    .section .bss.shared_info, "aw", @nobits
    .balign PAGE_SIZE
    .globl shared_info
    .type shared_info, @object
shared_info:
    .skip PAGE_SIZE
    .size shared_info, PAGE_SIZE

    .section .note.GNU-stack, "", @progbits
