/* What differs between 64-bit and 32-bit (PAE) domains: hypercalls, saved registers, the shape of page tables. */
#ifndef PARAVANE_ARCH_H
#define PARAVANE_ARCH_H

#ifdef __x86_64__
#include <paravane/arch/x86_64.h>
#else
#include <paravane/arch/x86_32.h>
#endif

#endif
