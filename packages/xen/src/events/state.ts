/**
 * Event channels of a domain as records. A port is an index into the list;
 * port 0 is reserved. The list only grows, by buckets as Xen's does: a port of a
 * bucket is one that calls know, closed or not.
 */
import type { Maddr, Mfn } from '@paravane/types';

/** `ECS_*` of Xen's event_channel.c; a host end is an interdomain channel of domain 0. */
export type ChannelState = 'free' | 'reserved' | 'unbound' | 'interdomain' | 'virq' | 'ipi';

export interface Channel {
  state: ChannelState;
  /** vCPU that is notified. */
  vcpu: number;
  priority: number;
  /** Domain and port at the other end (unbound: the domain that may bind). */
  remoteDom: number;
  remotePort: number;
  virq: number;
  /** FIFO: raised while its event word had no page. */
  pending: boolean;
  /** FIFO: the queue that the word was last linked in. */
  lastVcpu: number;
  lastPriority: number;
}

/** The end of a channel that the host holds: a back end's, outside any domain. */
export interface HostEnd {
  readonly port: number;
  readonly domid: number;
  guestPort: number;
  onEvent: () => void;
  onClosed: () => void;
  /** An event is on its way to the listener. */
  queued: boolean;
}

export interface FifoState {
  /** Frames of the event array, in order. */
  readonly array: Mfn[];
}

export interface EventState {
  readonly channels: Channel[];
  /** Highest port that may be allocated. */
  maxPort: number;
  /** Null: two-level channels. */
  fifo: FifoState | null;
  /** vCPUs waiting in SCHEDOP_poll. */
  pollers: number;
}

export interface VcpuEvents {
  /** Port of each VIRQ, 0 for none; global VIRQs are kept by vCPU 0. */
  readonly virqs: Int32Array;
  /** What SCHEDOP_poll waits for: 0 nothing, −1 any listed port, else the port. */
  polling: number;
  /** FIFO control block, 0 while none is mapped. */
  control: Maddr | 0;
  controlFrame: Mfn | 0;
  /** FIFO: last port of each priority's queue. */
  readonly tails: Int32Array;
}

/** Ports of a bucket (EVTCHNS_PER_BUCKET of Xen's sched.h: a page of records). */
const BUCKET = 64;

/** Adds a bucket of closed ports. */
export function growChannels(channels: Channel[]): void {
  for (let port = 0; port < BUCKET; port++) channels.push(newChannel('free'));
}

export function createEventState(maxPort: number): EventState {
  const channels: Channel[] = [];
  growChannels(channels);
  channels[0] = newChannel('reserved');
  return { channels, maxPort, fifo: null, pollers: 0 };
}

export const createVcpuEvents = (): VcpuEvents => ({
  virqs: new Int32Array(24),
  polling: 0,
  control: 0,
  controlFrame: 0,
  tails: new Int32Array(16),
});

export function newChannel(state: ChannelState): Channel {
  return {
    state,
    vcpu: 0,
    priority: 7,
    remoteDom: 0,
    remotePort: 0,
    virq: 0,
    pending: false,
    lastVcpu: 0,
    lastPriority: 7,
  };
}
