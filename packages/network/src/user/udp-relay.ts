/**
 * UDP between guests and the host's sockets: one socket for each guest port, replies only from whom the guest has
 * spoken to. Published ports are the other way around: each outer peer gets a port at the gateway. All bounded; the
 * least recently used go first.
 */
import type { IpAddress } from '../address.js';
import { put16 } from '../bytes.js';
import type { NetworkClock } from '../clock.js';
import type { HostDatagrams, HostEndpoint, HostNet } from '../host-net.js';
import { Protocol } from '../ip.js';
import type { Lan } from './lan.js';
import { plan } from './plan.js';

export interface UdpEndpoint {
  readonly address: IpAddress;
  readonly port: number;
}

export interface UdpRelay {
  /** A datagram of a guest; `outer` is where it goes on the host's side, undefined where it may not. */
  fromGuest(from: UdpEndpoint, to: UdpEndpoint, outer: string | undefined, data: Uint8Array): 'taken' | 'refused';
  publish(at: HostEndpoint, guest: UdpEndpoint): Promise<HostDatagrams>;
  readonly flows: number;
  close(): void;
}

const mostFlows = 512;
const mostFlowsOfOne = 256;
const mostPeers = 64;
const mostQueued = 16;
const idleMilliseconds = 120_000;
const sweepMilliseconds = 10_000;
const firstGatewayPort = 49152;
const mostUdpBytes = 65507;

interface Flow {
  readonly guest: UdpEndpoint;
  socket: HostDatagrams | undefined;
  readonly queue: { data: Uint8Array; address: string; port: number }[];
  /** Outer "address port" and the address that the guest knows it by. */
  readonly peers: Map<string, IpAddress>;
  lastUsed: number;
  closed: boolean;
}

interface PublishedPeer {
  readonly guest: UdpEndpoint;
  readonly outer: HostEndpoint;
  readonly socket: () => HostDatagrams | undefined;
  lastUsed: number;
}

export function udpPayload(sourcePort: number, destinationPort: number, data: Uint8Array): Uint8Array {
  const payload = new Uint8Array(8 + data.length);
  put16(payload, 0, sourcePort);
  put16(payload, 2, destinationPort);
  put16(payload, 4, payload.length);
  payload.set(data, 8);
  return payload;
}

/** Removes the first of a map that is used up in order, where it is full. */
function makeRoom<K, V>(map: Map<K, V>, most: number, drop: (value: V) => void): void {
  if (map.size < most) return;
  const [first] = map;
  if (!first) return;
  map.delete(first[0]);
  drop(first[1]);
}

