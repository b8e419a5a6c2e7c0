/**
 * A link: a port that takes and gives Ethernet frames in batches. A network back end holds one end, the link (a switch
 * port, a user-mode network, a tap device, somebody's tunnel) is the other. Neither trusts the other's frames: they may
 * hold anything, of any length from 0 bytes to `maxFrameBytes`.
 */

/** The version that `Link` of this package has. */
export const linkApiVersion = 1;

/** The longest frame: an IP packet of 65535 bytes behind an Ethernet header with a VLAN tag. */
export const maxFrameBytes = 65535 + 18;

export interface Segmentation {
  readonly type: 'tcp4' | 'tcp6';
  /** Bytes of TCP payload for each segment. */
  readonly size: number;
}

/**
 * An Ethernet frame, from the destination address to the end of the payload; without preamble and check sequence.
 * Once sent, nobody changes its bytes: several receivers may hold the same frame.
 */
export interface Frame {
  readonly bytes: Uint8Array;
  /**
   * What the checksum of its TCP or UDP header is:
   * - absent: it is in the frame, right or wrong;
   * - `blank`: the field holds the sum of the pseudo header only; the frame never left this host, so its bytes are good;
   * - `verified`: it is in the frame, and whoever sent this frame has checked it.
   */
  readonly checksum?: 'blank' | 'verified';
  /** A TCP segment to be cut into several before it meets a wire. Its checksum is `blank`. */
  readonly gso?: Segmentation;
}

/** Which frames an end can take. Who sends to it completes or cuts the others. */
export interface Offloads {
  /** Frames whose checksum is `blank`. */
  readonly blankChecksum: boolean;
  /** Frames with `gso`, by type. */
  readonly gso4: boolean;
  readonly gso6: boolean;
}

export const noOffloads: Offloads = { blankChecksum: false, gso4: false, gso6: false };
export const allOffloads: Offloads = { blankChecksum: true, gso4: true, gso6: true };

/** What either end of a link offers to the other. */
export interface FrameSink {
  readonly offloads: Offloads;
  /**
   * Takes frames from the front of the batch, and returns how many: fewer than all means that there is no room. The
   * sender keeps the rest (or drops it) and offers nothing more until its own `resume` is called. The array is the
   * sender's again after the call; the frames are not. Never throws. May be called while another call is in progress.
   */
  send(frames: readonly Frame[]): number;
  /** There is room again, after a `send` of the other side that took fewer than all. May come without need. */
  resume(): void;
}

/** The end of whoever uses a link. */
export interface LinkUser extends FrameSink {
  carrierChanged?(up: boolean): void;
}

export interface Link extends FrameSink {
  readonly apiVersion: typeof linkApiVersion;
  /** Such as "switch port 2" or "user network". */
  readonly name: string;
  /** The largest IP packet that may be in a frame without `gso`. */
  readonly mtu: number;
  /** The address that frames of the link itself carry as their source, "02:…", where it has one. */
  readonly mac?: string;
  /** Whether frames get anywhere. While it is false, frames are taken and dropped. */
  readonly carrier: boolean;
  /** Names the one user. Frames are given to it from now on; a second user is refused with a `ParavaneError`. */
  attach(user: LinkUser): void;
  /** Gives back all that the link holds. Nothing is given to the user afterwards; what is sent is taken and dropped. Twice is once. */
  close(): void;
}
