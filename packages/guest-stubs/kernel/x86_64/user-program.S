/* What `user` runs: position-independent, copied to a page of its own. System-call numbers are those of user.c. */
#include "../user.h"

    .section .rodata.user_program, "a"
    .balign 16
    .globl user_program
user_program:
    leaq message(%rip), %rdi
    movl $message_end - message, %esi
    movl $USER_WRITE, %eax
    syscall

    /* What a system call must leave alone. */
    movl $0x11111111, %ebx
    movl $0x22222222, %r12d
    movl $USER_NOTHING, %eax
    syscall
    cmpl $0x11111111, %ebx
    jne 9f
    cmpl $0x22222222, %r12d
    jne 9f

    movl $USER_KERNEL_ADDRESS, %eax
    syscall
    .globl user_program_read
user_program_read:
    movq (%rax), %rcx           /* the kernel is not mapped here: its handler skips this instruction */
    .globl user_program_after_read
user_program_after_read:
    int3

    movl $USER_ROUNDS, %ebx
1:  movl $USER_NOTHING, %eax
    syscall
    decl %ebx
    jnz 1b

    movl $42, %edi
    movl $USER_EXIT, %eax
    syscall
9:  movl $1, %edi
    movl $USER_EXIT, %eax
    syscall
    ud2
message:
    .ascii "  hello from user mode\n"
message_end:
    .globl user_program_end
user_program_end:

    .section .note.GNU-stack, "", @progbits
