/**
 * The host's sockets for a user-mode network: node:net and node:dgram. Trusts the host, and of the guest only
 * that its user network has checked where it may go. Addresses only, no names: nothing is looked up on the way.
 */
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { connect, createServer, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { performance } from 'node:perf_hooks';
import type {
  HostDatagrams,
  HostEndpoint,
  HostListener,
  HostNet,
  HostNetFailure,
  HostStream,
  HostStreamUser,
  NetworkClock,
} from '@paravane/network';
import { ParavaneError } from '@paravane/types';
import { resolveDns } from './dns.js';

const connectMilliseconds = 30_000;

const failures: Readonly<Record<string, HostNetFailure>> = {
  ECONNREFUSED: 'refused',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  ETIMEDOUT: 'timeout',
  ENETUNREACH: 'unreachable',
  EHOSTUNREACH: 'unreachable',
  EADDRNOTAVAIL: 'unreachable',
};

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? '';

/** Reads of a socket go into one buffer for all: each is copied out before the next. */
const readBuffer = new Uint8Array(256 << 10);

interface ReadsInto {
  take: (bytes: Uint8Array) => void;
}

/** A socket as the network sees it. */
function streamOf(socket: Socket, getUser: () => HostStreamUser, readsInto?: ReadsInto): HostStream {
  let failure: HostNetFailure | undefined;
  let silent = false;
  socket.setNoDelay(true);
  const tell = (run: (user: HostStreamUser) => void): void => {
    if (!silent) run(getUser());
  };
  if (readsInto === undefined) socket.on('data', (bytes: Buffer) => tell((user) => user.data(bytes)));
  else readsInto.take = (bytes) => tell((user) => user.data(bytes));
  socket.on('end', () => tell((user) => user.ended()));
  socket.on('error', (error) => {
    failure = failures[codeOf(error)] ?? 'other';
  });
  socket.on('close', () => tell((user) => user.closed(failure)));
  return {
    write(bytes, done) {
      if (!socket.writable) return;
      socket.write(bytes, (error) => {
        if (!error) done();
      });
    },
    end: () => void socket.end(),
    pause: () => void socket.pause(),
    resume: () => void (socket.isPaused() && socket.resume()),
    destroy() {
      silent = true;
      if (socket.connecting) socket.destroy();
      else socket.resetAndDestroy();
    },
  };
}

function connectTcp({ address, port }: HostEndpoint, user: HostStreamUser): HostStream {
  const readsInto: ReadsInto = { take: () => undefined };
  const socket = connect({
    host: address,
    port,
    allowHalfOpen: true,
    // Whole windows at once: what a guest gets together costs it one event.
    onread: {
      buffer: readBuffer,
      callback(length) {
        readsInto.take(readBuffer.slice(0, length));
        return true;
      },
    },
  });
  socket.setTimeout(connectMilliseconds, () =>
    socket.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })),
  );
  socket.on('connect', () => {
    socket.setTimeout(0);
    user.connected();
  });
  return streamOf(socket, () => user, readsInto);
}

/** A port that can't be had, in words. */
function cannotListen(protocol: string, at: Partial<HostEndpoint>, error: unknown): ParavaneError {
  const why: Readonly<Record<string, string>> = {
    EADDRINUSE: 'another program has it: choose another port',
    EACCES: 'ports below 1024 need more rights: choose a higher one',
    EADDRNOTAVAIL: 'the address is not one of this host: choose 127.0.0.1 or 0.0.0.0',
  };
  return new ParavaneError(
    'publish-port',
    `cannot open ${protocol} port ${at.address ?? '*'}:${at.port ?? 0}: ${why[codeOf(error)] ?? String(error)}`,
    { cause: error, data: { protocol, ...at } },
  );
}

const nobody: HostStreamUser = {
  connected: () => undefined,
  data: () => undefined,
  ended: () => undefined,
  closed: () => undefined,
};

function listenTcp(
  at: HostEndpoint,
  accept: (stream: HostStream, from: HostEndpoint) => HostStreamUser,
): Promise<HostListener> {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      const heir: { user: HostStreamUser } = { user: nobody };
      const stream = streamOf(socket, () => heir.user);
      heir.user = accept(stream, { address: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 });
    });
    server.once('error', (error) => reject(cannotListen('TCP', at, error)));
    server.listen({ host: at.address, port: at.port }, () => {
      const bound = server.address();
      resolve({
        port: typeof bound === 'object' && bound ? bound.port : at.port,
        close: () => void server.close(),
      });
    });
  });
}

function bindUdp(
  at: { readonly version: 4 | 6 } & Partial<HostEndpoint>,
  receive: (bytes: Uint8Array, from: HostEndpoint) => void,
): Promise<HostDatagrams> {
  return new Promise((resolve, reject) => {
    const socket: DatagramSocket = createSocket({ type: at.version === 6 ? 'udp6' : 'udp4' });
    let closed = false;
    socket.on('message', (bytes, { address, port }) => {
      // A link-local address carries its interface, which the guest does not know.
      if (!closed) receive(bytes, { address: address.replace(/%.*$/, ''), port });
    });
    socket.once('error', (error) => reject(cannotListen('UDP', at, error)));
    socket.bind({ ...(at.address !== undefined && { address: at.address }), port: at.port ?? 0 }, () => {
      resolve({
        port: socket.address().port,
        send(bytes, address, port) {
          // Datagrams that can't be sent are lost, as on any way.
          if (!closed) socket.send(bytes, port, address, () => undefined);
        },
        close() {
          if (closed) return;
          closed = true;
          socket.close();
        },
      });
    });
  });
}

/** The host's sockets. */
export const hostNet: HostNet = {
  connectTcp,
  listenTcp,
  bindUdp,
  resolve: resolveDns,
  ownAddresses: () =>
    Object.values(networkInterfaces())
      .flat()
      .flatMap((entry) => (entry ? [entry.address.replace(/%.*$/, '')] : [])),
};

/** The host's time, for networks. Timers don't keep the process alive. */
export const hostNetworkClock: NetworkClock = {
  now: () => performance.now(),
  schedule(delay, run) {
    const timer = setTimeout(run, Math.min(Math.max(0, Math.ceil(delay)), 2 ** 31 - 1));
    timer.unref();
    return () => clearTimeout(timer);
  },
};
