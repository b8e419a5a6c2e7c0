/** A host made of memory: its services are functions. */
import type { NetworkClock } from '../clock.js';
import type { HostDatagrams, HostEndpoint, HostNet, HostNetFailure, HostStream, HostStreamUser } from '../host-net.js';

/** One end of a pair: the service's side of a stream. */
export interface ServiceStream {
  readonly received: Uint8Array[];
  /** False holds back the `done` of writes until `release`. */
  reading: boolean;
  readonly paused: boolean;
  readonly destroyed: boolean;
  readonly endedByGuest: boolean;
  send(bytes: Uint8Array): void;
  end(): void;
  close(failure?: HostNetFailure): void;
  release(): void;
  onData?: (bytes: Uint8Array) => void;
  onEnd?: () => void;
  onResume?: () => void;
}

export interface MemoryHost extends HostNet {
  /** By "address port": called with the service's side of a new connection. */
  readonly services: Map<string, (stream: ServiceStream) => void>;
  readonly failures: Map<string, HostNetFailure>;
  /** By "address port": answers datagrams. */
  readonly datagramServices: Map<string, (bytes: Uint8Array) => Uint8Array | undefined>;
  readonly connects: string[];
  readonly sockets: {
    receive(bytes: Uint8Array, from: HostEndpoint): void;
    readonly at: Partial<HostEndpoint>;
    sent: unknown[];
  }[];
  readonly listening: Map<string, (from: HostEndpoint) => ServiceStream>;
  own: string[];
  answer: (query: Uint8Array) => Promise<Uint8Array>;
}

export function createMemoryHost(clock: NetworkClock): MemoryHost {
  const later = (run: () => void): void => void clock.schedule(0, run);

  function pair(user: () => HostStreamUser | undefined): { host: HostStream; service: ServiceStream } {
    let held: (() => void)[] = [];
    let paused = false;
    let destroyed = false;
    let endedByGuest = false;
    let over = false;
    const service: ServiceStream = {
      received: [],
      reading: true,
      get paused() {
        return paused;
      },
      get destroyed() {
        return destroyed;
      },
      get endedByGuest() {
        return endedByGuest;
      },
      send: (bytes) => later(() => !destroyed && user()?.data(bytes)),
      end: () => later(() => !destroyed && user()?.ended()),
      close: (failure) =>
        later(() => {
          if (destroyed || over) return;
          over = true;
          user()?.closed(failure);
        }),
      release() {
        const dones = held;
        held = [];
        service.reading = true;
        for (const done of dones) later(done);
      },
    };
    const host: HostStream = {
      write(bytes, done) {
        service.received.push(bytes.slice());
        service.onData?.(bytes.slice());
        if (service.reading) later(done);
        else held.push(done);
      },
      end() {
        endedByGuest = true;
        service.onEnd?.();
      },
      pause() {
        paused = true;
      },
      resume() {
        paused = false;
        service.onResume?.();
      },
      destroy() {
        destroyed = true;
      },
    };
    return { host, service };
  }

  const host: MemoryHost = {
    services: new Map(),
    failures: new Map(),
    datagramServices: new Map(),
    connects: [],
    sockets: [],
    listening: new Map(),
    own: [],
    answer: () => Promise.reject(new Error('no resolver')),
    connectTcp({ address, port }, user) {
      const key = `${address} ${port}`;
      host.connects.push(key);
      const { host: stream, service } = pair(() => user);
      const serve = host.services.get(key);
      later(() => {
        if (service.destroyed) return;
        if (!serve) return user.closed(host.failures.get(key) ?? 'refused');
        user.connected();
        serve(service);
      });
      return stream;
    },
    listenTcp(at, accept) {
      const port = at.port || 40000;
      host.listening.set(`${at.address} ${port}`, (from) => {
        const made: { user?: HostStreamUser } = {};
        const { host: stream, service } = pair(() => made.user);
        made.user = accept(stream, from);
        return service;
      });
      return Promise.resolve({ port, close: () => void host.listening.delete(`${at.address} ${port}`) });
    },
    bindUdp(at, receive) {
      const socket = { receive, at, sent: [] as unknown[] };
      host.sockets.push(socket);
      const datagrams: HostDatagrams = {
        port: at.port ?? 50000,
        send(bytes, address, port) {
          socket.sent.push({ bytes, address, port });
          const reply = host.datagramServices.get(`${address} ${port}`)?.(bytes);
          if (reply) later(() => receive(reply, { address, port }));
        },
        close: () => undefined,
      };
      return Promise.resolve(datagrams);
    },
    resolve: (query) => host.answer(query),
    ownAddresses: () => host.own,
  };
  return host;
}
