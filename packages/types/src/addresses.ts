/**
 * Numbers that mean a place, each carrying its space in its type, so that mixing two is a compile error.
 *
 * A brand says which space a number counts in, and proves nothing else: not that the frame exists, not that a domain
 * owns it. The constructors are identities at run time and cost nothing once inlined.
 *
 * Guest virtual addresses are `bigint` (`Gva`): they are 64 bits wide.
 */

declare const space: unique symbol;

/** A number that counts in the space named `Name`. */
export type Branded<Name extends string> = number & { readonly [space]: Name };

/** Machine frame number: a frame of the machine's memory. */
export type Mfn = Branded<'mfn'>;
/** Pseudo-physical frame number: a guest's own, contiguous view of its frames. */
export type Pfn = Branded<'pfn'>;
/** Machine address in bytes. All guests together stay under 4 GiB, so a number holds it exactly. */
export type Maddr = Branded<'maddr'>;
/** Guest virtual address in bytes, as 64 unsigned bits. */
export type Gva = bigint;
/** Domain identifier. */
export type DomId = Branded<'domid'>;
/** Event-channel port, local to a domain. */
export type Port = Branded<'port'>;
/** Grant reference: an index into a domain's grant table. */
export type GrantRef = Branded<'gref'>;

export const mfn = (value: number): Mfn => value as Mfn;
export const pfn = (value: number): Pfn => value as Pfn;
export const maddr = (value: number): Maddr => value as Maddr;
export const domId = (value: number): DomId => value as DomId;
export const port = (value: number): Port => value as Port;
export const grantRef = (value: number): GrantRef => value as GrantRef;

export const PAGE_SHIFT = 12;
/** Bytes in a page and in a frame. */
export const PAGE_SIZE = 1 << PAGE_SHIFT;
export const PAGE_MASK = PAGE_SIZE - 1;

/** The machine address of a frame's first byte. */
export const mfnToMaddr = (frame: Mfn): Maddr => (frame * PAGE_SIZE) as Maddr;
/** The frame that holds a machine address. */
export const maddrToMfn = (address: Maddr): Mfn => Math.floor(address / PAGE_SIZE) as Mfn;
