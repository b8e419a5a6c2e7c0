/* Division of 64-bit numbers, which the compiler calls by these names. */
#include <stdint.h>

uint64_t __udivmoddi4(uint64_t dividend, uint64_t divisor, uint64_t *remainder);
uint64_t __udivdi3(uint64_t dividend, uint64_t divisor);
uint64_t __umoddi3(uint64_t dividend, uint64_t divisor);

/* DIV of 64 by 32 bits; the high half must be below the divisor. */
static uint32_t divide(uint32_t high, uint32_t low, uint32_t divisor, uint32_t *remainder) {
  uint32_t quotient;
  __asm__("divl %4" : "=a"(quotient), "=d"(*remainder) : "0"(low), "1"(high), "r"(divisor) : "cc");
  return quotient;
}

uint64_t __udivmoddi4(uint64_t dividend, uint64_t divisor, uint64_t *remainder) {
  uint32_t high = (uint32_t)(dividend >> 32), low = (uint32_t)dividend, rest;
  if (divisor >> 32 == 0) {
    uint32_t by = (uint32_t)divisor;
    uint32_t quotient_high = divide(0, high, by, &rest);
    uint32_t quotient_low = divide(rest, low, by, &rest);
    *remainder = rest;
    return (uint64_t)quotient_high << 32 | quotient_low;
  }
  /* The quotient has 32 bits at most: one bit after the other. */
  uint64_t quotient = 0, left = high;
  for (int bit = 31; bit >= 0; bit--) {
    left = left << 1 | (low >> bit & 1);
    quotient <<= 1;
    if (left >= divisor) {
      left -= divisor;
      quotient |= 1;
    }
  }
  *remainder = left;
  return quotient;
}

uint64_t __udivdi3(uint64_t dividend, uint64_t divisor) {
  uint64_t remainder;
  return __udivmoddi4(dividend, divisor, &remainder);
}

uint64_t __umoddi3(uint64_t dividend, uint64_t divisor) {
  uint64_t remainder;
  __udivmoddi4(dividend, divisor, &remainder);
  return remainder;
}
