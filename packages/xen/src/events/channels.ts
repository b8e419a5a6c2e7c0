/**
 * What may be done with event channels, as functions on domains; the hypercall
 * and the host use the same ones. Results are ports or negative errno.
 */
import { DOMID_SELF, Errno, PER_VCPU_VIRQS } from '@paravane/abi-xen';
import { HOST_DOMAIN, isDomain, type XenDomain, type XenMachine } from '../domain.js';
import { clearPending, portLimit, setPending } from './delivery.js';
import { type Channel, growChannels, type HostEnd, newChannel } from './state.js';

/** The host's ends of channels, by their port in the host's own numbering. */
export interface HostEnds {
  readonly ends: Map<number, HostEnd>;
  nextPort: number;
}

export const createHostEnds = (): HostEnds => ({ ends: new Map(), nextPort: 1 });

export const channelOf = (domain: XenDomain, port: number): Channel | undefined =>
  port < domain.events.channels.length ? domain.events.channels[port] : undefined;

/** A free port with its record set to `state`, or −ENOSPC. */
export function allocatePort(domain: XenDomain, state: Channel['state']): number {
  const { channels, maxPort } = domain.events;
  const end = Math.min(maxPort + 1, portLimit(domain));
  for (let port = 1; port < end; port++) {
    if (port === channels.length) growChannels(channels);
    if (channels[port].state !== 'free') continue;
    // Where its event word was last linked outlives the channel: the word may still be there.
    const { lastVcpu, lastPriority } = channels[port]!;
    channels[port] = { ...newChannel(state), lastVcpu, lastPriority };
    return port;
  }
  return -Errno.ENOSPC;
}

export function allocUnbound(domain: XenDomain, remoteDom: number): number {
  const port = allocatePort(domain, 'unbound');
  if (port > 0) domain.events.channels[port].remoteDom = remoteDom === DOMID_SELF ? domain.id : remoteDom;
  return port;
}

export function bindInterdomain(domain: XenDomain, claimedDom: number, claimedPort: number): number {
  const remoteId = claimedDom === DOMID_SELF ? domain.id : claimedDom;
  if (!isDomain(domain.machine, remoteId)) return -Errno.ESRCH;
  const port = allocatePort(domain, 'reserved');
  if (port < 0) return port;
  const channel = domain.events.channels[port];
  // The host leaves no port unbound for a guest.
  const remote = domain.machine.domain(remoteId);
  const other = remote && channelOf(remote, claimedPort);
  if (!other || other.state !== 'unbound' || other.remoteDom !== domain.id) {
    channel.state = 'free';
    return -Errno.EINVAL;
  }
  Object.assign(channel, { state: 'interdomain', remoteDom: remoteId, remotePort: claimedPort });
  Object.assign(other, { state: 'interdomain', remoteDom: domain.id, remotePort: port });
  // Notifications sent to the unbound port were dropped: raise one in their place.
  setPending(domain, port);
  return port;
}

export const isGlobalVirq = (virq: number): boolean => !PER_VCPU_VIRQS.includes(virq);

export function bindVirq(domain: XenDomain, claimedVirq: number, claimedVcpu: number): number {
  if (claimedVirq >= 24) return -Errno.EINVAL;
  if (isGlobalVirq(claimedVirq) && claimedVcpu !== 0) return -Errno.EINVAL;
  const vcpu = domain.vcpus[claimedVcpu];
  if (!vcpu) return -Errno.ENOENT;
  if (vcpu.events.virqs[claimedVirq] !== 0) return -Errno.EEXIST;
  const port = allocatePort(domain, 'virq');
  if (port < 0) return port;
  Object.assign(domain.events.channels[port], { vcpu: claimedVcpu, virq: claimedVirq });
  vcpu.events.virqs[claimedVirq] = port;
  return port;
}

export function bindIpi(domain: XenDomain, claimedVcpu: number): number {
  if (!domain.vcpus[claimedVcpu]) return -Errno.ENOENT;
  const port = allocatePort(domain, 'ipi');
  if (port > 0) domain.events.channels[port].vcpu = claimedVcpu;
  return port;
}

function freeChannel(domain: XenDomain, port: number): void {
  clearPending(domain, port);
  const channel = domain.events.channels[port];
  channel.state = 'free';
  channel.vcpu = 0;
  channel.remotePort = 0;
}

