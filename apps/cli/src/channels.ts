/** The host's ends of guests' channels: Unix sockets and pseudo-terminals. */
import { chmodSync, existsSync, lstatSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { fileCause, openPty } from '@paravane/host-node';
import type { BootChannel, ChannelConfig } from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';

export interface OpenChannel extends BootChannel {
  close(): void;
}

/** Bytes that a program may leave unread before it is let go. */
const mostBehind = 1 << 20;

export async function openChannels(configs: readonly ChannelConfig[]): Promise<readonly OpenChannel[]> {
  const opened: OpenChannel[] = [];
  try {
    for (const config of configs)
      opened.push(config.path === undefined ? await pty(config) : await socket(config, config.path));
    return opened;
  } catch (error) {
    for (const channel of opened) channel.close();
    throw error;
  }
}

const named = ({ name }: ChannelConfig) => (name === undefined ? {} : { name });

async function pty(config: ChannelConfig): Promise<OpenChannel> {
  let input = (_bytes: Uint8Array): void => undefined;
  const { name: tty, write, close } = await openPty((bytes) => input(bytes));
  return { ...named(config), tty, onOutput: write, onOpen: (take) => (input = take), close };
}

/** All who connect see what the guest writes, and all may write. */
async function socket(config: ChannelConfig, path: string): Promise<OpenChannel> {
  let input = (_bytes: Uint8Array): void => undefined;
  const clients = new Set<Socket>();
  const server = createServer((client) => {
    clients.add(client);
    client.on('data', (bytes) => input(bytes as Buffer));
    client.on('error', () => client.destroy());
    client.on('close', () => clients.delete(client));
    client.unref();
  });
  const folder = dirname(path);
  // Node.js says of a socket in a folder that is not there that access was denied.
  if (!existsSync(folder) || !statSync(folder).isDirectory()) throw cannotOpen(path, `there is no folder ${folder}`);
  if (await isLeftOver(path)) rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const inTheWay = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE';
      const why = inTheWay ? 'something else is there: remove it, or give another path' : fileCause(cause);
      reject(cannotOpen(path, why, cause));
    });
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  server.unref();
  return {
    ...named(config),
    onOutput(bytes) {
      for (const client of clients) {
        client.write(bytes);
        if (client.writableLength > mostBehind) client.destroy();
      }
    },
    onOpen: (take) => (input = take),
    close() {
      server.close();
      for (const client of clients) client.destroy();
      rmSync(path, { force: true });
    },
  };
}

const cannotOpen = (path: string, why: string, cause?: Error): ParavaneError =>
  new ParavaneError('channel-socket', `cannot open the socket ${path} of a channel: ${why}`, { cause });

/** Whether it is the socket of a process that is gone: nobody answers there any more. */
async function isLeftOver(path: string): Promise<boolean> {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) return false;
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(false);
    });
    socket.on('error', (error) => resolve((error as NodeJS.ErrnoException).code === 'ECONNREFUSED'));
  });
}
