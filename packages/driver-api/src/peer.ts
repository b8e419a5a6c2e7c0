/**
 * The peer of a back end, as a capability: the pages that it granted, its event channels, and the news of its end. A
 * back end that holds one can reach nothing else of the guest, and needs to know nothing of CPUs or domains. Whoever
 * implements it checks each grant; numbers passed in may be claims that the back end read from the guest.
 *
 * Statuses are those of GNTTABOP (public/grant_table.h, `GNTST_*`).
 */

/** The version that `Peer` of this package has. */
export const driverApiVersion = 1;

/** `GNTST_*`: 0 or a negative number. */
export const GrantStatus = {
  okay: 0,
  general_error: -1,
  bad_domain: -2,
  bad_gntref: -3,
  bad_handle: -4,
  bad_virt_addr: -5,
  bad_dev_addr: -6,
  no_device_space: -7,
  permission_denied: -8,
  bad_page: -9,
  bad_copy_arg: -10,
  address_too_big: -11,
  eagain: -12,
  no_space: -13,
} as const;

export type Access = 'read' | 'write';

/**
 * A granted page, mapped. The peer can't take it back; it stays its own memory, which it may change at any time, until
 * `unmap`, even if the peer dies.
 */
export interface MappedPage {
  /**
   * The page's 4096 bytes, for use before this call of the back end returns. With access `write` they count as written
   * now: ask again each time.
   */
  bytes(): Uint8Array;
  /** The same for longer, until `unpin`: for I/O in progress. Pins count. */
  pin(): Uint8Array;
  unpin(): void;
  /** Ends the mapping; twice is once. With a pin left, the frame stays until the last `unpin`. */
  unmap(): void;
}

/** The back end's end of an event channel. */
export interface EventPort {
  /** Raises the event in the guest; nothing happens once the channel is closed. */
  notify(): void;
  /** Ends the channel: no event comes after this. Twice is once. */
  close(): void;
}

export interface Peer {
  readonly apiVersion: typeof driverApiVersion;
  readonly domid: number;
  /** True from the beginning of the peer's end on: nothing can be mapped, copied or bound any more. */
  readonly gone: boolean;
  /** Calls `listener` once when the peer ends, at once if it has; the result takes the listener back. */
  onGone(listener: () => void): () => void;
  /** Maps a granted page, or says why not: a negative `GrantStatus`. */
  map(claimedRef: number, access: Access): MappedPage | number;
  /** A copy of a part of a granted page, or a negative `GrantStatus`. For pages that can't be mapped, too. */
  copyFrom(claimedRef: number, offset: number, length: number): Uint8Array | number;
  /** Copies into a part of a granted page: a `GrantStatus`. */
  copyTo(claimedRef: number, offset: number, bytes: Uint8Array): number;
  /**
   * Binds to a port that the peer left unbound for us; undefined if it did not. `onEvent` runs once for any number of
   * events, and once after the binding, as the peer may have spoken before; never before `bind` has returned.
   */
  bind(claimedPort: number, onEvent: () => void): EventPort | undefined;
}
