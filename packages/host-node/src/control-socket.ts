/**
 * The control protocol over Unix sockets, one for each process that runs a guest, owner-only. A socket whose process
 * has died is removed by whoever finds it.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { type ControlClient, type ControlledGuest, createControlClient, serveControl } from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';
import { checkControlFolder, makeControlFolder } from './control-folder.js';
import { fileCause } from './files.js';
import { isAlive, isStopped } from './processes.js';

/** Bytes that a client may be behind before it is let go: a viewer that stands still must not fill our memory. */
const mostBehind = 8 * 1024 * 1024;
/** Milliseconds that a client has to take the last answers. */
const farewell = 1000;
/** Bytes of a socket's path on every system, without the zero at its end. */
const longestPath = 103;
/** Process, and a few letters that no other socket has. */
const socketName = /^([0-9]{1,10})-[0-9a-f]{8}\.sock$/;

export interface ControlSocket {
  readonly path: string;
  /** Removes the socket and lets its clients go, once they have got what was sent. */
  close(): Promise<void>;
}

/** Listens for commands on a guest of this process. Neither socket nor clients keep the process alive. */
export async function openControlSocket(
  folder: string,
  guest: Omit<ControlledGuest, 'pid' | 'cpuSeconds'>,
): Promise<ControlSocket> {
  makeControlFolder(folder);
  const path = join(folder, `${process.pid}-${randomBytes(4).toString('hex')}.sock`);
  const controlled: ControlledGuest = {
    ...guest,
    pid: process.pid,
    cpuSeconds() {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    },
  };
  const clients = new Set<Socket>();
  const server = createServer((socket) => {
    clients.add(socket);
    serve(controlled, socket);
    socket.on('close', () => clients.delete(socket));
  });
  await listen(server, path);
  const remove = (): void => rmSync(path, { force: true });
  process.on('exit', remove);
  return {
    path,
    async close() {
      process.removeListener('exit', remove);
      server.close();
      remove();
      await Promise.all([...clients].map(sayFarewell));
    },
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown): void => {
      server.close();
      const message = `cannot open the control socket ${path}: ${why}; set PARAVANE_RUN_DIR to another folder`;
      reject(new ParavaneError('host-control-socket', message, { cause, data: { path } }));
    };
    // Node.js would cut the name off, and listen somewhere else.
    if (Buffer.byteLength(path) > longestPath) return fail('its name is too long for a socket');
    server.once('error', (cause) => fail(fileCause(cause), cause));
    server.listen(path, () => {
      server.unref();
      try {
        chmodSync(path, 0o600);
        resolve();
      } catch (cause) {
        fail(fileCause(cause), cause);
      }
    });
  });
}

function serve(guest: ControlledGuest, socket: Socket): void {
  socket.setEncoding('utf8');
  socket.unref();
  const connection = serveControl(guest, {
    send(line) {
      if (socket.writable) socket.write(`${line}\n`);
      if (socket.writableLength > mostBehind) socket.destroy();
    },
    hangUp: () => void socket.end(),
  });
  socket.on('data', (text) => connection.receive(String(text)));
  socket.on('error', () => socket.destroy());
  socket.on('close', () => connection.close());
}

function sayFarewell(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => socket.destroy(), farewell);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve();
    });
    socket.end(() => socket.destroy());
  });
}

export interface ControlLink extends ControlClient {
  /** The process at its other end. */
  readonly pid: number;
  /** Whether that process was stopped by a signal when it was connected to: then it answers nothing until it goes on. */
  readonly stopped: boolean;
  close(): void;
}

/** Rejects with the system's own error where nobody listens. */
function openLink(path: string, pid: number): Promise<ControlLink> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.setEncoding('utf8');
    const client = createControlClient((line) => void socket.write(`${line}\n`));
    socket.once('connect', () => {
      socket.removeListener('error', reject);
      socket.on('error', (error) => client.lost(fileCause(error)));
      resolve({ ask: client.ask, pid, stopped: isStopped(pid), close: () => void socket.destroy() });
    });
    socket.once('error', reject);
    socket.on('data', (text) => client.receive(String(text)));
    socket.on('close', () => client.lost('the process has closed it'));
  });
}

/** Connections to all processes that run guests of this user. */
export async function openControlLinks(folder: string): Promise<ControlLink[]> {
  if (!checkControlFolder(folder)) return [];
  const links = await Promise.all(
    readdirSync(folder).map(async (name) => {
      const [, pid] = socketName.exec(name) ?? [];
      if (pid === undefined) return undefined;
      const path = join(folder, name);
      try {
        return await openLink(path, Number(pid));
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        // A process that lives may be about to listen.
        if (code === 'ECONNREFUSED' && !isAlive(Number(pid))) rmSync(path, { force: true });
        return undefined;
      }
    }),
  );
  return links.filter((link) => link !== undefined);
}
