/**
 * A domain's network interfaces: nodes in the store as the toolstack makes them, and a network back end for each. A
 * frame for the guest waits until the machine takes it in between two slices, whoever sent it and whenever.
 */
import { createHostWork, type DeviceStore } from '@paravane/driver-api';
import type { Hypervisor } from '@paravane/hypervisor';
import type { Frame, Link, LinkUser } from '@paravane/link-api';
import { createNetBackend, type NetBackend, type RateClock } from '@paravane/net-back';
import type { BootRequest, BootVif } from '@paravane/toolstack';
import { createHostPeer, type PvDomain } from '@paravane/xen';
import { addDevice } from '@paravane/xenbus';

const SOURCE = 'net';
/** Frames that wait for the guest's next slice at most. */
const MOST_WAITING = 512;
/** Instructions for which a front end that keeps running may be kept waiting, so that more of its frames are taken at once. */
const PATIENCE = 200_000;

export interface Vifs {
  /** Figures by name. */
  counters(): Record<string, number>;
  close(): void;
}

export interface VifsSetup {
  readonly hypervisor: Hypervisor;
  readonly store: DeviceStore;
  readonly guest: PvDomain;
  readonly request: BootRequest;
}

interface InboxLink {
  readonly link: Link;
  /** Gives the frames that wait. */
  deliver(): void;
}

/** The link, with what it gives put off until `deliver`; `post` is called when there is something to deliver. */
function throughInbox(link: Link, post: () => void): InboxLink {
  let user: LinkUser | undefined;
  let waiting: Frame[] = [];
  let posted = false;
  let blocked = false;
  let full = false;

  function arrive(): void {
    if (posted || blocked || waiting.length === 0) return;
    posted = true;
    post();
  }

  return {
    link: {
      apiVersion: link.apiVersion,
      name: link.name,
      mtu: link.mtu,
      ...(link.mac !== undefined && { mac: link.mac }),
      get carrier() {
        return link.carrier;
      },
      offloads: link.offloads,
      attach(newUser) {
        user = newUser;
        link.attach({
          get offloads() {
            return newUser.offloads;
          },
          send(frames) {
            const taken = Math.min(frames.length, MOST_WAITING - waiting.length);
            waiting.push(...frames.slice(0, taken));
            full = taken < frames.length;
            arrive();
            return taken;
          },
          resume: () => newUser.resume(),
          carrierChanged: (up) => newUser.carrierChanged?.(up),
        });
      },
      send: (frames) => link.send(frames),
      resume() {
        blocked = false;
        arrive();
      },
      close() {
        waiting = [];
        link.close();
      },
    },
    deliver() {
      posted = false;
      if (!user || waiting.length === 0) return;
      const batch = waiting;
      waiting = [];
      blocked = true;
      const taken = user.send(batch);
      blocked &&= taken < batch.length;
      waiting = batch.slice(taken).concat(waiting);
      if (full && waiting.length < MOST_WAITING / 2) {
        full = false;
        link.resume();
      }
    },
  };
}

/** The guest's time, for back ends. */
function guestClock({ now, services }: Hypervisor): RateClock {
  return {
    now: () => now() / 1e6,
    schedule(delay, run) {
      const timer = services.createTimer(run);
      timer.set(now() + Math.ceil(delay * 1e6));
      return () => timer.cancel();
    },
  };
}

export function attachVifs({ hypervisor, store, guest, request }: VifsSetup): Vifs {
  const { inbox } = hypervisor;
  const vifs = request.vifs ?? [];
  const peer = createHostPeer(guest.xen);
  const inboxLinks: InboxLink[] = [];
  const clock = guestClock(hypervisor);
  const post = (index: number): void => {
    inbox.post(SOURCE, Uint8Array.of(index));
    request.wake?.();
  };
  // What a back end puts off continues in the same way; there is little of it.
  const work = createHostWork(
    (id) => work.deliver(id),
    (action) => hypervisor.services.whenIdle(action, PATIENCE),
  );
  // Declared only where there are interfaces: a machine without any takes the same inputs as ever.
  if (vifs.length > 0) inbox.source(SOURCE, (data) => inboxLinks[data[0] ?? 0]?.deliver());

  let nextId = 0;
  const backends = vifs.map((vif) => {
    const used = vifs.map(({ config }) => config.devid);
    while (used.includes(nextId)) nextId++;
    return attachVif(vif, vif.config.devid ?? nextId++);
  });

  function attachVif(
    { config, mac, openLink }: BootVif,
    id: number,
  ): { name: string; backend: NetBackend; link: Link } {
    const name = config.vifname ?? `vif${peer.domid}.${id}`;
    const nodes = addDevice(store, {
      type: 'vif',
      id,
      frontendId: peer.domid,
      back: {
        handle: id,
        mac,
        bridge: config.bridge ?? 'xenbr0',
        vifname: name,
        type: 'vif',
        script: config.script ?? '',
        ...(config.ip === undefined ? {} : { ip: config.ip }),
        ...(config.mtu === undefined ? {} : { mtu: config.mtu }),
        ...(config.rate === undefined ? {} : { rate: `${config.rate.bytes},${config.rate.interval}` }),
        'hotplug-status': 'connected',
      },
      front: {
        handle: id,
        mac,
        trusted: config.untrusted ? 0 : 1,
        ...(config.mtu === undefined ? {} : { mtu: config.mtu }),
      },
    });
    const index = inboxLinks.length;
    const own = throughInbox(openLink(), () => post(index));
    inboxLinks.push(own);
    const backend = createNetBackend({
      store,
      ...nodes,
      peer,
      link: own.link,
      work,
      queues: request.config.vcpus,
      ...(config.rate === undefined ? {} : { rate: { ...config.rate, clock } }),
      log: (message) => request.log?.('warning', `interface ${name}: ${message}`),
    });
    return { name: `net.${id}`, backend, link: own.link };
  }

  return {
    counters() {
      const counters: Record<string, number> = {};
      for (const { name, backend } of backends) {
        for (const [figure, value] of Object.entries(backend.stats)) counters[`${name}.${figure}`] = value;
      }
      return counters;
    },
    close() {
      for (const { backend, link } of backends) {
        backend.close();
        link.close();
      }
    },
  };
}
