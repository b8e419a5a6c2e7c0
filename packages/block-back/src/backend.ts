/**
 * A PV disk's back end: what it offers in the store, and the rings that it serves while a front end is connected
 * (public/io/blkif.h). It knows its front end as a `Peer` and nothing of the machine around it.
 */
import type { DeviceStore, HostWork, Peer } from '@paravane/driver-api';
import type { DiskImage } from '@paravane/image-api';
import { type BackendDevice, createBackendDevice, readNumber } from '@paravane/xenbus';
import { createDisk } from './disk.js';
import { parseProtocol } from './layout.js';
import { type BlockQueue, openBlockQueue } from './queue.js';
import { type BlockStats, createBlockStats } from './stats.js';

export interface BlockBackendOptions {
  readonly store: DeviceStore;
  /** Paths of the device's two sets of nodes, which are there. */
  readonly back: string;
  readonly front: string;
  readonly peer: Peer;
  readonly image: DiskImage;
  readonly work: HostWork;
  /** What the guest may do; an image that is read-only makes the disk so, too. */
  readonly readOnly?: boolean;
  readonly cdrom?: boolean;
  readonly removable?: boolean;
  /** Whether to offer discard where the image can; yes if not given. */
  readonly discard?: boolean;
  /** Rings at most; 1 if not given. */
  readonly queues?: number;
  /** Pages of a ring at most, as a power of two; 4 if not given. */
  readonly ringPageOrder?: number;
  /** Segments of an indirect request at most; 256 if not given, 0 for none. */
  readonly indirectSegments?: number;
  /**
   * Whether to offer persistent grants. Not if not given: mapping costs little here, and they make the front end copy
   * every byte.
   */
  readonly persistentGrants?: boolean;
  /** Bytes of the blocks that the host can write without reading first; the logical block size if not given. */
  readonly physicalBlockSize?: number;
  /** The front end has closed, and the toolstack wants the device gone. */
  readonly onRemoved?: () => void;
  readonly log?: (message: string) => void;
}

export interface BlockBackend {
  readonly device: BackendDevice;
  readonly stats: Readonly<BlockStats>;
  /** To be called when the image has another size: the front end is told. */
  resized(): void;
  /** Ends the service. Requests in progress give their pages back when the image answers. The image stays open. */
  close(): void;
}

const VDISK = { cdrom: 1, removable: 2, readOnly: 4 } as const;
const SECTOR = 512;
const MOST_REF = 0xffffffff;
/** Failures of the host that are told; a guest can cause as many as it likes. */
const MOST_LOGGED = 20;

