/* SHA-256 (FIPS 180-4) and CRC-32 (IEEE 802.3, by a table). */
#include "work.h"
#include <string.h>

#define LENGTH (16 * 1024)
static unsigned char data[LENGTH];

static void prepare(void) { fill_with_text((char *)data, LENGTH, 4711); }

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes; roots found by bisection. */
static uint32_t constants[64];

static uint32_t fraction_of_cube_root(uint32_t prime) {
  /* The greatest r with r³ ≤ prime · 2⁹⁶, and of it the lower 32 bits: r < 2³⁵, so r³ needs 105 bits, in two words. */
  uint64_t low = 0, high = (uint64_t)1 << 35;
  while (high - low > 1) {
    uint64_t middle = low + (high - low) / 2;
    uint64_t a = middle >> 18, b = middle & 0x3ffff;
    /* middle³ = (a·2¹⁸ + b)³, compared as upper part (in units of 2³⁶) and rest. */
    uint64_t aa = a * a, ab = a * b, bb = b * b;
    /* square = aa·2³⁶ + 2ab·2¹⁸ + bb */
    uint64_t square_low = (ab << 19) + bb, square_high = aa + (square_low >> 36);
    square_low &= ((uint64_t)1 << 36) - 1;
    /* cube = square · (a·2¹⁸ + b) */
    uint64_t low_part = square_low * b, cross = square_low * a;
    uint64_t units = square_high * b + (low_part >> 36) + (cross >> 18);
    uint64_t rest = (low_part & (((uint64_t)1 << 36) - 1)) + ((cross & 0x3ffff) << 18);
    units += rest >> 36;
    /* upper·2¹⁸ + units against prime·2⁶⁰, all in units of 2³⁶ */
    uint64_t upper = square_high * a + (units >> 18);
    if (upper >= (uint64_t)prime << 42) high = middle;
    else low = middle;
  }
  return (uint32_t)low;
}

static void prepare_sha256(void) {
  prepare();
  int found = 0;
  for (uint32_t n = 2; found < 64; n++) {
    int prime = 1;
    for (uint32_t d = 2; d * d <= n; d++) prime &= n % d != 0;
    if (prime) constants[found++] = fraction_of_cube_root(n);
  }
}

#define TURN(x, n) ((x) >> (n) | (x) << (32 - (n)))

static void sha256_block(uint32_t state[8], const unsigned char *block) {
  uint32_t w[64];
  for (int i = 0; i < 16; i++) {
    w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
  }
  for (int i = 16; i < 64; i++) {
    uint32_t s0 = TURN(w[i - 15], 7) ^ TURN(w[i - 15], 18) ^ w[i - 15] >> 3;
    uint32_t s1 = TURN(w[i - 2], 17) ^ TURN(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
  uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
  for (int i = 0; i < 64; i++) {
    uint32_t t1 = h + (TURN(e, 6) ^ TURN(e, 11) ^ TURN(e, 25)) + ((e & f) ^ (~e & g)) + constants[i] + w[i];
    uint32_t t2 = (TURN(a, 2) ^ TURN(a, 13) ^ TURN(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  state[0] += a, state[1] += b, state[2] += c, state[3] += d;
  state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

static uint32_t run_sha256(void) {
  uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  for (size_t i = 0; i < LENGTH; i += 64) sha256_block(state, data + i);
  unsigned char last[64] = {0x80};
  last[61] = (unsigned char)(LENGTH * 8 >> 16);
  last[62] = (unsigned char)(LENGTH * 8 >> 8);
  sha256_block(state, last);
  return state[0];
}
const struct workload hash_sha256 = {"sha256", prepare_sha256, run_sha256};

static uint32_t table[256];

static void prepare_crc32(void) {
  prepare();
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ value >> 1 : value >> 1;
    table[i] = value;
  }
}

static uint32_t run_crc32(void) {
  uint32_t crc = 0xffffffff;
  for (int turn = 0; turn < 4; turn++) {
    for (size_t i = 0; i < LENGTH; i++) crc = table[(crc ^ data[i]) & 0xff] ^ crc >> 8;
  }
  return ~crc;
}
const struct workload hash_crc32 = {"crc32", prepare_crc32, run_crc32};
