/** Readers of sizes of disks and clusters, and of what a name says of an image's format. */
import type { ImageFormat, SizeArgument } from './commands/image.js';

const units: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

export function parseBytes(text: string): number {
  const [, digits, unit] = /^([0-9]+(?:\.[0-9]+)?)([KMGT]?)(?:i?B)?$/i.exec(text) ?? [];
  const bytes = Number(digits) * (units[(unit ?? '').toUpperCase()] ?? Number.NaN);
  if (!Number.isSafeInteger(bytes))
    throw new SyntaxError('give a number of bytes, or one with K, M, G or T, such as 2G');
  return bytes;
}

/** A size, or with + or - what is added to one. */
export function parseDiskSize(text: string): SizeArgument {
  const sign = /^[+-]/.exec(text)?.[0];
  const bytes = parseBytes(sign === undefined ? text : text.slice(1));
  if (bytes % 512 !== 0) throw new RangeError('a disk has a multiple of 512 bytes');
  return { bytes: sign === '-' ? -bytes : bytes, relative: sign !== undefined };
}

export function parseNewDiskSize(text: string): SizeArgument {
  const size = parseDiskSize(text);
  if (size.relative) throw new SyntaxError('give a size without a sign, such as 2G');
  return size;
}

export function parseClusterSize(text: string): number {
  const bytes = parseBytes(text);
  const whole = bytes >= 512 && bytes <= 2 ** 21 && Number.isInteger(Math.log2(bytes));
  if (!whole) throw new RangeError('a cluster has 512 bytes to 2M, a power of two');
  return bytes;
}

/** The format of a new image that nobody has told. */
export const formatOfName = (path: string): ImageFormat => (/\.(img|raw)$/i.test(path) ? 'raw' : 'qcow2');
