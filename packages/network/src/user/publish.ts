/** Forwards as people write them: `[address:]host:[guest-address:]guest[/udp]`, as `--publish` takes them. */
import { ParavaneError } from '@paravane/types';
import { type IpAddress, parseIpAddress } from '../address.js';
import { guestAddresses, isGuestAddress } from './plan.js';

export interface Forward {
  readonly protocol: 'tcp' | 'udp';
  readonly hostAddress: string;
  /** 0: any that is free. */
  readonly hostPort: number;
  /** Default: the first lease, 10.0.2.15. */
  readonly guestAddress?: string;
  readonly guestPort: number;
}

export type NetworkErrorCode = 'publish-syntax';

function wrong(text: string, what: string): ParavaneError<NetworkErrorCode> {
  return new ParavaneError(
    'publish-syntax',
    `--publish "${text}": ${what}; write [address:]hostport:[guest:]guestport[/udp], as in 2222:22, 127.0.0.1:5353:53/udp or 8080:10.0.2.16:80`,
    { data: { text } },
  );
}

export function parsePublish(text: string): Forward {
  const match = /^(?:(\[[^\]]*\]|[^:[\]]*):)?(\d{1,5}):(?:(\d+\.\d+\.\d+\.\d+):)?(\d{1,5})(?:\/([a-z]+))?$/.exec(text);
  if (!match) throw wrong(text, 'this is not a forward');
  const [, where, hostText, guestAddress, guestText, protocol = 'tcp'] = match;
  const hostAddress = parseIpAddress((where ?? '127.0.0.1').replace(/^\[|\]$/g, ''));
  if (!hostAddress) throw wrong(text, `"${where}" is not an IP address`);
  if (protocol !== 'tcp' && protocol !== 'udp') throw wrong(text, `"${protocol}" is neither tcp nor udp`);
  const [hostPort, guestPort] = [Number(hostText), Number(guestText)];
  if (hostPort > 65535 || guestPort > 65535 || guestPort === 0) throw wrong(text, 'ports are 1 to 65535');
  const forward = { protocol, hostAddress: hostAddress.text, hostPort, guestPort } as const;
  return guestAddress === undefined ? forward : { ...forward, guestAddress };
}

/** The guest that a forward names; undefined where it leaves the choice. */
export function forwardGuest({ guestAddress }: Forward): IpAddress | undefined {
  if (guestAddress === undefined) return undefined;
  const parsed = parseIpAddress(guestAddress);
  if (!parsed || parsed.version !== 4 || !isGuestAddress(parsed)) {
    throw new ParavaneError<NetworkErrorCode>(
      'publish-syntax',
      `"${guestAddress}" is no guest's address: guests are ${guestAddresses}`,
    );
  }
  return parsed;
}
