/*
 * Ways into the kernel (exceptions, event upcall, failsafe and syscall callbacks) and the one way back.
 *
 * Xen builds the frame on the kernel's stack, lowest address first: RCX, R11, [error code], RIP,
 * CS | saved event mask << 32, RFLAGS (IF = events were not masked), RSP, SS. The entries below make one shape of all
 * of them, struct registers (paravane/trap.h), and call trap_dispatch(&registers).
 */
#include <xen/xen.h>

#define HYPERCALL_IRET (hypercall_page + 32 * __HYPERVISOR_iret)
#define VECTOR_EVENT 256
#define VECTOR_FAILSAFE 257
#define VECTOR_SYSCALL 258

    .text

/* 8 #DF, 10 #TS, 11 #NP, 12 #SS, 13 #GP, 14 #PF, 17 #AC, 21 #CP, 29 #VC, 30 #SX push an error code. */
.macro TRAP_ENTRY vector
    .balign 16
    popq %rcx
    popq %r11
    .if \vector != 8 && (\vector < 10 || \vector > 14) && \vector != 17 && \vector != 21 && \vector != 29 && \vector != 30
    pushq $0
    .endif
    pushq $\vector
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
    popq %rcx
    popq %r11
    pushq $0
    pushq $VECTOR_EVENT
    jmp trap_common
    .size event_callback, . - event_callback

/* RCX, R11, then DS, ES, FS, GS that could not be loaded, then the frame. */
    .globl failsafe_callback
    .type failsafe_callback, @function
failsafe_callback:
    popq %rcx
    popq %r11
    addq $32, %rsp
    pushq $0
    pushq $VECTOR_FAILSAFE
    jmp trap_common
    .size failsafe_callback, . - failsafe_callback

/* SYSCALL in user mode: RCX and R11 of the frame are the user's return address and flags, as on the bare processor. */
    .globl syscall_callback
    .type syscall_callback, @function
syscall_callback:
    popq %rcx
    popq %r11
    pushq $0
    pushq $VECTOR_SYSCALL
    jmp trap_common
    .size syscall_callback, . - syscall_callback

    .type trap_common, @function
trap_common:
    cld
    pushq %rdi
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %rax
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, %rdi
    movq %rsp, %rbx
    andq $-16, %rsp
    call trap_dispatch
    movq %rbx, %rdi
    .size trap_common, . - trap_common

/* registers_restore(struct registers *): does not return. The structure must lie on a stack. */
    .globl registers_restore
    .type registers_restore, @function
registers_restore:
    movq %rdi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rax
    popq %rcx
    popq %rdx
    popq %rsi
    popq %rdi
    addq $8, %rsp               /* the vector; the error code's place becomes the flag word of the iret frame */
    movq $0, (%rsp)
    jmp HYPERCALL_IRET
    .size registers_restore, . - registers_restore

/* registers_capture(struct registers *): the caller's registers as they are after the call; needs no trap. */
    .globl registers_capture
    .type registers_capture, @function
registers_capture:
    movq %r15, 0(%rdi)
    movq %r14, 8(%rdi)
    movq %r13, 16(%rdi)
    movq %r12, 24(%rdi)
    movq %rbp, 32(%rdi)
    movq %rbx, 40(%rdi)
    movq %r11, 48(%rdi)
    movq %r10, 56(%rdi)
    movq %r9, 64(%rdi)
    movq %r8, 72(%rdi)
    movq %rax, 80(%rdi)
    movq %rcx, 88(%rdi)
    movq %rdx, 96(%rdi)
    movq %rsi, 104(%rdi)
    movq %rdi, 112(%rdi)
    movq $0, 120(%rdi)
    movq $0, 128(%rdi)
    movq (%rsp), %rax
    movq %rax, 136(%rdi)
    xorl %eax, %eax
    movw %cs, %ax
    movq %rax, 144(%rdi)
    pushfq
    popq %rax
    movq %rax, 152(%rdi)
    leaq 8(%rsp), %rax
    movq %rax, 160(%rdi)
    xorl %eax, %eax
    movw %ss, %ax
    movq %rax, 168(%rdi)
    ret
    .size registers_capture, . - registers_capture

    .section .note.GNU-stack, "", @progbits
