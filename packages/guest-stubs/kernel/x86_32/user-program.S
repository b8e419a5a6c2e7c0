/* What `user` runs: position-independent, copied to a page of its own. System-call numbers are those of user.c. */
#include "../user.h"

    .section .rodata.user_program, "a"
    .balign 16
    .globl user_program
user_program:
    call 1f
1:  popl %ebx
    addl $message - 1b, %ebx
    movl $message_end - message, %ecx
    movl $USER_WRITE, %eax
    int $0x80

    /* What a system call must leave alone. */
    movl $0x11111111, %ebx
    movl $0x22222222, %esi
    movl $USER_NOTHING, %eax
    int $0x80
    cmpl $0x11111111, %ebx
    jne 9f
    cmpl $0x22222222, %esi
    jne 9f

    movl $USER_KERNEL_ADDRESS, %eax
    int $0x80
    .globl user_program_read
user_program_read:
    movl (%eax), %ecx           /* the kernel's: its handler skips this instruction */
    .globl user_program_after_read
user_program_after_read:
    int3

    movl $USER_ROUNDS, %esi
1:  movl $USER_NOTHING, %eax
    int $0x80
    decl %esi
    jnz 1b

    movl $42, %ebx
    movl $USER_EXIT, %eax
    int $0x80
9:  movl $1, %ebx
    movl $USER_EXIT, %eax
    int $0x80
    ud2
message:
    .ascii "  hello from user mode\n"
message_end:
    .globl user_program_end
user_program_end:

    .section .note.GNU-stack, "", @progbits
