/** The addresses of a user-mode network: the plan that users know from QEMU. */
import { address, type IpAddress, inPrefix, isRoutable, parseIpAddress } from '../address.js';

export const plan = {
  prefix4: address('10.0.2.0'),
  prefix4Bits: 24,
  mask4: address('255.255.255.0'),
  broadcast4: address('10.0.2.255'),
  gateway4: address('10.0.2.2'),
  dns4: address('10.0.2.3'),
  firstLease: 15,
  lastLease: 254,
  prefix6: address('fec0::'),
  prefix6Bits: 64,
  gateway6: address('fec0::2'),
  dns6: address('fec0::3'),
  linkLocal6: address('fe80::2'),
  /** All nodes, all routers. */
  allNodes6: address('ff02::1'),
  allRouters6: address('ff02::2'),
} as const;

export const leaseAddress = (last: number): IpAddress => address(`10.0.2.${last}`);

/** Addresses at which the network itself answers. */
export const ours4: readonly IpAddress[] = [plan.gateway4, plan.dns4];
export const ours6: readonly IpAddress[] = [plan.gateway6, plan.dns6, plan.linkLocal6];
const ours = new Set([...ours4, ...ours6].map(({ text }) => text));
export const isOurs = (candidate: IpAddress): boolean => ours.has(candidate.text);
const gateways = new Set([plan.gateway4.text, plan.gateway6.text, plan.linkLocal6.text]);

export const isLinkLocal6 = (candidate: IpAddress): boolean => inPrefix(candidate, plan.linkLocal6, 10);
export const isLocal = (candidate: IpAddress): boolean =>
  candidate.version === 4
    ? inPrefix(candidate, plan.prefix4, plan.prefix4Bits)
    : inPrefix(candidate, plan.prefix6, plan.prefix6Bits) || isLinkLocal6(candidate);

/** The IPv4 addresses that guests can have, in words. */
export const guestAddresses = '10.0.2.4 to 10.0.2.254';

/** Whether a guest can have it. */
export const isGuestAddress = (candidate: IpAddress): boolean =>
  isLocal(candidate) &&
  !isOurs(candidate) &&
  !(candidate.version === 4 && (candidate.bytes[3] === 0 || candidate.bytes[3] === 255));

export interface AccessRules {
  /** The gateway's ports are the host's loopback services. */
  readonly hostAccess: boolean;
  /** The world beyond the host can be reached. */
  readonly outsideAccess: boolean;
  ownAddresses(): readonly string[];
}

/** Where on the host's side a guest's destination lies; undefined where it may not go. */
export function hostAddress(destination: IpAddress, rules: AccessRules): string | undefined {
  if (gateways.has(destination.text)) {
    if (!rules.hostAccess) return undefined;
    return destination.version === 4 ? '127.0.0.1' : '::1';
  }
  if (isLocal(destination) || !isRoutable(destination) || !rules.outsideAccess) return undefined;
  // The host's own addresses lead to its services as the loopback does.
  const isHosts = (own: string): boolean => parseIpAddress(own)?.text === destination.text;
  if (!rules.hostAccess && rules.ownAddresses().some(isHosts)) return undefined;
  return destination.text;
}
