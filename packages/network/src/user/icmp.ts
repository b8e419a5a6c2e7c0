/** ICMP and ICMPv6: echo is answered at our addresses; what can't be reached is said, at a bounded rate. */
import { concat, put16 } from '../bytes.js';
import { checksum, checksumHolds, pseudoHeaderSum } from '../checksum.js';
import type { NetworkClock } from '../clock.js';
import { type IpPacket, Protocol } from '../ip.js';
import type { Lan } from './lan.js';
import { isOurs, plan } from './plan.js';

export interface Icmp {
  /** Takes a whole message. */
  receive(packet: IpPacket, message: Uint8Array): void;
  /** Tells the sender of a packet that its destination is prohibited, or has nobody at its port. */
  unreachable(packet: IpPacket, why: 'prohibited' | 'port' | 'host'): void;
}

const Echo = { request4: 8, reply4: 0, request6: 128, reply6: 129 } as const;
const codes = { prohibited: [13, 1], port: [3, 4], host: [1, 3] } as const;
const mostErrorsPerSecond = 50;

export function createIcmp(lan: Lan, clock: NetworkClock): Icmp {
  let second = 0;
  let errors = 0;

  function send(packet: IpPacket, source: IpPacket['destination'], message: Uint8Array): void {
    if (packet.version === 4) put16(message, 2, checksum(message));
    lan.sendIp({
      source,
      destination: packet.source,
      protocol: packet.version === 4 ? Protocol.icmp : Protocol.icmp6,
      payload: message,
    });
  }

  return {
    receive(packet, message) {
      if (message.length < 8 || !isOurs(packet.destination)) return;
      const type = message[0];
      if (type !== (packet.version === 4 ? Echo.request4 : Echo.request6)) return;
      if (packet.version === 4 && !checksumHolds(message, 0, message.length)) return;
      const reply = message.slice();
      reply[0] = packet.version === 4 ? Echo.reply4 : Echo.reply6;
      put16(reply, 2, 0);
      send(packet, packet.destination, reply);
    },
    unreachable(packet, why) {
      const now = Math.floor(clock.now() / 1000);
      if (now !== second) errors = 0;
      second = now;
      if (errors++ >= mostErrorsPerSecond) return;
      const head = new Uint8Array(8);
      head[0] = packet.version === 4 ? 3 : 1;
      head[1] = codes[why][packet.version === 4 ? 0 : 1];
      const quoted = packet.bytes.slice(packet.header, Math.min(packet.end, packet.payload + 8));
      const source = packet.version === 4 ? plan.gateway4 : plan.gateway6;
      send(packet, source, concat(head, quoted));
    },
  };
}

/** Whether an ICMPv6 message, in one packet, adds up. */
export function icmp6Holds({ bytes, header }: IpPacket, message: Uint8Array): boolean {
  return checksumHolds(message, 0, message.length, pseudoHeaderSum(bytes, header, Protocol.icmp6, message.length));
}
