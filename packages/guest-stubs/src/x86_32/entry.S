/*
 * Ways into the kernel (exceptions, event upcall, failsafe callback) and the one way back.
 *
 * Xen builds the frame on the kernel's stack, lowest address first: [error code], EIP, CS | saved event mask << 16,
 * EFLAGS (IF = events were not masked), and ESP, SS if a program was interrupted. The entries below make one shape of
 * all of them, struct registers (paravane/trap.h), and call trap_dispatch(&registers).
 */
#include <xen/xen.h>

#define HYPERCALL_IRET (hypercall_page + 32 * __HYPERVISOR_iret)
#define VECTOR_EVENT 256
#define VECTOR_FAILSAFE 257

    .text

/* 8 #DF, 10 #TS, 11 #NP, 12 #SS, 13 #GP, 14 #PF, 17 #AC, 21 #CP, 29 #VC, 30 #SX push an error code. */
.macro TRAP_ENTRY vector
    .balign 16
    .if \vector != 8 && (\vector < 10 || \vector > 14) && \vector != 17 && \vector != 21 && \vector != 29 && \vector != 30
    pushl $0
    .endif
    pushl $\vector
    jmp trap_common
.endm

    .balign 16
    .globl trap_entries         /* entry n is at byte 16 * n */
    .type trap_entries, @function
trap_entries:
    .altmacro
    .set .Lvector, 0
    .rept 256
    TRAP_ENTRY %.Lvector
    .set .Lvector, .Lvector + 1
    .endr
    .noaltmacro
    .balign 16
    .size trap_entries, . - trap_entries
    .globl trap_entries_end     /* kernel.lds checks the distance */
trap_entries_end:

    .globl event_callback
    .type event_callback, @function
event_callback:
    pushl $0
    pushl $VECTOR_EVENT
    jmp trap_common
    .size event_callback, . - event_callback

/* DS, ES, FS, GS that could not be loaded, then the frame. */
    .globl failsafe_callback
    .type failsafe_callback, @function
failsafe_callback:
    addl $16, %esp
    pushl $0
    pushl $VECTOR_FAILSAFE
    jmp trap_common
    .size failsafe_callback, . - failsafe_callback

/* Never entered: a 32-bit program calls by INT 0x80. */
    .globl syscall_callback
    .set syscall_callback, 0

    .type trap_common, @function
trap_common:
    cld
    pushl %es
    pushl %ds
    pushl %eax
    pushl %ebp
    pushl %edi
    pushl %esi
    pushl %edx
    pushl %ecx
    pushl %ebx
    movl $FLAT_KERNEL_DS, %eax  /* Xen leaves a program's data segments as they are */
    movl %eax, %ds
    movl %eax, %es
    movl %esp, %ebx
    andl $-16, %esp
    subl $12, %esp
    pushl %ebx
    call trap_dispatch
    movl %ebx, %esp
    jmp restore
    .size trap_common, . - trap_common

/* registers_restore(struct registers *): does not return. The structure must lie on a stack. */
    .globl registers_restore
    .type registers_restore, @function
registers_restore:
    movl 4(%esp), %esp
restore:
    popl %ebx
    popl %ecx
    popl %edx
    popl %esi
    popl %edi
    popl %ebp
    popl %eax
    popl %ds
    popl %es
    addl $8, %esp               /* the vector and the error code; the page's entry for iret pushes EAX */
    jmp HYPERCALL_IRET
    .size registers_restore, . - registers_restore

/* registers_capture(struct registers *): the caller's registers as they are after the call; needs no trap. */
    .globl registers_capture
    .type registers_capture, @function
registers_capture:
    pushl %eax
    movl 8(%esp), %eax
    movl %ebx, 0(%eax)
    movl %ecx, 4(%eax)
    movl %edx, 8(%eax)
    movl %esi, 12(%eax)
    movl %edi, 16(%eax)
    movl %ebp, 20(%eax)
    popl 24(%eax)
    movl $0, 28(%eax)
    movw %ds, 28(%eax)
    movl $0, 32(%eax)
    movw %es, 32(%eax)
    movl $0, 36(%eax)
    movl $0, 40(%eax)
    movl (%esp), %edx
    movl %edx, 44(%eax)
    movl $0, 48(%eax)
    movw %cs, 48(%eax)
    pushfl
    popl 52(%eax)
    leal 4(%esp), %edx
    movl %edx, 56(%eax)
    movl $0, 60(%eax)
    movw %ss, 60(%eax)
    movl 24(%eax), %eax
    ret
    .size registers_capture, . - registers_capture

    .section .note.GNU-stack, "", @progbits
