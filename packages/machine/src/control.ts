/**
 * A domain's ends of the host's commands: its store, and whether its vCPUs run. Changes of the store enter through the
 * inbox, stamped like all input, so a recorded run repeats them. A paused domain stays at the instruction it came to:
 * virtual time stands still; wall time goes on, and is stolen from the vCPUs that wanted to run.
 *
 * Trusts the caller; what a path may be is the store's to say.
 */
import type { Hypervisor } from '@paravane/hypervisor';
import type { BootRequest, DomainControl, DomainDisks } from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';
import type { PvDomain } from '@paravane/xen';
import type { Xenstore } from '@paravane/xenstore';

const SOURCE = 'store';
const PAGES_PER_MIB = 256;
/** Parts of a change as it passes the inbox: what to do, the path, and the value. */
const SEPARATOR = '\0';
const WRITE = 'write';
const REMOVE = 'remove';

export interface OwnedControl extends DomainControl {
  readonly paused: boolean;
  /** The domain is gone: changes that were not made never will be. */
  close(): void;
}

export interface ControlSetup {
  readonly hypervisor: Hypervisor;
  readonly store: Xenstore;
  readonly guest: PvDomain;
  readonly request: BootRequest;
  readonly disks: DomainDisks;
}

interface Asked {
  resolve(): void;
  reject(error: unknown): void;
}

export function createDomainControl({ hypervisor, store, guest, request, disks }: ControlSetup): OwnedControl {
  const { inbox } = hypervisor;
  const { domain } = guest;
  /** Those who wait for their changes, in the order of the inbox. */
  const waiting: Asked[] = [];
  let release: (() => void) | undefined;
  let closed = false;

  inbox.source(SOURCE, (data) => {
    let text = '';
    for (const byte of data) text += String.fromCharCode(byte);
    const [what = '', path = '', ...value] = text.split(SEPARATOR);
    const asked = waiting.shift();
    try {
      if (what === REMOVE) store.rm(path);
      else store.write(path, value.join(SEPARATOR));
      asked?.resolve();
    } catch (error) {
      asked?.reject(error);
    }
  });

  function change(...parts: string[]): Promise<void> {
    if (closed) return Promise.reject(gone());
    const text = parts.join(SEPARATOR);
    return new Promise((resolve, reject) => {
      waiting.push({ resolve, reject });
      inbox.post(
        SOURCE,
        Uint8Array.from(text, (character) => character.charCodeAt(0)),
      );
      request.wake?.();
    });
  }

  return {
    domid: domain.id,
    get memory() {
      return Math.round(guest.xen.totPages / PAGES_PER_MIB);
    },
    store: {
      read: (path) => store.read(path),
      entries: (path) => store.entries(path),
      write: (path, value) => change(WRITE, path, value),
      remove: (path) => change(REMOVE, path),
      watch: (path, onChange) => store.watch(path, onChange),
    },
    disks,
    get paused() {
      return release !== undefined;
    },
    pause() {
      if (closed || release !== undefined) return;
      domain.pause();
      release = hypervisor.holdIdle();
    },
    unpause() {
      if (release === undefined) return;
      release();
      release = undefined;
      domain.unpause();
    },
    close() {
      closed = true;
      for (const asked of waiting.splice(0)) asked.reject(gone());
    },
  };
}

function gone(): ParavaneError {
  return new ParavaneError('guest-ended', 'the guest has ended before the change was made; start it again');
}
