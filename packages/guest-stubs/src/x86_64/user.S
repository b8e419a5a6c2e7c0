/* Into user mode and out of it (paravane/user.h). */
#include <xen/xen.h>

#define HYPERCALL_STACK_SWITCH (hypercall_page + 32 * __HYPERVISOR_stack_switch)
#define REGISTERS_CS 144
#define REGISTERS_SS 168
#define VCPU_INFO_UPCALL_MASK 1

    .text
    .globl user_run
    .type user_run, @function
user_run:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq $FLAT_USER_CS, REGISTERS_CS(%rdi)
    movq $FLAT_USER_SS, REGISTERS_SS(%rdi)
    movq %rsp, user_kernel_stack(%rip)
    movq %rdi, %rbx
    /* From here to the iret, RSP is in the registers structure: an upcall there would run over what was saved below. */
    movb $1, shared_info + VCPU_INFO_UPCALL_MASK(%rip)
    movl $FLAT_KERNEL_SS, %edi
    movq %rsp, %rsi
    call HYPERCALL_STACK_SWITCH /* traps from user mode push their frames below what was saved here */
    movq %rbx, %rdi
    jmp registers_restore
    .size user_run, . - user_run

    .globl user_return
    .type user_return, @function
user_return:
    movq %rdi, %rax
    movq user_kernel_stack(%rip), %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size user_return, . - user_return

    .section .bss.user_kernel_stack, "aw", @nobits
    .balign 8
user_kernel_stack:
    .skip 8

    .section .note.GNU-stack, "", @progbits
