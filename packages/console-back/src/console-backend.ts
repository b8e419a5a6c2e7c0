/**
 * The PV console's back end: public/io/console.h, `struct xencons_interface`. The guest writes what it says into the
 * `out` ring and reads what is typed from the `in` ring.
 *
 * The guest can write the whole page at any time. Its indices are claims: each is read once per kick, and a pair that
 * cannot be is taken as nothing to do (the next kick looks again), so that a guest which sets its page up late, or
 * anew after a reboot of its kernel, comes back by itself. A kick moves at most one ring's worth of bytes each way.
 */
import { XENCONS, XENCONS_IN_SIZE, XENCONS_OUT_SIZE } from '@paravane/abi-xen';

/** A page shared with a peer that is not trusted. */
export interface SharedPage {
  /** The page's 4096 bytes as they can be reached now; undefined when the page is gone. Asked again at each use. */
  bytes(): Uint8Array | undefined;
}

export interface ConsoleBackendOptions {
  readonly page: SharedPage;
  /** Sends the event that tells the guest that an index has moved. */
  readonly notify: () => void;
  /** What the guest said; the bytes are the callee's to keep. */
  readonly onOutput: (bytes: Uint8Array) => void;
  /** Called when queued input has all gone into the page. */
  readonly onInputDrained?: () => void;
  /** Bytes of input that may wait for the guest; 64 KiB if not given. */
  readonly inputLimit?: number;
}

export interface ConsoleBackend {
  /** Serves the page; to be called when the guest's event arrives. */
  kick(): void;
  /** Queues what is typed; the result is how many of the bytes were taken, fewer when the guest does not read. */
  input(bytes: Uint8Array): number;
  /** Bytes of input that wait for the guest. */
  readonly queued: number;
  /** Whether the last indices that were seen cannot be. */
  readonly broken: boolean;
  /** Forgets queued input. */
  reset(): void;
}

const DEFAULT_INPUT_LIMIT = 65_536;

interface Indices {
  readonly consumer: number;
  readonly producer: number;
  readonly filled: number;
}

/** A pair of indices; undefined if no ring of `size` bytes can be between them. */
function indices(words: DataView, consumerAt: number, producerAt: number, size: number): Indices | undefined {
  const consumer = words.getUint32(consumerAt, true);
  const producer = words.getUint32(producerAt, true);
  const claimedFilled = (producer - consumer) >>> 0;
  return claimedFilled <= size ? { consumer, producer, filled: claimedFilled } : undefined;
}

export function createConsoleBackend(options: ConsoleBackendOptions): ConsoleBackend {
  const { page, notify, onOutput, onInputDrained } = options;
  const queue = new Uint8Array(options.inputLimit ?? DEFAULT_INPUT_LIMIT);
  let queued = 0;
  let broken = false;

  function takeOutput(bytes: Uint8Array, words: DataView): Uint8Array | undefined {
    const out = indices(words, XENCONS.out_cons, XENCONS.out_prod, XENCONS_OUT_SIZE);
    if (!out) broken = true;
    if (!out?.filled) return undefined;
    const ring = bytes.subarray(XENCONS.out, XENCONS.out + XENCONS_OUT_SIZE);
    const start = out.consumer % XENCONS_OUT_SIZE;
    const said = new Uint8Array(out.filled);
    said.set(ring.subarray(start, start + out.filled));
    const head = Math.min(out.filled, XENCONS_OUT_SIZE - start);
    said.set(ring.subarray(0, out.filled - head), head);
    words.setUint32(XENCONS.out_cons, out.producer, true);
    return said;
  }

  function putInput(bytes: Uint8Array, words: DataView): boolean {
    if (queued === 0) return false;
    const typed = indices(words, XENCONS.in_cons, XENCONS.in_prod, XENCONS_IN_SIZE);
    if (!typed) broken = true;
    if (!typed || typed.filled === XENCONS_IN_SIZE) return false;
    const ring = bytes.subarray(XENCONS.in, XENCONS.in + XENCONS_IN_SIZE);
    const count = Math.min(queued, XENCONS_IN_SIZE - typed.filled);
    const start = typed.producer % XENCONS_IN_SIZE;
    const head = Math.min(count, XENCONS_IN_SIZE - start);
    ring.set(queue.subarray(0, head), start);
    ring.set(queue.subarray(head, count), 0);
    words.setUint32(XENCONS.in_prod, typed.producer + count, true);
    queue.copyWithin(0, count, queued);
    queued -= count;
    return true;
  }

  function serve(): void {
    const bytes = page.bytes();
    if (!bytes) return;
    broken = false;
    const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const said = takeOutput(bytes, words);
    const put = putInput(bytes, words);
    if (said || put) notify();
    // Last, since the callee may call back.
    if (said) onOutput(said);
    if (put && queued === 0) onInputDrained?.();
  }

  return {
    kick: serve,
    input(bytes) {
      const taken = Math.min(bytes.length, queue.length - queued);
      queue.set(bytes.subarray(0, taken), queued);
      queued += taken;
      serve();
      return taken;
    },
    get queued() {
      return queued;
    },
    get broken() {
      return broken;
    },
    reset() {
      queued = 0;
    },
  };
}
