/**
 * From a kernel file to the ELF file inside: a plain ELF file, a compressed one, or a bzImage around a compressed one.
 *
 * LZ4 (legacy frame), xz, lzma, bzip2 and lzo are unpacked here, in any host; gzip and zstd, or these faster, through
 * functions that the host passes in. The size that a file claims for its contents is checked against a limit and against what came out.
 */
import { isElf } from '@paravane/elf';
import { ParavaneError } from '@paravane/types';
import { bzImagePayload, isBzImage } from './bzimage.js';
import { unpackBzip2 } from './bzip2.js';
import { failure, invalid, megabytes } from './failure.js';
import { unpackLz4Legacy } from './lz4-legacy.js';
import { unpackLzma } from './lzma.js';
import { unpackLzo } from './lzo.js';
import { unpackXz } from './xz.js';

/** Ways in which Linux kernels are compressed (CONFIG_KERNEL_*), by their tools' names. */
export type Compression = 'gzip' | 'bzip2' | 'lzma' | 'xz' | 'lzo' | 'lz4' | 'zstd';

export interface DecompressLimits {
  /** Nothing longer will be accepted; stop and fail beyond it. */
  readonly maxBytes: number;
}

/** Unpacks one whole compressed file. Throws what it likes on damaged input: the caller wraps it. */
export type Decompressor = (packed: Uint8Array, limits: DecompressLimits) => Uint8Array | Promise<Uint8Array>;

/** What a host can unpack; its functions go before those that are built in. */
export type DecompressorTable = { readonly [Kind in Compression]?: Decompressor };

export interface UnpackOptions {
  readonly decompress?: DecompressorTable;
  /** Largest unpacked kernel to accept, in bytes; 512 MB where left out. */
  readonly maxBytes?: number;
}

export interface UnpackedKernel {
  readonly bytes: Uint8Array;
  readonly format: 'elf' | 'bzImage';
  readonly compression: Compression | 'none';
}

const BUILT_IN: DecompressorTable = {
  bzip2: (packed, { maxBytes }) => unpackBzip2(packed, maxBytes),
  lzo: (packed, { maxBytes }) => unpackLzo(packed, maxBytes),
  lz4: (packed, { maxBytes }) => unpackLz4Legacy(packed, maxBytes),
  lzma: (packed, { maxBytes }) => unpackLzma(packed, maxBytes),
  xz: (packed, { maxBytes }) => unpackXz(packed, maxBytes),
};

const DEFAULT_MAX_BYTES = 512 << 20;

const MAGICS: readonly (readonly [Compression, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['lzo', [0x89, 0x4c, 0x5a, 0x4f, 0x00]],
  ['lz4', [0x02, 0x21, 0x4c, 0x18]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['lzma', [0x5d, 0x00, 0x00]],
];

/** How the bytes are compressed, by their first bytes; undefined where no known kind begins so. */
export function compressionOf(bytes: Uint8Array): Compression | undefined {
  return MAGICS.find(([, magic]) => magic.every((byte, index) => bytes[index] === byte))?.[0];
}

/** The ELF file in `bytes`. What comes back may be stored and given to `readKernelImage` later. */
export async function unpackKernel(bytes: Uint8Array, options: UnpackOptions = {}): Promise<UnpackedKernel> {
  if (isElf(bytes)) return { bytes, format: 'elf', compression: 'none' };
  if (isBzImage(bytes)) return unpackBzImage(bytes, options);
  const compression = compressionOf(bytes);
  if (compression === undefined) throw unknownFile(bytes);
  const unpacked = await decompress(bytes, compression, options);
  if (!isElf(unpacked)) throw invalid(`the file is compressed with ${compression}, but holds no ELF kernel`);
  return { bytes: unpacked, format: 'elf', compression };
}

async function unpackBzImage(bytes: Uint8Array, options: UnpackOptions): Promise<UnpackedKernel> {
  const payload = bzImagePayload(bytes);
  if (isElf(payload)) return { bytes: payload, format: 'bzImage', compression: 'none' };
  const compression = compressionOf(payload);
  if (compression === undefined) {
    throw invalid(`the bzImage's kernel is compressed in no known way (it begins with ${firstBytes(payload)})`);
  }
  const size = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const claimedSize = size.getUint32(payload.length - 4, true);
  const maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
  if (claimedSize > maxBytes) {
    throw invalid(
      `the bzImage claims a kernel of ${megabytes(claimedSize)}, more than the limit of ${megabytes(maxBytes)}`,
    );
  }
  // Linux's build appends the unpacked size to every kind but gzip, whose own format ends with it.
  const packed = compression === 'gzip' ? payload : payload.subarray(0, payload.length - 4);
  const unpacked = await decompress(packed, compression, { ...options, maxBytes: claimedSize });
  if (unpacked.length !== claimedSize) {
    throw invalid(
      `the bzImage's kernel unpacks to ${unpacked.length} bytes, its header says ${claimedSize}; the file is damaged, get it again`,
    );
  }
  if (!isElf(unpacked)) throw invalid('the bzImage holds no ELF kernel');
  return { bytes: unpacked, format: 'bzImage', compression };
}

async function decompress(packed: Uint8Array, kind: Compression, options: UnpackOptions): Promise<Uint8Array> {
  const maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
  const table: DecompressorTable = { ...BUILT_IN, ...options.decompress };
  const unpack = table[kind];
  if (unpack === undefined) {
    const supported = Object.keys(table).sort().join(', ');
    throw failure(
      'kernel-unsupported',
      `the kernel is compressed with ${kind}, which is not supported yet (this host unpacks ${supported}); give a kernel compressed in one of these ways, or the unpacked vmlinux`,
      { data: { compression: kind } },
    );
  }
  try {
    const unpacked = await unpack(packed, { maxBytes });
    if (unpacked.length > maxBytes) throw invalid(`the kernel unpacks to more than ${megabytes(maxBytes)}`);
    return unpacked;
  } catch (cause) {
    if (cause instanceof ParavaneError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw failure('kernel-invalid', `the kernel's ${kind} data cannot be unpacked (${reason}); get the file again`, {
      cause,
    });
  }
}

function firstBytes(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'nothing: it is empty';
  return [...bytes.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

function unknownFile(bytes: Uint8Array): Error {
  return invalid(
    `not a kernel: neither an ELF file, nor a Linux bzImage, nor a compressed one of these (it begins with ${firstBytes(bytes)})`,
  );
}
