import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import type { HostStreamUser } from '@paravane/network';
import { afterEach, describe, expect, it } from 'vitest';
import { hostNet, hostNetworkClock } from './net.js';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** What a stream tells, and a way to wait for it. */
function listener() {
  const heard: string[] = [];
  const waiting = new Map<string, () => void>();
  const tell = (what: string): void => {
    heard.push(what);
    for (const [wanted, resolve] of waiting) if (heard.join(' ').includes(wanted)) resolve();
  };
  const user: HostStreamUser = {
    connected: () => tell('connected'),
    data: (bytes) => tell(Buffer.from(bytes).toString()),
    ended: () => tell('ended'),
    closed: (failure) => tell(`closed:${failure ?? 'well'}`),
  };
  const until = (wanted: string): Promise<void> =>
    heard.join(' ').includes(wanted) ? Promise.resolve() : new Promise((resolve) => waiting.set(wanted, resolve));
  return { user, heard, until };
}

async function echoServer(): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  closers.push(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

describe('TCP of the host', () => {
  it('connects, carries bytes, tells when they are taken, and closes both halves', async () => {
    const { user, heard, until } = listener();
    const stream = hostNet.connectTcp({ address: '127.0.0.1', port: await echoServer() }, user);
    await until('connected');
    await new Promise<void>((resolve) => stream.write(new Uint8Array(Buffer.from('hello')), resolve));
    await until('hello');
    stream.end();
    await until('closed:well');
    expect(heard).toEqual(['connected', 'hello', 'ended', 'closed:well']);
  });

  it('says why it could not connect', async () => {
    const port = await echoServer();
    closers.splice(0).forEach((close) => close());
    const { user, until, heard } = listener();
    hostNet.connectTcp({ address: '127.0.0.1', port }, user);
    await until('closed');
    expect(heard).toEqual(['closed:refused']);
  });

  it('pauses and resumes', async () => {
    const { user, heard, until } = listener();
    const stream = hostNet.connectTcp({ address: '127.0.0.1', port: await echoServer() }, user);
    await until('connected');
    stream.pause();
    await new Promise<void>((resolve) => stream.write(new Uint8Array(Buffer.from('later')), resolve));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(heard).toEqual(['connected']);
    stream.resume();
    await until('later');
    stream.destroy();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(heard).toEqual(['connected', 'later']);
  });

  it('listens, and says in words why it can’t', async () => {
    const { user, until } = listener();
    const listening = await hostNet.listenTcp({ address: '127.0.0.1', port: 0 }, (stream) => {
      stream.write(new Uint8Array(Buffer.from('welcome')), () => stream.end());
      return user;
    });
    closers.push(() => listening.close());
    const socket = connect(listening.port, '127.0.0.1');
    const [greeting] = await once(socket, 'data');
    socket.end();
    await until('closed:well');
    expect(String(greeting)).toBe('welcome');
    const again = hostNet.listenTcp({ address: '127.0.0.1', port: listening.port }, () => user);
    await expect(again).rejects.toMatchObject({
      code: 'publish-port',
      message: expect.stringContaining('choose another port'),
    });
  });
});

describe('UDP of the host', () => {
  it('sends and receives', async () => {
    const server = createSocket('udp4');
    closers.push(() => server.close());
    server.on('message', (bytes, from) =>
      server.send(Buffer.concat([Buffer.from('re: '), bytes]), from.port, from.address),
    );
    server.bind(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    const answer = new Promise<unknown>((resolve, reject) => {
      hostNet
        .bindUdp({ version: 4 }, (bytes, from) => resolve([Buffer.from(bytes).toString(), from]))
        .then((socket) => {
          closers.push(() => socket.close());
          socket.send(new Uint8Array(Buffer.from('it')), '127.0.0.1', port);
        }, reject);
    });
    expect(await answer).toEqual(['re: it', { address: '127.0.0.1', port }]);
  });
});

describe('the host itself', () => {
  it('has its loopback address, and timers', async () => {
    expect(hostNet.ownAddresses()).toContain('127.0.0.1');
    const before = hostNetworkClock.now();
    const hold = setTimeout(() => undefined, 1000);
    await new Promise<void>((resolve) => void hostNetworkClock.schedule(20, resolve));
    clearTimeout(hold);
    expect(hostNetworkClock.now() - before).toBeGreaterThan(15);
  });
});
