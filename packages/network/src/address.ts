/** IP addresses: their bytes, their text, and which of them a guest may not name. */

export interface IpAddress {
  readonly version: 4 | 6;
  readonly bytes: Uint8Array;
  /** Canonical (RFC 5952), so equal addresses have equal texts. */
  readonly text: string;
}

export function ipAddress(bytes: Uint8Array): IpAddress {
  const own = bytes.slice();
  return own.length === 4
    ? { version: 4, bytes: own, text: own.join('.') }
    : { version: 6, bytes: own, text: formatIpv6(own) };
}

function formatIpv6(bytes: Uint8Array): string {
  const words = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] as number) << 8) | (bytes[2 * i + 1] as number));
  let longest = { at: -1, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (words[at + length] === 0) length++;
    if (length > longest.length) longest = { at, length };
  }
  const hex = (part: readonly number[]): string => part.map((word) => word.toString(16)).join(':');
  if (longest.at < 0) return hex(words);
  return `${hex(words.slice(0, longest.at))}::${hex(words.slice(longest.at + longest.length))}`;
}

/** The address that a text names; undefined if it names none. */
export function parseIpAddress(text: string): IpAddress | undefined {
  const bytes = text.includes(':') ? parseIpv6(text) : parseIpv4(text);
  return bytes && ipAddress(bytes);
}

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) {
    return undefined;
  }
  return Uint8Array.from(parts, Number);
}

function parseIpv6(text: string): Uint8Array | undefined {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const tail = dotted ? parseIpv4(dotted[2] as string) : undefined;
  if (dotted && !tail) return undefined;
  const hex = (part: readonly number[]): string => part.map((byte) => byte.toString(16).padStart(2, '0')).join('');
  const plain = tail ? `${dotted?.[1]}${hex([...tail.slice(0, 2)])}:${hex([...tail.slice(2)])}` : text;
  const halves = plain.split('::');
  if (halves.length > 2) return undefined;
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')));
  const given = groups.flat();
  if (!given.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  if (halves.length === 1 ? given.length !== 8 : given.length > 7) return undefined;
  const all = [...(groups[0] ?? []), ...Array<string>(8 - given.length).fill('0'), ...(groups[1] ?? [])];
  return Uint8Array.from(all.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]));
}

/** An address that the text of a programmer names. */
export function address(text: string): IpAddress {
  const parsed = parseIpAddress(text);
  if (!parsed) throw new RangeError(`"${text}" is no IP address`);
  return parsed;
}

/** Whether the first `bits` bits are equal. */
export function inPrefix(candidate: IpAddress, prefix: IpAddress, bits: number): boolean {
  if (candidate.version !== prefix.version) return false;
  for (let bit = 0; bit < bits; bit += 8) {
    const mask = bits - bit >= 8 ? 0xff : (0xff00 >> (bits - bit)) & 0xff;
    if ((((candidate.bytes[bit >> 3] as number) ^ (prefix.bytes[bit >> 3] as number)) & mask) !== 0) return false;
  }
  return true;
}

/**
 * Prefixes that are nobody's unicast address beyond a router (RFC 6890): this host, loopback, link-local, multicast,
 * reserved, and the IPv6 forms that carry an IPv4 address and would lead around these rules.
 */
const unroutable = (
  [
    ['0.0.0.0', 8],
    ['127.0.0.0', 8],
    ['169.254.0.0', 16],
    ['224.0.0.0', 3],
    ['::', 96],
    ['::ffff:0:0', 96],
    ['64:ff9b::', 96],
    ['64:ff9b:1::', 48],
    ['2002::', 16],
    ['fe80::', 10],
    ['fec0::', 10],
    ['ff00::', 8],
  ] as const
).map(([prefix, bits]) => ({ prefix: address(prefix), bits }));

export const isRoutable = (candidate: IpAddress): boolean =>
  !unroutable.some(({ prefix, bits }) => inPrefix(candidate, prefix, bits));

export const isMulticast = (candidate: IpAddress): boolean =>
  candidate.version === 4 ? (candidate.bytes[0] as number) >> 4 === 14 : candidate.bytes[0] === 0xff;
