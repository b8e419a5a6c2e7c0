/**
 * A further console of a guest, on the rules of xenbus: the front end grants a page and names an event channel
 * (`ring-ref` and `port`; Linux's hvc_xen is the model). Everything that the front end writes is a claim.
 */
import type { DeviceStore, EventPort, MappedPage, Peer } from '@paravane/driver-api';
import { type BackendDevice, createBackendDevice, readNumber } from '@paravane/xenbus';
import { type ConsoleBackend, createConsoleBackend } from './console-backend.js';

export interface ConsoleDeviceOptions {
  readonly store: DeviceStore;
  /** Paths of the device's two sets of nodes, which are there. */
  readonly back: string;
  readonly front: string;
  readonly peer: Peer;
  /** What the guest said; the bytes are the callee's to keep. */
  readonly onOutput: (bytes: Uint8Array) => void;
  /** `input` takes bytes again: the guest has connected, or has read all. */
  readonly onInputDrained?: () => void;
  readonly log?: (message: string) => void;
}

export interface ConsoleDevice {
  readonly device: BackendDevice;
  /** Queues what is typed: how many of the bytes were taken; none while the guest is not connected. */
  input(bytes: Uint8Array): number;
  close(): void;
}

const MOST = 0xffffffff;

interface Connection {
  readonly page: MappedPage;
  readonly backend: ConsoleBackend;
  port?: EventPort;
}

export function createConsoleDevice(options: ConsoleDeviceOptions): ConsoleDevice {
  const { store, back, front, peer, onOutput, onInputDrained } = options;
  let connection: Connection | undefined;

  function connect(read: (name: string) => string | undefined): string | undefined {
    const [ref, claimedPort] = ['ring-ref', 'port'].map((name) => readNumber(read(name), MOST));
    if (ref === undefined || claimedPort === undefined) return 'ring-ref and port are not both there';
    const page = peer.map(ref, 'write');
    if (typeof page === 'number') return `the page of ring-ref ${ref} cannot be mapped (status ${page})`;
    const backend = createConsoleBackend({
      page: { bytes: () => page.bytes() },
      notify: () => connection?.port?.notify(),
      onOutput,
      ...(onInputDrained === undefined ? {} : { onInputDrained }),
    });
    connection = { page, backend };
    const port = peer.bind(claimedPort, () => connection?.backend.kick());
    if (port === undefined) return `event channel ${claimedPort} is not left for us`;
    connection.port = port;
    onInputDrained?.();
    return undefined;
  }

  function disconnect(): void {
    connection?.port?.close();
    connection?.page.unmap();
    connection = undefined;
  }

  const device = createBackendDevice({
    store,
    back,
    front,
    offer: () => ({}),
    driver: { connect, disconnect },
    ...(options.log === undefined ? {} : { log: options.log }),
  });
  const stopListening = peer.onGone(() => device.close());
  return {
    device,
    input: (bytes) => connection?.backend.input(bytes) ?? 0,
    close() {
      stopListening();
      device.close();
    },
  };
}
