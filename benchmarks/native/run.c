/*
 * Runs the bytes of a benchmark on the processor itself: maps its areas at their fixed addresses, enters it with the
 * registers of INPUT, and writes the registers and the data that it leaves, and the processor seconds of PASSES passes.
 *
 * INPUT: code bytes, entry, data bytes, passes (u64 each); 16 registers (u64); code; data.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { CODE = 0x10000000, DATA = 0x20100000, STACK_TOP = 0x30f10000, STACK_BYTES = 0x10000, EXIT = 0x30f20000 };

uint64_t registers[16];
uint64_t entry_address;
uint64_t host_stack;
void enter(void);
void leave(void);

asm(".text\n"
    ".globl enter, leave\n"
    "enter:\n"
    "  push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "  mov %rsp, host_stack(%rip)\n"
    "  mov 0*8+registers(%rip), %rax\n"
    "  mov 1*8+registers(%rip), %rcx\n"
    "  mov 2*8+registers(%rip), %rdx\n"
    "  mov 3*8+registers(%rip), %rbx\n"
    "  mov 4*8+registers(%rip), %rsp\n"
    "  mov 5*8+registers(%rip), %rbp\n"
    "  mov 6*8+registers(%rip), %rsi\n"
    "  mov 7*8+registers(%rip), %rdi\n"
    "  mov 8*8+registers(%rip), %r8\n"
    "  mov 9*8+registers(%rip), %r9\n"
    "  mov 10*8+registers(%rip), %r10\n"
    "  mov 11*8+registers(%rip), %r11\n"
    "  mov 12*8+registers(%rip), %r12\n"
    "  mov 13*8+registers(%rip), %r13\n"
    "  mov 14*8+registers(%rip), %r14\n"
    "  mov 15*8+registers(%rip), %r15\n"
    "  jmp *entry_address(%rip)\n"
    "leave:\n"
    "  mov %rax, 0*8+registers(%rip)\n"
    "  mov %rcx, 1*8+registers(%rip)\n"
    "  mov %rdx, 2*8+registers(%rip)\n"
    "  mov %rbx, 3*8+registers(%rip)\n"
    "  mov %rsp, 4*8+registers(%rip)\n"
    "  mov %rbp, 5*8+registers(%rip)\n"
    "  mov %rsi, 6*8+registers(%rip)\n"
    "  mov %rdi, 7*8+registers(%rip)\n"
    "  mov %r8, 8*8+registers(%rip)\n"
    "  mov %r9, 9*8+registers(%rip)\n"
    "  mov %r10, 10*8+registers(%rip)\n"
    "  mov %r11, 11*8+registers(%rip)\n"
    "  mov %r12, 12*8+registers(%rip)\n"
    "  mov %r13, 13*8+registers(%rip)\n"
    "  mov %r14, 14*8+registers(%rip)\n"
    "  mov %r15, 15*8+registers(%rip)\n"
    "  mov host_stack(%rip), %rsp\n"
    "  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "  ret\n");

static void *area(uintptr_t address, size_t bytes) {
  void *at = mmap((void *)address, bytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (at == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
  return at;
}

int main(int count, char **names) {
  FILE *in = count == 3 ? fopen(names[1], "rb") : NULL;
  FILE *out = count == 3 ? fopen(names[2], "wb") : NULL;
  uint64_t head[4], initial[16];
  if (!in || !out || fread(head, sizeof head, 1, in) != 1 || fread(initial, sizeof initial, 1, in) != 1) return 2;
  void *code = area(CODE, head[0]);
  void *data = area(DATA, head[2]);
  area(STACK_TOP - STACK_BYTES, STACK_BYTES);
  unsigned char *end = area(EXIT, 4096);
  if (fread(code, head[0], 1, in) != 1 || fread(data, head[2], 1, in) != 1) return 2;
  void (*back)(void) = leave;
  memcpy(end, "\xff\x25\0\0\0\0", 6); /* jmp *0(%rip) */
  memcpy(end + 6, &back, sizeof back);
  entry_address = CODE + head[1];
  clock_t start = clock();
  for (uint64_t pass = 0; pass < head[3]; pass++) {
    memcpy(registers, initial, sizeof registers);
    registers[4] = STACK_TOP - 8;
    *(uint64_t *)(STACK_TOP - 8) = EXIT;
    enter();
  }
  double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
  fwrite(registers, sizeof registers, 1, out);
  fwrite(&seconds, sizeof seconds, 1, out);
  fwrite(data, head[2], 1, out);
  return fclose(out) != 0;
}
