/* Two compressors and their way back: matches by a hash table, in bytes; and an adaptive binary range coder. */
#include "work.h"
#include <string.h>

#define TEXT (48 * 1024)
static char text[TEXT], back[TEXT];
static unsigned char packed[TEXT * 2];

static void prepare(void) { fill_with_text(text, TEXT, 77); }

/* Literals: a byte with their number, 1 to 128, and they. Matches: 0x80 + length - 4, and two bytes of distance. */
static size_t pack(const unsigned char *from, size_t length, unsigned char *to) {
  static uint32_t last[4096];
  memset(last, 0, sizeof last);
  size_t out = 0, literals = 0;
  for (size_t i = 0; i < length;) {
    size_t match = 0, at = 0;
    if (i + 4 <= length) {
      uint32_t four;
      memcpy(&four, from + i, 4);
      uint32_t slot = (four * 2654435761u) >> 20;
      at = last[slot];
      last[slot] = (uint32_t)i + 1;
      if (at != 0 && i - (at - 1) < 65536) {
        at--;
        while (match < 131 && i + match < length && from[at + match] == from[i + match]) match++;
      }
    }
    if (match >= 4 || literals == 127 || i + 1 == length) {
      if (match < 4) literals++, i++;
      if (literals > 0) {
        to[out++] = (unsigned char)(literals - 1);
        memcpy(to + out, from + i - literals, literals);
        out += literals;
        literals = 0;
      }
      if (match >= 4) {
        to[out++] = (unsigned char)(0x80 + match - 4);
        to[out++] = (unsigned char)(i - at);
        to[out++] = (unsigned char)((i - at) >> 8);
        i += match;
      }
    } else {
      literals++, i++;
    }
  }
  return out;
}

static size_t unpack(const unsigned char *from, size_t length, unsigned char *to) {
  size_t out = 0;
  for (size_t i = 0; i < length;) {
    unsigned kind = from[i++];
    if (kind < 0x80) {
      memcpy(to + out, from + i, kind + 1);
      out += kind + 1;
      i += kind + 1;
    } else {
      size_t distance = from[i] | (size_t)from[i + 1] << 8;
      i += 2;
      for (unsigned j = 0; j < kind - 0x80 + 4; j++, out++) to[out] = to[out - distance];
    }
  }
  return out;
}

static uint32_t run_lz(void) {
  size_t length = pack((unsigned char *)text, TEXT, packed);
  if (unpack(packed, length, (unsigned char *)back) != TEXT || memcmp(text, back, TEXT) != 0) fail("lz is not reversible");
  return checksum(packed, length);
}
const struct workload compress_lz = {"compress-lz", prepare, run_lz};

/* Bits of a byte under the byte before, each with a probability that learns; carry by carrying into what is written. */
#define PART (8 * 1024)
static uint16_t odds[256][256];

static size_t encode(const unsigned char *from, size_t length, unsigned char *to) {
  uint64_t low = 0;
  uint32_t range = 0xffffffff;
  size_t out = 0;
  unsigned before = 0;
  for (size_t i = 0; i < sizeof odds / 2; i++) ((uint16_t *)odds)[i] = 2048;
  for (size_t i = 0; i < length; i++) {
    unsigned node = 1;
    for (int bit = 7; bit >= 0; bit--) {
      uint16_t *odd = &odds[before][node];
      uint32_t bound = (range >> 12) * *odd;
      unsigned one = from[i] >> bit & 1;
      if (one) {
        low += bound;
        range -= bound;
        *odd -= *odd >> 5;
      } else {
        range = bound;
        *odd += (4096 - *odd) >> 5;
      }
      node = node * 2 + one;
      while (range < 1u << 24) {
        if (low >> 32) {
          size_t at = out;
          while (++to[--at] == 0) {
          }
          low &= 0xffffffff;
        }
        to[out++] = (unsigned char)(low >> 24);
        low = low << 8 & 0xffffffff;
        range <<= 8;
      }
    }
    before = from[i];
  }
  if (low >> 32) {
    size_t at = out;
    while (++to[--at] == 0) {
    }
  }
  for (int i = 0; i < 4; i++, low <<= 8) to[out++] = (unsigned char)(low >> 24);
  return out;
}

static void decode(const unsigned char *from, unsigned char *to, size_t length) {
  uint32_t range = 0xffffffff, code = 0;
  unsigned before = 0;
  for (size_t i = 0; i < sizeof odds / 2; i++) ((uint16_t *)odds)[i] = 2048;
  for (int i = 0; i < 4; i++) code = code << 8 | *from++;
  for (size_t i = 0; i < length; i++) {
    unsigned node = 1;
    while (node < 256) {
      uint16_t *odd = &odds[before][node];
      uint32_t bound = (range >> 12) * *odd;
      if (code >= bound) {
        code -= bound;
        range -= bound;
        *odd -= *odd >> 5;
        node = node * 2 + 1;
      } else {
        range = bound;
        *odd += (4096 - *odd) >> 5;
        node = node * 2;
      }
      while (range < 1u << 24) {
        range <<= 8;
        code = code << 8 | *from++;
      }
    }
    to[i] = (unsigned char)node;
    before = to[i];
  }
}

static uint32_t run_range(void) {
  size_t length = encode((unsigned char *)text, PART, packed);
  decode(packed, (unsigned char *)back, PART);
  if (memcmp(text, back, PART) != 0) fail("range coding is not reversible");
  return checksum(packed, length);
}
const struct workload compress_range = {"compress-range", prepare, run_range};
