/**
 * The serving end of the control protocol: commands from outside on a domain that runs. Each client is a connection
 * that text comes in by and lines go out by; what carries them is the host's. A malformed request is answered with an
 * error, and nothing that a client sends throws here.
 */
import type { DiskImage } from '@paravane/image-api';
import { isParavaneError } from '@paravane/types';
import type { DomainRun } from '../life-cycle.js';
import type { DomainControl, DomainDisks, DomainStore } from '../machine.js';
import {
  bytesToText,
  type ControlAnswer,
  type ControlFailure,
  type ControlRequest,
  controlProtocol,
  createLines,
  type GuestInfo,
  longestRequest,
  parseRequest,
  textToBytes,
} from './protocol.js';

export interface ControlledGuest {
  readonly name: string;
  /** MiB, of its configuration. */
  readonly memory: number;
  readonly vcpus: number;
  readonly run: DomainRun;
  /** Opens a file of the host as a medium for a CD-ROM drive. Undefined where there are no files. */
  openMedium?(target: string): Promise<DiskImage>;
  /** Of the host's process. */
  readonly pid: number;
  cpuSeconds(): number;
}

export interface ControlClientEnd {
  send(line: string): void;
  /** Nothing more is taken from this client. */
  hangUp(): void;
}

export interface ControlConnection {
  receive(text: string): void;
  /** The client has gone: its streams end. */
  close(): void;
}

/** Streams and waits of one connection. */
const mostOpen = 64;
/** MiB that a guest is asked to go down to at least. */
const leastMemory = 4;

/** Answers one client until `close`. */
export function serveControl(guest: ControlledGuest, client: ControlClientEnd): ControlConnection {
  return new Connection(guest, client);
}

class Connection implements ControlConnection {
  /** What ends the streams and waits that are open. */
  private readonly open = new Map<number, () => void>();
  private readonly lines = createLines(longestRequest, (line) => this.take(line));
  private closed = false;

  constructor(
    private readonly guest: ControlledGuest,
    private readonly client: ControlClientEnd,
  ) {
    this.send({ hello: 'paravane', protocol: controlProtocol });
  }

  receive(text: string): void {
    if (this.closed || this.lines.push(text)) return;
    const message = `a request has ${longestRequest} characters at most`;
    this.send({ id: null, error: { code: 'bad-request', message } });
    this.close();
    this.client.hangUp();
  }

  close(): void {
    this.closed = true;
    for (const end of this.open.values()) end();
    this.open.clear();
  }

  private send(answer: ControlAnswer): void {
    if (!this.closed) this.client.send(JSON.stringify(answer));
  }

  private take(claimedLine: string): void {
    if (this.closed) return;
    const parsed = parseRequest(claimedLine);
    if ('wrong' in parsed) {
      this.send({ id: parsed.id, error: { code: 'bad-request', message: parsed.wrong } });
      return;
    }
    const { id, request } = parsed;
    this.carryOut(id, request).then(
      (result) => {
        if (result !== undefined) this.send({ id, result });
      },
      (error: unknown) => this.send({ id, error: failureOf(error) }),
    );
  }

  /** The result; undefined for a stream, which is answered when it ends. */
  private async carryOut(id: number, request: ControlRequest): Promise<unknown> {
    const { run } = this.guest;
    switch (request.op) {
      case 'info':
        return this.info();
      case 'pause':
      case 'unpause':
        if (!run.setPaused(request.op === 'pause')) throw starting;
        return null;
      case 'destroy':
        run.destroy();
        return null;
      case 'shutdown': {
        const { store, home } = this.domain();
        await store.write(`${home}/control/shutdown`, request.reason);
        return { state: run.state };
      }
      case 'sysrq': {
        const { store, home } = this.domain();
        await store.write(`${home}/control/sysrq`, request.key);
        return { state: run.state };
      }
      case 'mem-set':
        return this.setMemory(request.memory);
      case 'vcpu-set':
        return this.setVcpus(request.vcpus);
      case 'block-resize':
        await this.domain().disks.resize(request.vdev, request.size);
        return null;
      case 'cd-insert': {
        const { disks } = this.domain();
        const medium = await this.guest.openMedium?.(request.target);
        if (medium === undefined) throw refused('bad-request', 'there are no files here that could be inserted');
        await disks.changeMedium(request.vdev, medium);
        return null;
      }
      case 'cd-eject':
        await this.domain().disks.changeMedium(request.vdev, undefined);
        return null;
      case 'input':
        run.input(textToBytes(request.data));
        return null;
      case 'wait':
        this.stream(id, () => () => undefined, false);
        return undefined;
      case 'console':
        this.stream(id, (show) => run.watchOutput((bytes) => show(bytesToText(bytes))), true);
        return undefined;
      default:
        return this.onStore(id, request);
    }
  }

