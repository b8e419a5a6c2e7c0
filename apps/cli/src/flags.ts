/** Readers of flag values. What they throw, the command-line library prints beside the flag's name. */

import { parseEscapeKey } from '@paravane/host-node';
import { limits } from '@paravane/toolstack';

export function parseMemory(text: string): number {
  const [, digits, unit] = /^([0-9]+)([MG]?)$/i.exec(text) ?? [];
  if (digits === undefined) throw new SyntaxError('give a number of MiB, or one with M or G, such as 256 or 2G');
  const value = Number(digits) * (unit?.toUpperCase() === 'G' ? 1024 : 1);
  return inRange(value, limits.memory, 'MiB');
}

export function parseVcpus(text: string): number {
  if (!/^[0-9]+$/.test(text)) throw new SyntaxError('give a whole number');
  return inRange(Number(text), limits.vcpus, 'vCPUs');
}

/** Seconds on the command line; milliseconds inside. */
export function parseTimeout(text: string): number {
  const seconds = /^[0-9]+(\.[0-9]+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!(seconds > 0)) throw new SyntaxError('give a number of seconds above 0');
  return seconds * 1000;
}

export function parseSeed(text: string): bigint {
  if (!/^(0x[0-9a-f]+|[0-9]+)$/i.test(text)) throw new SyntaxError('give a whole number, decimal or with 0x');
  const value = BigInt(text);
  if (value >= 1n << 64n) throw new RangeError('give a number below 2 to the power of 64');
  return value;
}

export function parseEscape(text: string): { readonly byte: number | undefined } {
  const key = parseEscapeKey(text);
  if (key === undefined) throw new SyntaxError('give a key such as ^], a single character, or none');
  return key;
}

function inRange(value: number, { least, most }: { least: number; most: number }, unit: string): number {
  if (value < least || value > most) throw new RangeError(`it can be ${least} to ${most} ${unit}`);
  return value;
}
