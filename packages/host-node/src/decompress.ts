/** Unpacks what Debian packs: gzip, xz and zstd, by file name or by the first bytes. */
import { gunzipSync } from 'node:zlib';
import { ParavaneError } from '@paravane/types';
import { decompress as unzstd } from 'fzstd';
import xz from 'xz-decompress';

export async function unpackXz(packed: Uint8Array): Promise<Uint8Array> {
  const source = new Blob([packed as Uint8Array<ArrayBuffer>]).stream();
  return new Uint8Array(await new Response(new xz.XzReadableStream(source)).arrayBuffer());
}

/** Unpacks `packed` by its first bytes; what is not packed in a known way comes back as it is. */
export async function unpack(packed: Uint8Array, file: string): Promise<Uint8Array> {
  const begins = (...bytes: number[]): boolean => bytes.every((byte, index) => packed[index] === byte);
  try {
    if (begins(0x1f, 0x8b)) return gunzipSync(packed);
    if (begins(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0)) return await unpackXz(packed);
    if (begins(0x28, 0xb5, 0x2f, 0xfd)) return unzstd(packed);
  } catch (cause) {
    throw new ParavaneError('package-damaged', `cannot unpack ${file}: ${(cause as Error).message}; fetch it again`, {
      cause,
      data: { file },
    });
  }
  return packed;
}
