/** Ethernet II headers. */
import { get16, put16 } from './bytes.js';

export const ethernetHeaderBytes = 14;

export const EtherType = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd } as const;

export const broadcastMac = new Uint8Array(6).fill(0xff);

/** An Ethernet address as a number, for maps: 48 bits fit a double. */
export function macKey(bytes: Uint8Array, at: number): number {
  return get16(bytes, at) * 0x100000000 + get16(bytes, at + 2) * 0x10000 + get16(bytes, at + 4);
}

/** Whether the address at `at` is a multicast or broadcast one. */
export const isGroup = (bytes: Uint8Array, at: number): boolean => ((bytes[at] as number) & 1) === 1;

export function putEthernet(frame: Uint8Array, to: Uint8Array, from: Uint8Array, etherType: number): void {
  frame.set(to, 0);
  frame.set(from, 6);
  put16(frame, 12, etherType);
}
