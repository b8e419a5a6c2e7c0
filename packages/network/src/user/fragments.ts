/**
 * Reassembly of IP datagrams (RFC 791, 815; RFC 8200, 4.5) within bounds: so many at a time, so long. Fragments that
 * overlap end their datagram (RFC 5722), as they serve attacks only.
 */
import type { NetworkClock } from '../clock.js';
import type { IpPacket } from '../ip.js';

export interface Fragments {
  /** Takes a fragment; the payload of the datagram if it completes one. */
  add(packet: IpPacket): Uint8Array | undefined;
  readonly pending: number;
}

const mostDatagrams = 32;
const mostPieces = 64;
const mostBytes = 65535;
const longestMilliseconds = 30_000;

interface Datagram {
  readonly since: number;
  pieces: { readonly offset: number; readonly data: Uint8Array }[];
  length: number | undefined;
}

export function createFragments(clock: NetworkClock): Fragments {
  const datagrams = new Map<string, Datagram>();

  function datagram(key: string): Datagram {
    for (const [other, { since }] of datagrams) {
      if (clock.now() - since > longestMilliseconds) datagrams.delete(other);
    }
    const known = datagrams.get(key);
    if (known) return known;
    if (datagrams.size >= mostDatagrams) {
      const [oldest] = datagrams.keys();
      if (oldest !== undefined) datagrams.delete(oldest);
    }
    const fresh: Datagram = { since: clock.now(), pieces: [], length: undefined };
    datagrams.set(key, fresh);
    return fresh;
  }

  /** Whether the fragment fits what is there. */
  function fits({ pieces, length }: Datagram, offset: number, end: number, more: boolean): boolean {
    if (pieces.length >= mostPieces || end > mostBytes || (more && (end - offset) % 8 !== 0) || end === offset)
      return false;
    if (length !== undefined && (end > length || !more)) return false;
    if (!more && pieces.some((piece) => piece.offset + piece.data.length > end)) return false;
    return pieces.every((piece) => end <= piece.offset || offset >= piece.offset + piece.data.length);
  }

  return {
    get pending() {
      return datagrams.size;
    },
    add(packet) {
      const { fragment, bytes, payload, end } = packet;
      if (!fragment) return bytes.subarray(payload, end);
      const key = `${packet.source.text} ${packet.destination.text} ${packet.protocol} ${fragment.id}`;
      const target = datagram(key);
      const data = bytes.slice(payload, end);
      if (!fits(target, fragment.offset, fragment.offset + data.length, fragment.more)) {
        datagrams.delete(key);
        return undefined;
      }
      target.pieces.push({ offset: fragment.offset, data });
      if (!fragment.more) target.length = fragment.offset + data.length;
      const have = target.pieces.reduce((sum, piece) => sum + piece.data.length, 0);
      if (have !== target.length) return undefined;
      datagrams.delete(key);
      const whole = new Uint8Array(have);
      for (const piece of target.pieces) whole.set(piece.data, piece.offset);
      return whole;
    },
  };
}