export function createBlockBackend(options: BlockBackendOptions): BlockBackend {
  const { store, back, front, peer, image, work } = options;
  const { queues: mostQueues = 1, ringPageOrder = 4, indirectSegments = 256, persistentGrants = false } = options;
  const readOnly = (options.readOnly ?? false) || image.readOnly;
  const discard = (options.discard ?? true) && !readOnly && image.discard !== undefined;
  const stats = createBlockStats();
  let logged = 0;
  const log = (message: string): void => {
    if (logged++ < MOST_LOGGED) options.log?.(message);
  };
  const disk = createDisk({
    image,
    work,
    stats,
    onError: (what, error) => log(`${what} failed: ${error instanceof Error ? error.message : String(error)}`),
  });
  let queues: BlockQueue[] = [];
  let connecting = false;
  let brokenEarly: string | undefined;

  const sectors = (): number => Math.floor(image.size / SECTOR);
  function offer(): Record<string, string | number> {
    const { logicalBlockSize } = image;
    return {
      'max-ring-page-order': ringPageOrder,
      'max-ring-pages': 1 << ringPageOrder,
      'multi-queue-max-queues': mostQueues,
      'feature-persistent': Number(persistentGrants),
      'feature-max-indirect-segments': indirectSegments,
      'feature-flush-cache': Number(!readOnly),
      'feature-barrier': Number(!readOnly),
      'feature-discard': Number(discard),
      ...(discard ? { 'discard-granularity': logicalBlockSize, 'discard-alignment': 0, 'discard-secure': 1 } : {}),
      sectors: sectors(),
      info:
        (options.cdrom ? VDISK.cdrom : 0) |
        (options.removable || options.cdrom ? VDISK.removable : 0) |
        (readOnly ? VDISK.readOnly : 0),
      'sector-size': logicalBlockSize,
      'physical-sector-size': options.physicalBlockSize ?? logicalBlockSize,
    };
  }

  /** Pages of each ring, a power of two; undefined where that is none that was offered. */
  function ringPageCount(claimedOrder: string | undefined, claimedCount: string | undefined): number | undefined {
    if (claimedOrder !== undefined) {
      const order = readNumber(claimedOrder, ringPageOrder);
      return order === undefined ? undefined : 1 << order;
    }
    const count = claimedCount === undefined ? 1 : readNumber(claimedCount, 1 << ringPageOrder);
    return count !== undefined && count > 0 && (count & (count - 1)) === 0 ? count : undefined;
  }

  /** References of a ring as the front end named them, in the ways that there are; undefined if they are none. */
  function ringRefs(read: (name: string) => string | undefined): number[] | undefined {
    const count = ringPageCount(read('ring-page-order'), read('num-ring-pages'));
    if (count === undefined) return undefined;
    const single = read('ring-ref');
    const named =
      single !== undefined && count === 1
        ? [single]
        : Array.from({ length: count }, (_, index) => read(`ring-ref${index}`));
    const refs: number[] = [];
    for (const text of named) {
      const ref = readNumber(text, MOST_REF);
      if (ref === undefined) return undefined;
      refs.push(ref);
    }
    return refs;
  }

  function disconnect(): void {
    for (const queue of queues) queue.close();
    queues = [];
  }

  function broken(why: string): void {
    if (connecting) brokenEarly = why;
    else device.fail(why);
  }

  function connect(read: (name: string) => string | undefined): string | undefined {
    connecting = true;
    brokenEarly = undefined;
    const wrong = openQueues(read) ?? brokenEarly;
    connecting = false;
    return wrong;
  }

  function openQueues(read: (name: string) => string | undefined): string | undefined {
    const protocol = parseProtocol(read('protocol'));
    if (!protocol) return 'the front end names a protocol that is not known';
    const claimedQueues = read('multi-queue-num-queues');
    const count = claimedQueues === undefined ? 1 : readNumber(claimedQueues, mostQueues);
    if (count === undefined || count === 0) return 'multi-queue-num-queues is not among what was offered';
    const persistent = persistentGrants && read('feature-persistent') === '1';
    for (let index = 0; index < count; index++) {
      const prefix = count === 1 ? '' : `queue-${index}/`;
      const refs = ringRefs((name) =>
        name === 'ring-page-order' || name === 'num-ring-pages' ? read(name) : read(`${prefix}${name}`),
      );
      const port = readNumber(read(`${prefix}event-channel`), MOST_REF);
      if (!refs || port === undefined) return `${prefix}ring-ref and event-channel are not all there`;
      const queue = openBlockQueue({
        peer,
        work,
        disk,
        readOnly,
        protocol,
        ringRefs: refs,
        port,
        persistent,
        mostIndirect: indirectSegments,
        onBroken: broken,
      });
      if (typeof queue === 'string') return queue;
      queues.push(queue);
    }
    return undefined;
  }

  const device = createBackendDevice({
    store,
    back,
    front,
    offer,
    driver: { connect, disconnect },
    log,
    ...(options.onRemoved === undefined ? {} : { onRemoved: options.onRemoved }),
  });
  const stopListening = peer.onGone(() => device.close());

  return {
    device,
    stats,
    resized: () => device.change({ sectors: sectors() }),
    close() {
      stopListening();
      device.close();
    },
  };
}
