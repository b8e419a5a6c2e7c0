/** Unpacks what Debian packs: gzip, xz and zstd. */
import { gunzipSync } from 'node:zlib';
import { type DecompressorTable, unpackXz } from '@paravane/domain-builder';
import { ParavaneError } from '@paravane/types';
import { decompress as unzstd } from 'fzstd';

/** What the host adds to the kinds of kernels that the domain builder unpacks by itself. */
export const decompressors: DecompressorTable = {
  gzip: (packed, { maxBytes }) => gunzipSync(packed, { maxOutputLength: maxBytes }),
  zstd: (packed) => unzstd(packed),
};

/** Far above the largest of Debian's kernel packages. */
const longest = 2 ** 31 - 1;

/** Unpacks `packed` by its first bytes; what is not packed in a known way comes back as it is. */
export function unpack(packed: Uint8Array, file: string): Uint8Array {
  const begins = (...bytes: number[]): boolean => bytes.every((byte, index) => packed[index] === byte);
  try {
    if (begins(0x1f, 0x8b)) return gunzipSync(packed);
    if (begins(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0)) return unpackXz(packed, longest);
    if (begins(0x28, 0xb5, 0x2f, 0xfd)) return unzstd(packed);
  } catch (cause) {
    throw new ParavaneError('package-damaged', `cannot unpack ${file}: ${(cause as Error).message}; fetch it again`, {
      cause,
      data: { file },
    });
  }
  return packed;
}
