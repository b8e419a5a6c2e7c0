/** A front end without a CPU: a store, a peer made of memory, rings, and an image that answers when it is told to. */
import { createHostWork } from '@paravane/driver-api';
import { createMemoryPeer, type MemoryPeer } from '@paravane/driver-api/conformance';
import { type Buffers, byteLength, type DiskImage, imageApiVersion, imageError } from '@paravane/image-api';
import { createFrontRing, type FrontRing } from '@paravane/ring';
import { addDevice, createFrontendDevice, type FrontendDevice } from '@paravane/xenbus';
import { createXenstore, type Xenstore } from '@paravane/xenstore';
import { type BlockBackend, type BlockBackendOptions, createBlockBackend } from '../backend.js';
import { type BlockRequest, ENTRY_BYTES, encodeRequest, type Protocol, readResponse } from '../layout.js';

export interface TestImage extends DiskImage {
  readonly bytes: Uint8Array;
  /** What it was asked, such as `write 0+4096`. */
  readonly calls: string[];
  /** Later answers: each call waits for `answer`. */
  later: boolean;
  /** Whether a call fails, by what it was asked. */
  fails(call: string): boolean;
  /** Answers the waiting call of this index, in the order in which they were asked. */
  answer(index?: number): void;
  readonly waiting: number;
}

export function createTestImage(
  options: { sectors?: number; blockSize?: number; readOnly?: boolean; noDiscard?: boolean } = {},
): TestImage {
  const { sectors = 4096, blockSize = 512, readOnly = false } = options;
  let bytes = new Uint8Array(sectors * 512);
  const calls: string[] = [];
  const waiting: (() => void)[] = [];
  const list = (buffers: Buffers): readonly Uint8Array[] => (buffers instanceof Uint8Array ? [buffers] : buffers);

  function act(call: string, body: () => void): void | Promise<void> {
    calls.push(call);
    const run = (): void => {
      if (image.fails(call)) throw imageError('io', `the host cannot ${call}`);
      body();
    };
    if (!image.later) return run();
    return new Promise((resolve, reject) => {
      waiting.push(() => {
        try {
          run();
          resolve();
        } catch (error) {
          reject(error as Error);
        }
      });
    });
  }
  const image: TestImage = {
    apiVersion: imageApiVersion,
    format: 'test',
    get bytes() {
      return bytes;
    },
    calls,
    later: false,
    fails: () => false,
    get size() {
      return bytes.length;
    },
    readOnly,
    logicalBlockSize: blockSize,
    read: (offset, into) =>
      act(`read ${offset}+${byteLength(into)}`, () => {
        let at = offset;
        for (const part of list(into)) {
          part.set(bytes.subarray(at, at + part.length));
          at += part.length;
        }
      }),
    write: (offset, from) =>
      act(`write ${offset}+${byteLength(from)}`, () => {
        let at = offset;
        for (const part of list(from)) {
          bytes.set(part, at);
          at += part.length;
        }
      }),
    flush: () => act('flush', () => undefined),
    ...(options.noDiscard
      ? {}
      : {
          discard: (offset: number, length: number, { secure = false } = {}) =>
            act(
              `discard ${offset}+${length}${secure ? ' securely' : ''}`,
              () => void bytes.fill(0, offset, offset + length),
            ),
        }),
    resize(size) {
      const next = new Uint8Array(size);
      next.set(bytes.subarray(0, size));
      bytes = next;
    },
    close: () => undefined,
    answer: (index = 0) => waiting.splice(index, 1)[0]?.(),
    get waiting() {
      return waiting.length;
    },
  };
  new Uint32Array(bytes.buffer).forEach((_, index, words) => (words[index] = index * 2654435761));
  return image;
}

export interface FrontOptions extends Partial<Omit<BlockBackendOptions, 'store' | 'back' | 'front' | 'peer' | 'work'>> {
  readonly protocol?: Protocol;
  readonly ringPages?: number;
  readonly rings?: number;
  readonly frontPersistent?: boolean;
  /** Nodes in place of those that the front end would write. */
  readonly nodes?: Readonly<Record<string, string | number>>;
  /** Pages that the guest can grant in all. */
  readonly mostPages?: number;
  /** Names the pages as older front ends do. */
  readonly numRingPages?: boolean;
  /** The machine tells when the guest has nothing to do: at `idle`. */
  readonly gathers?: boolean;
}

export interface Response {
  readonly id: number;
  readonly operation: number;
  readonly status: number;
}