export function createUdpRelay(options: {
  readonly clock: NetworkClock;
  readonly lan: Lan;
  readonly host: HostNet;
  batch(run: () => void): void;
}): UdpRelay {
  const { clock, lan, host, batch } = options;
  const flows = new Map<string, Flow>();
  const byGatewayPort = new Map<number, PublishedPeer>();
  const publishedPeers = new Map<string, number>();
  const sockets = new Set<HostDatagrams>();
  let nextGatewayPort = firstGatewayPort;
  let cancelSweep: (() => void) | undefined;
  let closed = false;

  const keyOf = ({ address, port }: UdpEndpoint): string => `${address.text} ${port}`;

  function toGuest(from: IpAddress, port: number, guest: UdpEndpoint, data: Uint8Array): void {
    if (data.length > mostUdpBytes) return;
    lan.sendIp({
      source: from,
      destination: guest.address,
      protocol: Protocol.udp,
      payload: udpPayload(port, guest.port, data),
    });
  }

  function end(flow: Flow): void {
    flow.closed = true;
    flow.socket?.close();
    flow.queue.length = 0;
  }

  function sweep(): void {
    cancelSweep = undefined;
    const oldest = clock.now() - idleMilliseconds;
    for (const [key, flow] of flows) {
      if (flow.lastUsed > oldest) continue;
      flows.delete(key);
      end(flow);
    }
    if (flows.size > 0) cancelSweep = clock.schedule(sweepMilliseconds, sweep);
  }

  function newFlow(guest: UdpEndpoint): Flow | undefined {
    const own = [...flows.values()].filter((flow) => flow.guest.address.text === guest.address.text);
    const [first] = own;
    if (own.length >= mostFlowsOfOne && first) {
      flows.delete(keyOf(first.guest));
      end(first);
    }
    makeRoom(flows, mostFlows, end);
    const flow: Flow = { guest, socket: undefined, queue: [], peers: new Map(), lastUsed: clock.now(), closed: false };
    host
      .bindUdp({ version: guest.address.version }, (data, from) =>
        batch(() => {
          const known = flow.peers.get(`${from.address} ${from.port}`);
          if (!known || flow.closed) return;
          flow.lastUsed = clock.now();
          toGuest(known, from.port, guest, data);
        }),
      )
      .then(
        (socket) => {
          if (flow.closed) return socket.close();
          flow.socket = socket;
          for (const { data, address, port } of flow.queue.splice(0)) socket.send(data, address, port);
        },
        () => {
          // No socket to be had: the guest's datagrams are lost, and it may try again.
          flows.delete(keyOf(guest));
          end(flow);
        },
      );
    cancelSweep ??= clock.schedule(sweepMilliseconds, sweep);
    return flow;
  }

  function toPublishedPeer(from: UdpEndpoint, to: UdpEndpoint, data: Uint8Array): boolean {
    const peer = to.address.text === plan.gateway4.text ? byGatewayPort.get(to.port) : undefined;
    if (!peer || keyOf(peer.guest) !== keyOf(from)) return false;
    peer.lastUsed = clock.now();
    peer.socket()?.send(data.slice(), peer.outer.address, peer.outer.port);
    return true;
  }

  function gatewayPort(guest: UdpEndpoint, outer: HostEndpoint, socket: () => HostDatagrams | undefined): number {
    const key = `${keyOf(guest)} ${outer.address} ${outer.port}`;
    const known = publishedPeers.get(key);
    const peer = known === undefined ? undefined : byGatewayPort.get(known);
    if (known !== undefined && peer) {
      peer.lastUsed = clock.now();
      return known;
    }
    if (byGatewayPort.size >= mostFlows) {
      const [oldest] = [...byGatewayPort].sort(([, a], [, b]) => a.lastUsed - b.lastUsed);
      if (oldest) {
        byGatewayPort.delete(oldest[0]);
        publishedPeers.delete(`${keyOf(oldest[1].guest)} ${oldest[1].outer.address} ${oldest[1].outer.port}`);
      }
    }
    do nextGatewayPort = nextGatewayPort === 65535 ? firstGatewayPort : nextGatewayPort + 1;
    while (byGatewayPort.has(nextGatewayPort));
    byGatewayPort.set(nextGatewayPort, { guest, outer, socket, lastUsed: clock.now() });
    publishedPeers.set(key, nextGatewayPort);
    return nextGatewayPort;
  }

  return {
    fromGuest(from, to, outer, data) {
      if (closed) return 'taken';
      if (toPublishedPeer(from, to, data)) return 'taken';
      if (outer === undefined || to.port === 0) return 'refused';
      const key = keyOf(from);
      const flow = flows.get(key) ?? newFlow(from);
      if (!flow) return 'taken';
      flows.delete(key);
      flows.set(key, flow);
      flow.lastUsed = clock.now();
      const peer = `${outer} ${to.port}`;
      flow.peers.delete(peer);
      makeRoom(flow.peers, mostPeers, () => undefined);
      flow.peers.set(peer, to.address);
      const own = data.slice();
      if (flow.socket) flow.socket.send(own, outer, to.port);
      else if (flow.queue.length < mostQueued) flow.queue.push({ data: own, address: outer, port: to.port });
      return 'taken';
    },
    async publish(at, guest) {
      let bound: HostDatagrams | undefined;
      const socket = await host.bindUdp({ version: at.address.includes(':') ? 6 : 4, ...at }, (data, outer) =>
        batch(() => {
          if (!closed)
            toGuest(
              plan.gateway4,
              gatewayPort(guest, outer, () => bound),
              guest,
              data,
            );
        }),
      );
      bound = socket;
      sockets.add(socket);
      return {
        port: socket.port,
        send: socket.send.bind(socket),
        close() {
          bound = undefined;
          sockets.delete(socket);
          socket.close();
        },
      };
    },
    get flows() {
      return flows.size;
    },
    close() {
      closed = true;
      cancelSweep?.();
      for (const flow of flows.values()) end(flow);
      flows.clear();
      for (const socket of sockets) socket.close();
      sockets.clear();
    },
  };
}
