/**
 * What the toolstack writes into the store for the host and for a new domain: docs/misc/xenstore-paths.pandoc. The
 * domain may read most of what is about it, and owns the nodes that it is to write.
 */
import type { Xenstore } from './store.js';

export interface DomainDescription {
  readonly domid: number;
  readonly name: string;
  /** As in `359a85cd-0c7a-4499-92ea-8e53d8bdfec7`. */
  readonly uuid: string;
  readonly memoryKiB: number;
  /** As much as memoryKiB if not given. */
  readonly maxMemoryKiB?: number;
  readonly vcpus: number;
  readonly consolePort: number;
  /** Frame of the console page: an MFN for a PV guest, a PFN for any other. */
  readonly consoleRingRef: number;
  readonly storePort: number;
  /** Frame of the store's page. */
  readonly storeRingRef: number;
  /** `linux` if not given. */
  readonly osType?: string;
  /** Kernel, ramdisk and command line, for those who ask. */
  readonly image?: Readonly<Record<string, string>>;
  /** Where the console can be reached on the host. */
  readonly tty?: string;
}

/** The nodes that exist before any domain does. */
export function populateHost(store: Xenstore): void {
  store.batch(() => {
    store.mkdir('/tool/xenstored');
    store.write('/local/domain/0/domid', '0');
    store.write('/local/domain/0/name', 'Domain-0');
    for (const feature of ['poweroff', 'reboot', 'suspend']) {
      store.write(`/local/domain/0/control/feature-${feature}`, '1');
    }
    store.mkdir('/local/domain/0/backend');
    store.write('/local/pool/0/name', 'Pool-0');
    store.mkdir('/vm');
    store.mkdir('/libxl');
  });
}

/** The nodes of one domain, without its devices; watches hear of them when all are there. */
export function populateDomain(store: Xenstore, domain: DomainDescription): void {
  const { domid, uuid } = domain;
  const home = `/local/domain/${domid}`;
  const readable = ['n0', `r${domid}`];
  const owned = [`n${domid}`];
  const ownedAndRead = [`n${domid}`, 'r0'];
  const writeAll = (base: string, values: Readonly<Record<string, string | number>>, permissions: string[]) => {
    for (const [name, value] of Object.entries(values)) store.write(`${base}/${name}`, String(value), permissions);
  };

  store.batch(() => {
    const vm = `/vm/${uuid}`;
    store.mkdir(vm, readable);
    writeAll(vm, { name: domain.name, uuid }, readable);
    store.mkdir(`${vm}/image`, readable);
    writeAll(`${vm}/image`, { ostype: domain.osType ?? 'linux', ...domain.image }, readable);

    store.mkdir(home, readable);
    writeAll(home, { vm, name: domain.name }, readable);
    store.mkdir(`${home}/cpu`, readable);
    for (let vcpu = 0; vcpu < domain.vcpus; vcpu++) {
      store.mkdir(`${home}/cpu/${vcpu}`, readable);
      writeAll(`${home}/cpu/${vcpu}`, { availability: 'online' }, readable);
    }
    store.mkdir(`${home}/memory`, readable);
    const maximum = domain.maxMemoryKiB ?? domain.memoryKiB;
    writeAll(`${home}/memory`, { 'static-max': maximum, target: domain.memoryKiB, videoram: 0 }, readable);
    store.mkdir(`${home}/device`, readable);
    store.mkdir(`${home}/device/suspend`, readable);
    store.mkdir(`${home}/device/suspend/event-channel`, owned);
    store.mkdir(`${home}/control`, readable);
    for (const name of ['shutdown', 'feature-poweroff', 'feature-reboot', 'feature-suspend', 'sysrq']) {
      store.mkdir(`${home}/control/${name}`, owned);
    }
    const platform = { 'platform-feature-multiprocessor-suspend': 1, 'platform-feature-xs_reset_watches': 1 };
    writeAll(`${home}/control`, platform, readable);
    for (const name of ['data', 'drivers', 'feature', 'attr', 'error']) store.mkdir(`${home}/${name}`, owned);
    writeAll(home, { domid }, readable);
    store.mkdir(`${home}/store`, readable);
    writeAll(`${home}/store`, { port: domain.storePort, 'ring-ref': domain.storeRingRef }, readable);
    populateConsole(store, domain, { home, readable, ownedAndRead, writeAll });
  });
}

interface ConsoleContext {
  readonly home: string;
  readonly readable: string[];
  readonly ownedAndRead: string[];
  writeAll(base: string, values: Readonly<Record<string, string | number>>, permissions: string[]): void;
}

function populateConsole(store: Xenstore, domain: DomainDescription, context: ConsoleContext): void {
  const { home, readable, ownedAndRead, writeAll } = context;
  const back = `/local/domain/0/backend/console/${domain.domid}/0`;
  store.mkdir(back, readable);
  const backNodes = {
    frontend: `${home}/console`,
    'frontend-id': domain.domid,
    online: 1,
    state: 1,
    protocol: 'vt100',
  };
  writeAll(back, backNodes, readable);
  store.mkdir(`${home}/console`, readable);
  writeAll(`${home}/console`, { backend: back }, readable);
  writeAll(`${home}/console`, { 'backend-id': 0 }, ownedAndRead);
  const front = { limit: 1_048_576, type: 'xenconsoled', output: 'pty', ...(domain.tty ? { tty: domain.tty } : {}) };
  writeAll(`${home}/console`, front, readable);
  writeAll(`${home}/console`, { port: domain.consolePort, 'ring-ref': domain.consoleRingRef }, readable);
}

/** Removes all nodes that are about a domain, its devices' included. */
export function depopulateDomain(store: Xenstore, domid: number): void {
  store.batch(() => {
    const vm = store.read(`/local/domain/${domid}/vm`);
    if (vm?.startsWith('/vm/') && store.ls(vm)) store.rm(vm);
    for (const type of store.ls('/local/domain/0/backend') ?? []) store.rm(`/local/domain/0/backend/${type}/${domid}`);
    store.rm(`/local/domain/${domid}`);
  });
}
