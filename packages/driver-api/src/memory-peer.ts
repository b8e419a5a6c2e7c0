/** A guest made of plain memory: the peer that back ends are tested with where there is no CPU. */
import { driverApiVersion, GrantStatus, type MappedPage, type Peer } from './peer.js';

interface Page {
  readonly bytes: Uint8Array;
  /** Mappings and pins. */
  uses: number;
}

export interface MemoryPeer {
  readonly peer: Peer;
  /** Grants a new page. */
  grant(access: 'read' | 'write'): { readonly ref: number; bytes(): Uint8Array };
  /** Takes a grant back; false where its page is in use. */
  revoke(ref: number): boolean;
  allocatePort(): number;
  /** Raises an event; what the back end does about it is done when this returns. */
  send(port: number): void;
  /** Lets the back end do what is still to do about events. */
  settle(): void;
  /** Events that have reached the guest on its port. */
  received(port: number): number;
  destroy(): void;
  /** Pages that are not free. */
  framesHeld(): number;
  /** Mappings and pins that the back end has not given back. */
  uses(): number;
  /** Ports that the back end holds. */
  portsHeld(): number;
}

interface PortState {
  received: number;
  bound: (() => void) | undefined;
  pending: boolean;
}

/** @param mostPages pages that can be granted in all */
export function createMemoryPeer(mostPages = 2048): MemoryPeer {
  const domid = 1;
  const grants = new Map<number, { page: Page; access: 'read' | 'write'; mapped: number }>();
  const pages = new Set<Page>();
  const ports = new Map<number, PortState>();
  const listeners = new Set<() => void>();
  // One block of memory, as a guest's is: pages that follow each other are next to each other.
  const memory = new Uint8Array(4096 * mostPages);
  let lastRef = 7;
  let lastPort = 0;
  let gone = false;

  function granted(ref: number, write: boolean) {
    if (gone) return GrantStatus.bad_domain;
    const grant = grants.get(ref);
    if (!grant || (write && grant.access === 'read')) return GrantStatus.general_error;
    return grant;
  }
  function free(page: Page): void {
    if (gone && page.uses === 0) pages.delete(page);
  }
  function map(ref: number, write: boolean): MappedPage | number {
    const grant = granted(ref, write);
    if (typeof grant === 'number') return grant;
    const { page } = grant;
    let mapped = true;
    page.uses++;
    grant.mapped++;
    return {
      bytes: () => page.bytes,
      pin() {
        page.uses++;
        return page.bytes;
      },
      unpin() {
        page.uses--;
        free(page);
      },
      unmap() {
        if (!mapped) return;
        mapped = false;
        page.uses--;
        grant.mapped--;
        free(page);
      },
    };
  }
  const fits = (offset: number, length: number): boolean => offset >= 0 && offset + length <= 4096;

  function settle(): void {
    for (let more = true; more; ) {
      more = false;
      for (const port of ports.values()) {
        if (!port.pending || !port.bound) continue;
        port.pending = false;
        more = true;
        port.bound();
      }
    }
  }

  const peer: Peer = {
    apiVersion: driverApiVersion,
    domid,
    get gone() {
      return gone;
    },
    onGone(listener) {
      if (gone) listener();
      else listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    map: (ref, access) => map(ref, access === 'write'),
    copyFrom(ref, offset, length) {
      const grant = granted(ref, false);
      if (typeof grant === 'number') return grant;
      return fits(offset, length) ? grant.page.bytes.slice(offset, offset + length) : GrantStatus.bad_copy_arg;
    },
    copyTo(ref, offset, bytes) {
      const grant = granted(ref, true);
      if (typeof grant === 'number') return grant;
      if (!fits(offset, bytes.length)) return GrantStatus.bad_copy_arg;
      grant.page.bytes.set(bytes, offset);
      return GrantStatus.okay;
    },
    bind(claimedPort, onEvent) {
      const port = gone ? undefined : ports.get(claimedPort);
      if (!port || port.bound) return undefined;
      port.bound = onEvent;
      port.pending = true;
      return {
        notify() {
          if (port.bound === onEvent) port.received++;
        },
        close() {
          if (port.bound === onEvent) port.bound = undefined;
        },
      };
    },
  };

  return {
    peer,
    grant(access) {
      const ref = ++lastRef;
      const at = pages.size * 4096;
      const page: Page = { bytes: memory.subarray(at, at + 4096), uses: 0 };
      pages.add(page);
      grants.set(ref, { page, access, mapped: 0 });
      return { ref, bytes: () => page.bytes };
    },
    revoke(ref) {
      const grant = grants.get(ref);
      if (!grant || grant.mapped > 0) return false;
      return grants.delete(ref);
    },
    allocatePort() {
      ports.set(++lastPort, { received: 0, bound: undefined, pending: false });
      return lastPort;
    },
    send(port) {
      const state = ports.get(port);
      if (state?.bound) state.pending = true;
      settle();
    },
    settle,
    received: (port) => ports.get(port)?.received ?? 0,
    destroy() {
      gone = true;
      const told = [...listeners];
      listeners.clear();
      for (const listener of told) listener();
      for (const port of ports.values()) port.bound = undefined;
      for (const page of [...pages]) free(page);
    },
    framesHeld: () => pages.size,
    uses: () => [...pages].reduce((sum, page) => sum + page.uses, 0),
    portsHeld: () => [...ports.values()].filter(({ bound }) => bound !== undefined).length,
  };
}