export interface ScriptedFront {
  readonly store: Xenstore;
  readonly back: string;
  readonly front: string;
  readonly guest: MemoryPeer;
  readonly image: TestImage;
  readonly backend: BlockBackend;
  readonly device: FrontendDevice;
  readonly log: string[];
  readonly rings: readonly FrontRing[];
  readonly ports: readonly number[];
  readonly ringBytes: readonly (() => Uint8Array)[];
  /** What the back end offered when it was read last. */
  readonly heard: Record<string, string | undefined>;
  /** Puts requests into a ring, publishes them together, sends the event. */
  send(requests: readonly TestRequest[], ring?: number): void;
  /** Sends one request; the status of its answer. Throws unless there is exactly one. */
  ask(request: TestRequest, ring?: number): number;
  responses(ring?: number): Response[];
  /** A granted page filled with `fill`. */
  page(fill?: number, access?: 'read' | 'write'): { readonly ref: number; bytes(): Uint8Array };
  /** The guest has nothing to do. How many had waited for it. */
  idle(): number;
  /** Lets late answers arrive. */
  settle(): Promise<void>;
  inFlight(): number;
}

export type TestRequest = Partial<BlockRequest> & { readonly operation: number; readonly id?: number };

export function createScriptedFront(options: FrontOptions = {}): ScriptedFront {
  const { protocol = 'x86_64-abi', ringPages = 1, rings: ringCount = 1, image = createTestImage() } = options;
  const store = createXenstore();
  store.mkdir('/local/domain/1', ['n0', 'r1']);
  const guest = createMemoryPeer(options.mostPages);
  const waiting: (() => void)[] = [];
  const work = createHostWork(
    (id) => queueMicrotask(() => work.deliver(id)),
    options.gathers ? (action) => void waiting.push(action) : undefined,
  );
  const nodes = addDevice(store, { type: 'vbd', id: 51712, frontendId: 1 });
  const log: string[] = [];
  const backend = createBlockBackend({
    store,
    ...nodes,
    peer: guest.peer,
    work,
    log: (message) => log.push(message),
    ...options,
    image,
  });
  const heard: Record<string, string | undefined> = {};
  let rings: FrontRing[] = [];
  let ports: number[] = [];
  let ringBytes: (() => Uint8Array)[] = [];

  function setUp(): Record<string, string | number> {
    rings = [];
    ports = [];
    ringBytes = [];
    const written: Record<string, string | number> = { protocol };
    if (ringCount > 1) written['multi-queue-num-queues'] = ringCount;
    if (ringPages > 1) {
      if (options.numRingPages) written['num-ring-pages'] = ringPages;
      else written['ring-page-order'] = Math.log2(ringPages);
    }
    if (options.frontPersistent) written['feature-persistent'] = 1;
    for (let ring = 0; ring < ringCount; ring++) {
      const prefix = ringCount > 1 ? `queue-${ring}/` : '';
      const pages = Array.from({ length: ringPages }, () => guest.grant('write'));
      pages.forEach(({ ref }, index) => {
        written[`${prefix}ring-ref${ringPages > 1 ? index : ''}`] = ref;
      });
      ringBytes.push(pages[0]!.bytes);
      rings.push(createFrontRing(() => pages.map((page) => page.bytes()), ringPages, ENTRY_BYTES[protocol]));
      const port = guest.allocatePort();
      ports.push(port);
      written[`${prefix}event-channel`] = port;
    }
    return { ...written, ...options.nodes };
  }
  const device = createFrontendDevice({
    store,
    ...nodes,
    driver: {
      setUp,
      connected(read) {
        for (const name of store.ls(nodes.back) ?? []) heard[name] = read(name);
      },
      closing: () => undefined,
    },
  });
  guest.settle();

  const front: ScriptedFront = {
    store,
    ...nodes,
    guest,
    image: image as TestImage,
    backend,
    device,
    log,
    get rings() {
      return rings;
    },
    get ports() {
      return ports;
    },
    get ringBytes() {
      return ringBytes;
    },
    heard,
    send(requests, ring = 0) {
      for (const { id = 1, ...request } of requests) {
        rings[ring]!.put((view) => encodeRequest(view, protocol, { idLo: id, ...request }));
      }
      rings[ring]!.publish();
      guest.send(ports[ring]!);
    },
    ask(request, ring = 0) {
      front.send([request], ring);
      const answers = front.responses(ring);
      if (answers.length !== 1) throw new Error(`${answers.length} answers`);
      return answers[0]!.status;
    },
    responses(ring = 0) {
      const answers: Response[] = [];
      for (let view = rings[ring]!.take(); view; view = rings[ring]!.take()) {
        const { idLo, operation, status } = readResponse(view);
        answers.push({ id: idLo, operation, status });
      }
      rings[ring]!.rest();
      return answers;
    },
    page(fill = 0, access = 'write') {
      const page = guest.grant(access);
      page.bytes().fill(fill);
      return page;
    },
    idle() {
      const actions = waiting.splice(0);
      for (const action of actions) action();
      return actions.length;
    },
    async settle() {
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    },
    inFlight: () => backend.stats.inFlight,
  };
  return front;
}
