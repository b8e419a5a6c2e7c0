/* Floating point: scalar and packed in SSE2, and 80 bits on the x87. No library functions, whose last bits may differ. */
#include "work.h"
#include <string.h>

static uint32_t checksum_of_double(double value) { return checksum(&value, sizeof value); }

#define BODIES 5
#define STEPS(type, root, name)                                                                                        \
  static type name(void) {                                                                                             \
    static const int start[BODIES][4] = {{0, 0, 0, 39}, {4, -1, 0, 4}, {8, 4, -1, 3}, {12, -15, 2, 2}, {15, -25, 1, 1}}; \
    type at[BODIES][3], speed[BODIES][3], mass[BODIES];                                                                \
    for (int i = 0; i < BODIES; i++) {                                                                                 \
      for (int k = 0; k < 3; k++) at[i][k] = start[i][k], speed[i][k] = (type)start[(i + 2) % BODIES][k] / 64;          \
      mass[i] = (type)start[i][3] / 8;                                                                                 \
    }                                                                                                                  \
    for (int step = 0; step < 100; step++) {                                                                           \
      for (int i = 0; i < BODIES; i++) {                                                                               \
        for (int j = i + 1; j < BODIES; j++) {                                                                         \
          type d[3], square = 0;                                                                                       \
          for (int k = 0; k < 3; k++) d[k] = at[i][k] - at[j][k], square += d[k] * d[k];                                \
          type pull = (type)0.01 / (square * root(square));                                                            \
          for (int k = 0; k < 3; k++) speed[i][k] -= d[k] * mass[j] * pull, speed[j][k] += d[k] * mass[i] * pull;       \
        }                                                                                                              \
      }                                                                                                                \
      for (int i = 0; i < BODIES; i++) {                                                                               \
        for (int k = 0; k < 3; k++) at[i][k] += (type)0.01 * speed[i][k];                                              \
      }                                                                                                                \
    }                                                                                                                  \
    return at[0][0] + at[1][1] + at[4][2];                                                                             \
  }

STEPS(double, __builtin_sqrt, bodies_double)

static uint32_t run_scalar(void) {
  uint32_t inside = 0;
  for (int row = 0; row < 16; row++) {
    for (int column = 0; column < 24; column++) {
      double cr = column / 12.0 - 1.5, ci = row / 8.0 - 1, r = 0, i = 0;
      int turns = 0;
      for (; turns < 50 && r * r + i * i < 4; turns++) {
        double next = r * r - i * i + cr;
        i = 2 * r * i + ci;
        r = next;
      }
      inside = inside * 3 + (uint32_t)turns;
    }
  }
  return inside ^ checksum_of_double(bodies_double());
}
const struct workload sse2_scalar = {"sse2-scalar", NULL, run_scalar};

typedef double pair __attribute__((vector_size(16)));
typedef float quad __attribute__((vector_size(16)));
typedef uint32_t words __attribute__((vector_size(16)));
typedef uint16_t halves __attribute__((vector_size(16)));

#define SIDE 48
static pair left[SIDE][SIDE / 2], right[SIDE][SIDE / 2], product[SIDE][SIDE / 2];
static quad wave[1024];
static words state[4];
static halves pixels[1024], other[1024];

static void prepare_packed(void) {
  for (int i = 0; i < SIDE; i++) {
    for (int j = 0; j < SIDE / 2; j++) {
      left[i][j] = (pair){i - j, i * 0.5};
      right[i][j] = (pair){j * 0.25, 1 + i};
    }
  }
}

static uint32_t run_packed(void) {
  for (int i = 0; i < SIDE; i++) {
    for (int j = 0; j < SIDE / 2; j++) {
      pair sum = {0, 0};
      for (int k = 0; k < SIDE; k++) {
        double factor = left[i][k / 2][k % 2];
        sum += right[k][j] * (pair){factor, factor};
      }
      product[i][j] = sum;
    }
  }
  for (int i = 0; i < 1024; i++) wave[i] = (quad){i, i + 0.5f, 1, -i};
  for (int turn = 0; turn < 4; turn++) {
    for (int i = 1; i < 1023; i++) wave[i] = (wave[i - 1] + wave[i + 1]) * 0.25f + wave[i] * 0.5f;
  }
  for (int i = 0; i < 4; i++) state[i] = (words){1u + (uint32_t)i, 77, 12345, 99};
  for (uint32_t i = 0; i < 1024; i++) {
    words x = state[i % 4];
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    state[i % 4] = x;
    memcpy(&pixels[i], &x, sizeof x);
    other[i] = (pixels[i] >> 4) * 3 + (pixels[i] & 15);
    pixels[i] = (pixels[i] > other[i]) & (pixels[i] - other[i]);
  }
  return checksum(product, sizeof product / 16) ^ checksum(wave, sizeof wave / 16) ^ checksum(pixels, sizeof pixels / 16);
}
const struct workload sse2_packed = {"sse2-packed", prepare_packed, run_packed};

STEPS(long double, __builtin_sqrtl, bodies_extended)

static uint32_t run_x87(void) {
  long double series = 0, term = 1;
  for (int i = 1; i < 400; i++) {
    term = term * 0.75L / (1 + term * 0.001L);
    series += term / i;
    long double polynomial = ((series * 0.125L - 3) * series + 0.5L) * series - 1;
    series -= polynomial * 1e-6L;
    if (series > 4) series -= (int)series;
  }
  return checksum_of_double((double)(bodies_extended() * 1024)) ^ checksum_of_double((double)series);
}
const struct workload x87_mix = {"x87", NULL, run_x87};
