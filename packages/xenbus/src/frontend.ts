/**
 * The front end's half of xenbus, for tests and for front ends that live in the host. The back end is not trusted
 * either: its state is a claim.
 */
import { XenbusState } from '@paravane/abi-xen';
import type { DeviceStore } from '@paravane/driver-api';
import { parseState, type XenbusStateNumber } from './read.js';

export interface FrontendDriver {
  /** Prepares rings and ports from what the back end offers; the result is written for it to read. */
  setUp(read: (name: string) => string | undefined): Readonly<Record<string, string | number>>;
  /** The back end serves. Called again when it has changed what it offers. */
  connected(read: (name: string) => string | undefined): void;
  /** The back end wants to part, or is gone. */
  closing(): void;
}

export interface FrontendDeviceOptions {
  readonly store: DeviceStore;
  readonly front: string;
  readonly back: string;
  readonly driver: FrontendDriver;
}

export interface FrontendDevice {
  readonly state: XenbusStateNumber;
  /** Parts from the back end; `restart` may follow. */
  close(): void;
  /** Begins anew, as after a restart of the front end's kernel. */
  restart(): void;
  /** Stops watching, and leaves everything as it is. */
  abandon(): void;
}

export function createFrontendDevice({ store, front, back, driver }: FrontendDeviceOptions): FrontendDevice {
  let state: XenbusStateNumber = XenbusState.Initialising;
  const read = (name: string): string | undefined => store.read(`${back}/${name}`);
  const enter = (next: XenbusStateNumber): void => {
    state = next;
    store.write(`${front}/state`, String(next));
  };

  function backendChanged(): void {
    switch (parseState(read('state'))) {
      case XenbusState.InitWait:
        if (state !== XenbusState.Initialising) return;
        store.batch(() => {
          for (const [name, value] of Object.entries(driver.setUp(read)))
            store.write(`${front}/${name}`, String(value));
          enter(XenbusState.Initialised);
        });
        return;
      case XenbusState.Connected:
        if (state !== XenbusState.Initialised && state !== XenbusState.Connected) return;
        driver.connected(read);
        if (state === XenbusState.Initialised) enter(XenbusState.Connected);
        return;
      case XenbusState.Closing:
      case XenbusState.Closed:
      case XenbusState.Unknown:
        if (state !== XenbusState.Initialised && state !== XenbusState.Connected) return;
        driver.closing();
        enter(XenbusState.Closed);
        return;
      default:
        return;
    }
  }

  const abandon = store.watch(`${back}/state`, backendChanged);
  return {
    get state() {
      return state;
    },
    close() {
      if (state === XenbusState.Closed) return;
      enter(XenbusState.Closing);
      driver.closing();
      enter(XenbusState.Closed);
    },
    restart() {
      enter(XenbusState.Initialising);
      backendChanged();
    },
    abandon,
  };
}
