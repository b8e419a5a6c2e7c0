/** Ethernet addresses as people write them. */
import { ParavaneError } from '@paravane/types';
import type { LinkErrorCode } from './errors.js';

/** Six bytes of "00:16:3e:01:02:03". */
export function parseMac(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw new ParavaneError<LinkErrorCode>(
      'link-mac',
      `"${text}" is not an Ethernet address: write six pairs of hexadecimal digits, as in 00:16:3e:01:02:03`,
      { data: { text } },
    );
  }
  return Uint8Array.from(text.split(':'), (pair) => Number.parseInt(pair, 16));
}

/** The six bytes at `offset`, as text. */
export function formatMac(bytes: Uint8Array, offset = 0): string {
  return Array.from(bytes.subarray(offset, offset + 6), (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