  /** Sets the balloon's target, in KiB as the guest reads it. */
  private async setMemory(mebibytes: number): Promise<{ state: string }> {
    const { store, home } = this.domain();
    const most = Number(store.read(`${home}/memory/static-max`)) / 1024;
    if (mebibytes < leastMemory || mebibytes > most) {
      throw refused('memory-range', `this guest can have ${leastMemory} to ${most} MiB: maxmem sets the most`);
    }
    await store.write(`${home}/memory/target`, String(mebibytes * 1024));
    return { state: this.guest.run.state };
  }

  /** Says which vCPUs the guest is to use: the first so many. */
  private async setVcpus(count: number): Promise<{ state: string }> {
    const { store, home } = this.domain();
    const { vcpus, run } = this.guest;
    if (count < 1 || count > vcpus) {
      throw refused('vcpu-range', `this guest can use 1 to ${vcpus} vCPUs: vcpus sets the most`);
    }
    for (let vcpu = 0; vcpu < vcpus; vcpu++) {
      await store.write(`${home}/cpu/${vcpu}/availability`, vcpu < count ? 'online' : 'offline');
    }
    return { state: run.state };
  }

  private async onStore(id: number, request: Extract<ControlRequest, { path: string }>): Promise<unknown> {
    const { store, home } = this.domain();
    const path = /^[/@]/.test(request.path) ? request.path : `${home}/${request.path}`;
    switch (request.op) {
      case 'store-list': {
        const nodes = [...store.entries(path)];
        if (nodes.length === 0) throw missing(path);
        return nodes;
      }
      case 'store-read': {
        const value = store.read(path);
        if (value === undefined) throw missing(path);
        return value;
      }
      case 'store-write':
        await store.write(path, request.value);
        return null;
      case 'store-remove':
        if (store.read(path) === undefined) throw missing(path);
        await store.remove(path);
        return null;
      case 'store-watch':
        this.stream(id, (tell) => store.watch(path, tell), false);
        return undefined;
    }
  }

  /** Sends events until the domain has ended; with `overRestarts`, until it has for good. */
  private stream(id: number, start: (tell: (event: string) => void) => () => void, overRestarts: boolean): void {
    if (this.open.has(id)) throw refused('bad-request', 'another request of this "id" is still open');
    if (this.open.size >= mostOpen) throw refused('bad-request', `${mostOpen} requests are open: close some`);
    const stop = start((event) => this.send({ id, event }));
    const ignore = this.guest.run.watchEnd((end, last) => {
      if (overRestarts && !last) return;
      this.open.get(id)?.();
      this.open.delete(id);
      this.send({ id, result: { end } });
    });
    this.open.set(id, () => {
      stop();
      ignore();
    });
  }

  private domain(): { store: DomainStore; disks: DomainDisks; home: string } {
    const control: DomainControl | undefined = this.guest.run.control;
    if (control === undefined) throw starting;
    return { store: control.store, disks: control.disks, home: `/local/domain/${control.domid}` };
  }

  private info(): GuestInfo {
    const { name, vcpus, run, pid } = this.guest;
    const domid = run.control?.domid;
    const memory = run.control?.memory ?? this.guest.memory;
    return {
      name,
      pid,
      ...(domid === undefined ? {} : { domid }),
      memory,
      vcpus,
      state: run.state,
      cpuSeconds: this.guest.cpuSeconds(),
      uptimeSeconds: run.uptime / 1000,
    };
  }
}

interface Refusal {
  readonly refusal: ControlFailure;
}

const refused = (code: string, message: string): Refusal => ({ refusal: { code, message } });
const starting = refused('guest-starting', 'there is no domain to act on yet: wait a moment and try again');
const missing = (path: string): Refusal => refused('store-missing', `${path}: there is no such node in the store`);

function failureOf(error: unknown): ControlFailure {
  if (typeof error === 'object' && error !== null && 'refusal' in error) return (error as Refusal).refusal;
  if (isParavaneError(error)) return { code: error.code, message: error.message };
  return { code: 'host-error', message: `an error inside paravane: ${String(error)}` };
}
