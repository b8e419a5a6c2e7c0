/* What `user` and its program agree on. */
#ifndef KERNEL_USER_H
#define KERNEL_USER_H

#define USER_NOTHING 0
#define USER_WRITE 1
#define USER_EXIT 2
#define USER_KERNEL_ADDRESS 3

#define USER_ROUNDS 1000

#endif
