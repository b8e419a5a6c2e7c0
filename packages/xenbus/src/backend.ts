/**
 * The back end's half of xenbus: it offers, waits for the front end, connects to what that names, and lets go when it
 * closes, dies or starts anew (Linux's xenbus and blkback are the model that front ends expect).
 *
 * The front end is not trusted: its state is a claim that may jump; each jump ends in one of our states, and `connect`
 * and `disconnect` of the driver always alternate.
 */
import { XenbusState } from '@paravane/abi-xen';
import type { DeviceStore } from '@paravane/driver-api';
import { parseState, type XenbusStateNumber } from './read.js';

export interface BackendDriver {
  /** Connects to what the front end offers. The result says what is wrong with it; undefined if nothing is. */
  connect(read: (name: string) => string | undefined): string | undefined;
  /** Lets go of everything that `connect` took. Called only after it, also where it failed. */
  disconnect(): void;
}

export interface BackendDeviceOptions {
  readonly store: DeviceStore;
  /** Paths of the back end's and the front end's nodes. */
  readonly back: string;
  readonly front: string;
  /** What the front end may read before it connects: features and limits. */
  readonly offer: () => Readonly<Record<string, string | number>>;
  readonly driver: BackendDriver;
  /** Called when the front end has closed and the toolstack wants the device gone. */
  readonly onRemoved?: () => void;
  readonly log?: (message: string) => void;
}

export interface BackendDevice {
  readonly state: XenbusStateNumber;
  /** Changes nodes that the front end has read already; a connected front end looks at them again. */
  change(nodes: Readonly<Record<string, string | number>>): void;
  /** Gives up on this front end until it starts anew, and says why where it can be read. */
  fail(message: string): void;
  /** The end, as when the front end's domain is gone: lets go and writes no more. Twice is once. */
  close(): void;
}

export function createBackendDevice(options: BackendDeviceOptions): BackendDevice {
  const { store, back, front, offer, driver, log } = options;
  let state: XenbusStateNumber = XenbusState.Initialising;
  let connected = false;
  let closed = false;
  let seen: XenbusStateNumber | undefined;

  // New nodes take the permissions of the device's own node.
  const write = (name: string, value: string | number): void => store.write(`${back}/${name}`, String(value));

  function enter(next: XenbusStateNumber): void {
    if (closed) return;
    state = next;
    write('state', next);
  }
  function disconnect(): void {
    if (!connected) return;
    connected = false;
    driver.disconnect();
  }
  function offerAnew(): void {
    disconnect();
    for (const [name, value] of Object.entries(offer())) write(name, value);
    enter(XenbusState.InitWait);
  }
  function fail(message: string): void {
    if (closed) return;
    log?.(message);
    disconnect();
    const [, domain, rest] = /^\/local\/domain\/([0-9]+)\/(.*)$/.exec(back) ?? [];
    if (rest !== undefined) store.write(`/local/domain/${domain}/error/${rest}/error`, message);
    enter(XenbusState.Closing);
  }
  function connect(): void {
    if (connected) return;
    connected = true;
    const wrong = driver.connect((name) => store.read(`${front}/${name}`));
    // The driver may have come upon the front end's end.
    if (closed) return;
    if (wrong === undefined) enter(XenbusState.Connected);
    else fail(wrong);
  }

  function frontendChanged(): void {
    if (closed) return;
    const claimed = parseState(store.read(`${front}/state`));
    if (claimed === seen) return;
    const before = seen;
    seen = claimed;
    switch (claimed) {
      case XenbusState.Initialising:
        if (before !== undefined) offerAnew();
        return;
      case XenbusState.Initialised:
      case XenbusState.Connected:
        connect();
        return;
      case XenbusState.Closing:
        enter(XenbusState.Closing);
        return;
      case XenbusState.Closed:
        disconnect();
        enter(XenbusState.Closed);
        if (store.read(`${back}/online`) !== '1') options.onRemoved?.();
        return;
      case XenbusState.Unknown:
        disconnect();
        if (store.read(`${back}/state`) !== undefined) enter(XenbusState.Closed);
        return;
      default:
        return;
    }
  }

  store.batch(offerAnew);
  const endWatch = store.watch(`${front}/state`, frontendChanged);

  return {
    get state() {
      return state;
    },
    change(nodes) {
      if (closed) return;
      store.batch(() => {
        for (const [name, value] of Object.entries(nodes)) write(name, value);
        // The same state once more: front ends take it as the sign to look again.
        if (state === XenbusState.Connected) write('state', state);
      });
    },
    fail,
    close() {
      if (closed) return;
      disconnect();
      closed = true;
      state = XenbusState.Closed;
      endWatch();
    },
  };
}
