/* Into user mode and out of it (paravane/user.h). */
#include <xen/xen.h>

#define HYPERCALL_STACK_SWITCH (hypercall_page + 32 * __HYPERVISOR_stack_switch)
#define REGISTERS_DS 28
#define REGISTERS_ES 32
#define REGISTERS_CS 48
#define REGISTERS_SS 60
#define VCPU_INFO_UPCALL_MASK 1

    .text
    .globl user_run
    .type user_run, @function
user_run:
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movl 20(%esp), %esi
    movl $FLAT_USER_CS, REGISTERS_CS(%esi)
    movl $FLAT_USER_SS, REGISTERS_SS(%esi)
    movl $FLAT_USER_DS, REGISTERS_DS(%esi)
    movl $FLAT_USER_DS, REGISTERS_ES(%esi)
    movl %esp, user_kernel_stack
    /* From here to the iret, ESP is in the registers structure: an upcall there would run over what was saved below. */
    movb $1, shared_info + VCPU_INFO_UPCALL_MASK
    movl $FLAT_KERNEL_SS, %ebx
    movl %esp, %ecx
    call HYPERCALL_STACK_SWITCH /* traps from user mode push their frames below what was saved here */
    pushl %esi
    pushl $0
    jmp registers_restore
    .size user_run, . - user_run

    .globl user_return
    .type user_return, @function
user_return:
    movl 4(%esp), %eax
    movl user_kernel_stack, %esp
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    ret
    .size user_return, . - user_return

    .section .bss.user_kernel_stack, "aw", @nobits
    .balign 4
user_kernel_stack:
    .skip 4

    .section .note.GNU-stack, "", @progbits
