/** Values that the other end wrote: decimal texts, or anything else. */
import { XenbusState } from '@paravane/abi-xen';

/** `enum xenbus_state`. */
export type XenbusStateNumber = (typeof XenbusState)[keyof typeof XenbusState];

const states: ReadonlySet<number> = new Set<number>(Object.values(XenbusState));

/** A state as the other end claims it; Unknown for what is none, and for a node that is not there. */
export function parseState(claimedText: string | undefined): XenbusStateNumber {
  const value = readNumber(claimedText, XenbusState.Reconfigured) ?? XenbusState.Unknown;
  return states.has(value) ? (value as XenbusStateNumber) : XenbusState.Unknown;
}

/** A whole number from 0 to `most`; undefined for what is none. */
export function readNumber(claimedText: string | undefined, most: number): number | undefined {
  if (claimedText === undefined || !/^[0-9]{1,15}$/.test(claimedText)) return undefined;
  const value = Number(claimedText);
  return value <= most ? value : undefined;
}
