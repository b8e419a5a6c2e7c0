/**
 * A learning switch (IEEE 802.1D, without spanning trees). A frame for a station whose port is known goes to that port
 * only; groups and unknown stations go to every other port that may be meant. A port that belongs to one station is
 * pinned to its address: it can send as nobody else, and is given no other station's frames, known or not.
 *
 * A sender waits while the port it sends to has no room, but only as long as that port takes frames at all: one guest
 * that stops reading holds up nobody.
 */
import {
  allOffloads,
  type Frame,
  type Link,
  type LinkUser,
  linkApiVersion,
  linkInUse,
  maxFrameBytes,
  parseMac,
} from '@paravane/link-api';
import type { NetworkClock } from './clock.js';
import { ethernetHeaderBytes, isGroup, macKey } from './ethernet.js';
import { createOutbox, type Outbox } from './outbox.js';

export interface SwitchOptions {
  readonly clock: NetworkClock;
  /** Stations that are remembered. */
  readonly mostStations?: number;
  readonly mtu?: number;
}

export interface SwitchPortOptions {
  readonly name?: string;
  /** The one station behind this port: what it sends under another address is dropped. */
  readonly mac?: string;
}

export interface SwitchPortStats {
  readonly name: string;
  /** Frames that came in at this port, that went out of it, and that were dropped at it. */
  readonly received: number;
  readonly sent: number;
  readonly dropped: number;
}

export interface Switch {
  /** A new port, until its `close`. */
  port(options?: SwitchPortOptions): Link;
  stats(): readonly SwitchPortStats[];
  /** Closes every port. */
  close(): void;
}

/** A station that says nothing for so long is forgotten. */
const agingMilliseconds = 300_000;
/** A port that has taken nothing for so long is not waited for. */
const patienceMilliseconds = 200;

interface Port {
  readonly name: string;
  readonly pinned: number | undefined;
  readonly outbox: Outbox;
  user: LinkUser | undefined;
  lastTaken: number;
  received: number;
  sent: number;
  dropped: number;
  closed: boolean;
}

export function createSwitch(options: SwitchOptions): Switch {
  const { clock, mostStations = 1024, mtu = 1500 } = options;
  const ports = new Set<Port>();
  const stations = new Map<number, { port: Port; seen: number }>();
  /** Ports whose user has to be told that there is room again. */
  const waiting = new Set<Port>();
  let portCount = 0;
  let wake: (() => void) | undefined;

  function learn(station: number, port: Port): void {
    for (const other of ports) if (other.pinned === station && other !== port) return;
    stations.delete(station);
    if (stations.size >= mostStations) {
      const [oldest] = stations.keys();
      if (oldest !== undefined) stations.delete(oldest);
    }
    stations.set(station, { port, seen: clock.now() });
  }

  function portOf(station: number): Port | undefined {
    for (const port of ports) if (port.pinned === station) return port;
    const entry = stations.get(station);
    if (!entry || entry.port.closed || clock.now() - entry.seen > agingMilliseconds) return undefined;
    return entry.port;
  }

  /** Whether a sender should wait for this port. */
  function mustWait(port: Port): boolean {
    return !!port.user && !port.outbox.hasRoom && clock.now() - port.lastTaken < patienceMilliseconds;
  }

  function wakeWaiting(): void {
    wake?.();
    wake = undefined;
    const woken = [...waiting];
    waiting.clear();
    for (const port of woken) if (!port.closed) port.user?.resume();
  }

  function wait(port: Port): void {
    waiting.add(port);
    wake ??= clock.schedule(patienceMilliseconds, () => {
      wake = undefined;
      wakeWaiting();
    });
  }

  function receive(from: Port, frames: readonly Frame[]): number {
    if (from.closed) return frames.length;
    const touched = new Set<Port>();
    let taken = 0;
    for (const frame of frames) {
      const { bytes } = frame;
      const valid = bytes.length >= ethernetHeaderBytes && bytes.length <= maxFrameBytes && !isGroup(bytes, 6);
      const source = valid ? macKey(bytes, 6) : 0;
      if (!valid || (from.pinned !== undefined && source !== from.pinned)) {
        from.dropped++;
        taken++;
        continue;
      }
      const group = isGroup(bytes, 0);
      const only = group ? undefined : portOf(macKey(bytes, 0));
      if (only && only !== from && mustWait(only)) {
        wait(from);
        break;
      }
      taken++;
      from.received++;
      learn(source, from);
      if (only) {
        if (only !== from) {
          only.outbox.push([frame]);
          touched.add(only);
        }
        continue;
      }
      for (const port of ports) {
        if (port === from || (!group && port.pinned !== undefined)) continue;
        port.outbox.push([frame]);
        touched.add(port);
      }
    }
    for (const port of touched) port.outbox.flush();
    return taken;
  }

  function newPort({ name = `switch port ${portCount}`, mac }: SwitchPortOptions): Link {
    const pinned = mac === undefined ? undefined : macKey(parseMac(mac), 0);
    const port: Port = {
      name,
      pinned,
      user: undefined,
      lastTaken: clock.now(),
      received: 0,
      sent: 0,
      dropped: 0,
      closed: false,
      outbox: createOutbox(() => (port.user ? counting : undefined), { onRoom: wakeWaiting }),
    };
    const counting = {
      get offloads() {
        return port.user?.offloads ?? allOffloads;
      },
      send(frames: readonly Frame[]): number {
        const taken = port.user?.send(frames) ?? frames.length;
        if (taken > 0) port.lastTaken = clock.now();
        port.sent += taken;
        return taken;
      },
      resume: () => undefined,
    };
    ports.add(port);
    return {
      apiVersion: linkApiVersion,
      name,
      mtu,
      get carrier() {
        return !port.closed;
      },
      offloads: allOffloads,
      attach(user) {
        if (port.user) throw linkInUse(name);
        port.user = user;
      },
      send: (frames) => receive(port, frames),
      resume() {
        if (!port.closed) port.outbox.resume();
      },
      close() {
        if (port.closed) return;
        port.closed = true;
        port.user = undefined;
        port.outbox.clear();
        ports.delete(port);
        waiting.delete(port);
        for (const [station, entry] of stations) if (entry.port === port) stations.delete(station);
        wakeWaiting();
      },
    };
  }

  const links = new Set<Link>();
  return {
    port(portOptions = {}) {
      portCount++;
      const link = newPort(portOptions);
      links.add(link);
      return link;
    },
    stats: () =>
      [...ports].map(({ name, received, sent, dropped, outbox }) => ({
        name,
        received,
        sent,
        dropped: dropped + outbox.dropped,
      })),
    close() {
      for (const link of links) link.close();
      links.clear();
      wake?.();
    },
  };
}
