/**
 * Which station has which address, learned from ARP, NDP and what guests send. An address that was leased belongs to
 * the station that leased it: no other can take it over.
 */
import type { IpAddress } from '../address.js';
import { macKey } from '../ethernet.js';

export interface Neighbors {
  /** Notes a sender; false where the address belongs to another. */
  learn(who: IpAddress, mac: Uint8Array): boolean;
  find(who: IpAddress): Uint8Array | undefined;
  /** Gives the address to a station, until `release`. */
  lease(who: IpAddress, mac: Uint8Array): void;
  release(who: IpAddress): void;
}

const most = 512;

export function createNeighbors(): Neighbors {
  const stations = new Map<string, Uint8Array>();
  const leased = new Map<string, Uint8Array>();
  return {
    learn(who, mac) {
      const owner = leased.get(who.text);
      if (owner) return macKey(owner, 0) === macKey(mac, 0);
      const known = stations.get(who.text);
      if (known && macKey(known, 0) === macKey(mac, 0)) return true;
      stations.delete(who.text);
      if (stations.size >= most) {
        const [oldest] = stations.keys();
        if (oldest !== undefined) stations.delete(oldest);
      }
      stations.set(who.text, mac.slice(0, 6));
      return true;
    },
    find: (who) => leased.get(who.text) ?? stations.get(who.text),
    lease(who, mac) {
      leased.set(who.text, mac.slice(0, 6));
    },
    release(who) {
      leased.delete(who.text);
    },
  };
}