export function closePort(domain: XenDomain, claimedPort: number): number {
  const channel = channelOf(domain, claimedPort);
  if (!channel || channel.state === 'free' || channel.state === 'reserved') return -Errno.EINVAL;
  if (channel.state === 'virq') {
    for (const vcpu of domain.vcpus) {
      if (vcpu.events.virqs[channel.virq] === claimedPort) vcpu.events.virqs[channel.virq] = 0;
    }
  }
  if (channel.state === 'interdomain') unlinkPeer(domain.machine, domain, channel);
  freeChannel(domain, claimedPort);
  return 0;
}

function unlinkPeer(machine: XenMachine, domain: XenDomain, channel: Channel): void {
  if (channel.remoteDom === HOST_DOMAIN) {
    const end = machine.host.ends.get(channel.remotePort);
    if (!end || end.domid !== domain.id) return;
    machine.host.ends.delete(channel.remotePort);
    machine.services.defer(end.onClosed);
    return;
  }
  const remote = machine.domain(channel.remoteDom);
  const other = remote && channelOf(remote, channel.remotePort);
  if (other?.state === 'interdomain' && other.remoteDom === domain.id) {
    other.state = 'unbound';
    other.remotePort = 0;
  }
}

/** Tells the host's listener, once for any number of events until it runs. */
function notifyHost(machine: XenMachine, end: HostEnd): void {
  if (end.queued) return;
  end.queued = true;
  machine.services.defer(() => {
    end.queued = false;
    if (machine.host.ends.get(end.port) === end) end.onEvent();
  });
}

export function sendEvent(domain: XenDomain, claimedPort: number): number {
  const channel = channelOf(domain, claimedPort);
  if (!channel) return -Errno.EINVAL;
  switch (channel.state) {
    case 'interdomain': {
      if (channel.remoteDom === HOST_DOMAIN) {
        const end = domain.machine.host.ends.get(channel.remotePort);
        if (end) notifyHost(domain.machine, end);
        return 0;
      }
      const remote = domain.machine.domain(channel.remoteDom);
      if (remote) setPending(remote, channel.remotePort);
      return 0;
    }
    case 'ipi':
      setPending(domain, claimedPort);
      return 0;
    case 'unbound':
      return 0;
    default:
      return -Errno.EINVAL;
  }
}

export function sendVirq(domain: XenDomain, vcpuId: number, virq: number): void {
  const port = domain.vcpus[isGlobalVirq(virq) ? 0 : vcpuId]?.events.virqs[virq] ?? 0;
  if (port !== 0) setPending(domain, port);
}

export function bindVcpu(domain: XenDomain, claimedPort: number, claimedVcpu: number): number {
  if (!domain.vcpus[claimedVcpu]) return -Errno.ENOENT;
  const channel = channelOf(domain, claimedPort);
  if (!channel) return -Errno.EINVAL;
  const movable =
    channel.state === 'unbound' ||
    channel.state === 'interdomain' ||
    (channel.state === 'virq' && isGlobalVirq(channel.virq));
  if (!movable) return -Errno.EINVAL;
  channel.vcpu = claimedVcpu;
  return 0;
}

/** Closes every channel of a domain. */
export function closeAll(domain: XenDomain): void {
  for (let port = 1; port < domain.events.channels.length; port++) closePort(domain, port);
}

/** A back end's end of a channel: all that it knows of its peer's events. */
export interface HostPort {
  /** The host's own number of the port. */
  readonly port: number;
  /** Raises the event in the guest; false once the channel is closed. */
  notify(): boolean;
  close(): void;
}

/**
 * Binds the host to a port that the guest (or the builder for it) left unbound
 * for domain 0. `onEvent` runs between guest instructions, once for all events
 * since it ran last. Null where the port is not the guest's to be bound.
 */
export function bindHost(
  domain: XenDomain,
  guestPort: number,
  onEvent: () => void,
  onClosed: () => void = () => undefined,
): HostPort | null {
  const { machine } = domain;
  const channel = channelOf(domain, guestPort);
  if (!channel || channel.state !== 'unbound' || channel.remoteDom !== HOST_DOMAIN) return null;
  const end: HostEnd = {
    port: machine.host.nextPort++,
    domid: domain.id,
    guestPort,
    onEvent,
    onClosed,
    queued: false,
  };
  machine.host.ends.set(end.port, end);
  Object.assign(channel, { state: 'interdomain', remoteDom: HOST_DOMAIN, remotePort: end.port });
  notifyHost(machine, end);
  const open = (): boolean => machine.host.ends.get(end.port) === end;
  return {
    port: end.port,
    notify() {
      if (!open()) return false;
      setPending(domain, guestPort);
      return true;
    },
    close() {
      if (!open()) return;
      machine.host.ends.delete(end.port);
      channel.state = 'unbound';
      channel.remotePort = 0;
    },
  };
}
