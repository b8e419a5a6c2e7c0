/**
 * What every `Peer` has to do, as cases for any test runner: `for (const { name, run } of peerConformance(setUp))
 * it(name, run)`. A case throws where the peer falls short.
 */
import type { MappedPage, Peer } from './peer.js';

/** A peer and its guest's side, made anew for each case. */
export interface PeerUnderTest {
  readonly peer: Peer;
  /** The guest grants a page of its own. */
  grant(access: 'read' | 'write'): { readonly ref: number; bytes(): Uint8Array };
  /** The guest takes a grant back; false where it can't because the page is in use. */
  revoke(ref: number): boolean;
  /** The guest leaves a port unbound for the back end. */
  allocatePort(): number;
  /** The guest raises an event on its port, and all that follows from it happens. */
  send(port: number): void;
  /** Events that have reached the guest on its port. */
  received(port: number): number;
  /** The guest dies. */
  destroy(): void;
  /** Frames of the guest that are not free: counts what is left behind. */
  framesHeld(): number;
}

export interface PeerCase {
  readonly name: string;
  run(): void;
}

function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`the peer falls short: ${what}`);
}

function mapped(answer: MappedPage | number): MappedPage {
  must(typeof answer !== 'number', `a granted page could not be mapped (${String(answer)})`);
  return answer;
}

const refused = (answer: unknown): boolean => typeof answer === 'number' && answer < 0;

export function peerConformance(setUp: () => PeerUnderTest): readonly PeerCase[] {
  const cases: PeerCase[] = [];
  const add = (name: string, body: (test: PeerUnderTest) => void): void =>
    void cases.push({ name, run: () => body(setUp()) });

  add('shows the same bytes to both sides', ({ peer, grant }) => {
    const { ref, bytes } = grant('write');
    const page = mapped(peer.map(ref, 'write'));
    must(page.bytes().length === 4096, 'a page has 4096 bytes');
    page.bytes()[17] = 0x5a;
    must(bytes()[17] === 0x5a, 'the guest does not see what was written');
    bytes()[4095] = 0xa5;
    must(page.bytes()[4095] === 0xa5, 'the back end does not see what the guest wrote');
    page.unmap();
    page.unmap();
  });

  add('refuses to write where reading was granted', ({ peer, grant }) => {
    const { ref } = grant('read');
    must(refused(peer.map(ref, 'write')), 'a read-only grant was mapped for writing');
    must(peer.copyTo(ref, 0, Uint8Array.of(1)) < 0, 'a read-only grant was copied to');
    mapped(peer.map(ref, 'read')).unmap();
  });

  add('refuses references that were not granted', ({ peer, grant, revoke }) => {
    for (const ref of [9, 511, 512, 1 << 20, 0xffffffff]) {
      must(refused(peer.map(ref, 'read')), `reference ${ref} was mapped`);
      must(refused(peer.copyFrom(ref, 0, 1)), `reference ${ref} was read`);
      must(peer.copyTo(ref, 0, Uint8Array.of(1)) < 0, `reference ${ref} was written`);
    }
    const { ref } = grant('write');
    must(revoke(ref), 'a grant that is not in use could not be taken back');
    must(refused(peer.map(ref, 'read')), 'a revoked grant was mapped');
  });

  add('keeps a mapped grant from being revoked, and lets it go after', ({ peer, grant, revoke }) => {
    const { ref } = grant('write');
    const [one, two] = [mapped(peer.map(ref, 'write')), mapped(peer.map(ref, 'read'))];
    one.unmap();
    must(!revoke(ref), 'a grant was revoked while it was mapped');
    two.unmap();
    must(revoke(ref), 'a grant stayed in use after the last unmap');
  });

  add('copies within the page and refuses beyond it', ({ peer, grant }) => {
    const { ref, bytes } = grant('write');
    must(peer.copyTo(ref, 4090, Uint8Array.of(1, 2, 3, 4, 5, 6)) === 0, 'a copy to the end of the page failed');
    must(bytes()[4095] === 6, 'a copy did not arrive');
    const copy = peer.copyFrom(ref, 4094, 2);
    must(typeof copy !== 'number' && copy[0] === 5 && copy[1] === 6, 'a copy brought other bytes');
    bytes()[4094] = 9;
    must(copy[0] === 5, 'a copy changed with the page');
    must(refused(peer.copyFrom(ref, 4095, 2)), 'a copy reached beyond the page');
    must(peer.copyTo(ref, 4095, Uint8Array.of(1, 2)) < 0, 'a copy wrote beyond the page');
  });

  add('binds a port once, and carries events both ways', ({ peer, allocatePort, send, received }) => {
    const port = allocatePort();
    let events = 0;
    const bound = peer.bind(port, () => void events++);
    must(bound !== undefined, 'a port left for us could not be bound');
    must(peer.bind(port, () => undefined) === undefined, 'a port was bound twice');
    must(peer.bind(0, () => undefined) === undefined, 'port 0 was bound');
    must(peer.bind(0xffffffff, () => undefined) === undefined, 'a port that cannot be was bound');
    send(port);
    const before = events;
    must(before >= 1, 'no event came');
    send(port);
    must(events === before + 1, 'the second event did not come');
    bound.notify();
    must(received(port) === 1, 'our event did not reach the guest');
    bound.close();
    bound.close();
    send(port);
    must(events === before + 1, 'an event came after the port was closed');
  });

  add('tells of the end once, and refuses everything after it', ({ peer, grant, allocatePort, destroy }) => {
    const { ref } = grant('write');
    const port = allocatePort();
    const told: string[] = [];
    peer.onGone(() => void told.push('first'));
    peer.onGone(() => void told.push('taken back'))();
    must(!peer.gone && told.length === 0, 'the end came too early');
    destroy();
    must(peer.gone && told.join() === 'first', 'the end was not told once to those who listen');
    peer.onGone(() => void told.push('late'));
    must(told.join() === 'first,late', 'who listens late was not told');
    must(refused(peer.map(ref, 'read')), 'a page of the dead was mapped');
    must(refused(peer.copyFrom(ref, 0, 1)), 'a page of the dead was read');
    must(peer.copyTo(ref, 0, Uint8Array.of(1)) < 0, 'a page of the dead was written');
    must(peer.bind(port, () => undefined) === undefined, 'a port of the dead was bound');
  });

  add('keeps pinned pages over the end of the peer, and leaves nothing behind', (test) => {
    const { peer, grant, destroy, framesHeld } = test;
    const page = mapped(peer.map(grant('write').ref, 'write'));
    const pinned = page.pin();
    const other = mapped(peer.map(grant('write').ref, 'write'));
    destroy();
    pinned.fill(7);
    page.unmap();
    must(framesHeld() === 2, 'a frame was freed under a pin or a mapping, or others stayed');
    must(pinned[4095] === 7, 'a pinned page lost its bytes');
    page.unpin();
    other.unmap();
    must(framesHeld() === 0, 'frames stay when the last pin and mapping are gone');
  });

  return cases;
}

export { createMemoryPeer, type MemoryPeer } from './memory-peer.js';
