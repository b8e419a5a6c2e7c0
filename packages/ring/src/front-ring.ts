/** The front end's side of a shared ring: for tests, and for whoever asks a back end from the host. */
import { RING } from '@paravane/abi-xen';
import { copyRing, type RingPages, readIndex, ringCapacity, writeIndex } from './ring-memory.js';

export interface FrontRing {
  readonly entries: number;
  /** Entries that can be filled now. */
  readonly free: number;
  /** Puts a request in, still unpublished; `write` gets the entry, zeroed. False when the ring is full. */
  put(write: (entry: DataView) => void): boolean;
  /** Publishes the requests. True if the back end wants to hear of it. */
  publish(): boolean;
  /** The next response, copied; undefined when there is none. */
  take(): DataView | undefined;
  /** Asks for an event with the next response. True if one has come meanwhile. */
  rest(): boolean;
}

/** Makes the pages into an empty ring. */
export function createFrontRing(pages: RingPages, pageCount: number, entryBytes: number): FrontRing {
  const entries = ringCapacity(entryBytes, pageCount);
  const place = (index: number): number => RING.entries + (index & (entries - 1)) * entryBytes;
  const memory = (): readonly Uint8Array[] => pages() ?? [];
  let produced = 0;
  let published = 0;
  let consumed = 0;
  for (const page of memory()) page.fill(0);
  writeIndex(memory(), RING.req_event, 1);
  writeIndex(memory(), RING.rsp_event, 1);

  const waiting = (): boolean => {
    const claimedProducer = readIndex(memory(), RING.rsp_prod);
    return claimedProducer !== consumed && (claimedProducer - consumed) >>> 0 <= (published - consumed) >>> 0;
  };
  return {
    entries,
    get free() {
      return entries - ((produced - consumed) >>> 0);
    },
    put(write) {
      if ((produced - consumed) >>> 0 >= entries) return false;
      const entry = new Uint8Array(entryBytes);
      write(new DataView(entry.buffer));
      copyRing(memory(), place(produced), entry, true);
      produced = (produced + 1) >>> 0;
      return true;
    },
    publish() {
      if (produced === published) return false;
      const old = published;
      published = produced;
      writeIndex(memory(), RING.req_prod, produced);
      return (produced - readIndex(memory(), RING.req_event)) >>> 0 < (produced - old) >>> 0;
    },
    take() {
      if (!waiting()) return undefined;
      const entry = new Uint8Array(entryBytes);
      copyRing(memory(), place(consumed), entry, false);
      consumed = (consumed + 1) >>> 0;
      return new DataView(entry.buffer);
    },
    rest() {
      if (waiting()) return true;
      writeIndex(memory(), RING.rsp_event, consumed + 1);
      return waiting();
    },
  };
}
