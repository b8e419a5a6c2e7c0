/** ARP (RFC 826) for IPv4 over Ethernet. */
import { type IpAddress, ipAddress } from '../address.js';
import { get16, put16 } from '../bytes.js';
import { EtherType, ethernetHeaderBytes, isGroup, putEthernet } from '../ethernet.js';
import type { Lan } from './lan.js';
import type { Neighbors } from './neighbors.js';
import { isGuestAddress, ours4 } from './plan.js';

const arpBytes = 28;

export function arpFrame(
  kind: 'request' | 'reply',
  fromMac: Uint8Array,
  from: IpAddress,
  toMac: Uint8Array,
  to: IpAddress,
): Uint8Array {
  const frame = new Uint8Array(60);
  putEthernet(frame, toMac, fromMac, EtherType.arp);
  const at = ethernetHeaderBytes;
  put16(frame, at, 1);
  put16(frame, at + 2, EtherType.ipv4);
  frame[at + 4] = 6;
  frame[at + 5] = 4;
  put16(frame, at + 6, kind === 'request' ? 1 : 2);
  frame.set(fromMac, at + 8);
  frame.set(from.bytes, at + 14);
  if (kind === 'reply') frame.set(toMac, at + 18);
  frame.set(to.bytes, at + 24);
  return frame;
}

/** Answers requests for our addresses, and notes who asks. */
export function receiveArp(bytes: Uint8Array, lan: Lan, neighbors: Neighbors): void {
  const at = ethernetHeaderBytes;
  if (bytes.length < at + arpBytes) return;
  const known = get16(bytes, at) === 1 && get16(bytes, at + 2) === EtherType.ipv4 && get16(bytes, at + 4) === 0x0604;
  if (!known || isGroup(bytes, at + 8)) return;
  const senderMac = bytes.slice(at + 8, at + 14);
  const sender = ipAddress(bytes.subarray(at + 14, at + 18));
  const target = ipAddress(bytes.subarray(at + 24, at + 28));
  if (isGuestAddress(sender)) neighbors.learn(sender, senderMac);
  if (get16(bytes, at + 6) !== 1) return;
  const own = ours4.find(({ text }) => text === target.text);
  if (own) lan.sendFrame({ bytes: arpFrame('reply', lan.mac, own, senderMac, sender) });
}
