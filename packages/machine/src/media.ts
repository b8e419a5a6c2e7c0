/**
 * What the host does to a domain's disks while it runs: another size, another medium in a drive. Each change enters
 * through the inbox like all input, and is made between two instructions of the guest.
 */
import type { BlockBackend } from '@paravane/block-back';
import type { HostWork } from '@paravane/driver-api';
import type { Hypervisor } from '@paravane/hypervisor';
import { type Buffers, type DiskImage, imageApiVersion, imageError, type Soon } from '@paravane/image-api';
import { type BootDisk, type DomainDisks, parseVdev } from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';

const SOURCE = 'media';

/** A drive without a medium: a disk of no bytes. Front ends wait long for a drive with no back end at all. */
const noMedium: DiskImage = {
  apiVersion: imageApiVersion,
  format: 'none',
  size: 0,
  readOnly: true,
  logicalBlockSize: 512,
  read() {
    throw imageError('out-of-range', 'there is no medium in the drive');
  },
  write() {
    throw imageError('read-only', 'there is no medium in the drive');
  },
  flush: () => undefined,
  close: () => undefined,
};

export interface Drive {
  /** The disk that the guest sees: the medium that is in it. */
  readonly image: DiskImage;
  /** Takes the medium out and puts another in; resolves with the old one when nothing reads it any more. */
  change(next: DiskImage | undefined): Promise<DiskImage | undefined>;
}

/** The medium is `slot.image`, so that a domain that restarts finds it there. */
export function createDrive(slot: BootDisk): Drive {
  const medium = (): DiskImage => slot.image ?? noMedium;
  const inFlight = new Set<Promise<void>>();
  function watched(answer: Soon): Soon {
    if (answer === undefined) return undefined;
    inFlight.add(answer);
    return answer.finally(() => inFlight.delete(answer));
  }
  return {
    image: {
      apiVersion: imageApiVersion,
      format: 'drive',
      get size() {
        return medium().size;
      },
      readOnly: true,
      get logicalBlockSize() {
        return medium().logicalBlockSize;
      },
      read: (offset: number, into: Buffers) => watched(medium().read(offset, into)),
      write(offset: number, from: Buffers) {
        return noMedium.write(offset, from);
      },
      flush: () => undefined,
      close: () => undefined,
    },
    async change(next) {
      const old = slot.image;
      const busy = [...inFlight];
      slot.image = next;
      await Promise.allSettled(busy);
      return old;
    },
  };
}

/** A disk with what the changes need of it. */
export interface AttachedDisk {
  readonly disk: BootDisk;
  readonly backend: BlockBackend;
  /** Where the medium can be changed. */
  readonly drive: Drive | undefined;
}

export interface MediaSetup {
  readonly hypervisor: Hypervisor;
  readonly disks: readonly AttachedDisk[];
  readonly work: HostWork;
  wake?(): void;
}

export interface Media extends DomainDisks {
  /** The domain is gone: changes that were not made never will be. */
  close(): void;
}

export function createMedia({ hypervisor, disks, work, wake }: MediaSetup): Media {
  const { inbox } = hypervisor;
  /** Changes that wait for their turn, in the order of the inbox. */
  const turns: (() => void)[] = [];
  /** How to refuse those who wait for their change, and have not been answered. */
  const unanswered = new Set<(error: unknown) => void>();
  let closed = false;
  if (disks.length > 0) inbox.source(SOURCE, () => turns.shift()?.());

  function find(vdev: string): AttachedDisk {
    const number = parseVdev(vdev)?.number;
    const found = disks.find(({ disk }) => disk.config.vdev.number === number);
    if (found) return found;
    const names = disks.map(({ disk }) => disk.config.vdev.name).join(', ');
    throw new ParavaneError('disk-missing', `the guest has no disk "${vdev}"; it has ${names || 'none'}`);
  }

  /** Makes a change when the inbox hands it over, and tells the guest when it is made. */
  function change<Result>(what: string, make: () => Soon<Result>, made: () => void): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (closed) return reject(gone());
      unanswered.add(reject);
      turns.push(() =>
        work.run(make, (answer) => {
          unanswered.delete(reject);
          if (!answer.ok) return reject(answer.error);
          made();
          resolve(answer.value);
        }),
      );
      inbox.post(
        SOURCE,
        Uint8Array.from(what, (character) => character.charCodeAt(0)),
      );
      wake?.();
    });
  }

  return {
    async resize(vdev, size) {
      const { disk, backend, drive } = find(vdev);
      const { image } = disk;
      if (drive || !image?.resize || image.readOnly || disk.config.readOnly) {
        const why = drive ? 'it is a CD-ROM drive' : 'its image is read-only or of a fixed size';
        throw new ParavaneError('disk-fixed', `the disk "${vdev}" keeps its size: ${why}`);
      }
      const resized = (): Soon => image.resize?.(size);
      await change(`resize ${vdev} ${size}`, resized, () => backend.resized());
    },
    async changeMedium(vdev, medium) {
      let taken = false;
      try {
        const { backend, drive } = find(vdev);
        if (!drive) throw new ParavaneError('disk-fixed', `"${vdev}" is no CD-ROM drive: its medium stays in it`);
        const replace = (): Promise<DiskImage | undefined> => {
          taken = true;
          return drive.change(medium);
        };
        const old = await change(`medium ${vdev} ${medium?.size ?? 0}`, replace, () => backend.resized());
        await old?.close();
      } finally {
        if (!taken) await medium?.close();
      }
    },
    close() {
      closed = true;
      for (const refuse of unanswered) refuse(gone());
    },
  };
}

function gone(): ParavaneError {
  return new ParavaneError('guest-ended', 'the guest has ended before the change was made; start it again');
}
