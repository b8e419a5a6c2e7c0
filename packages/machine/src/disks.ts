/**
 * A domain's disks: nodes in the store as the toolstack makes them, and a block back end for each. What the host does
 * later enters through the inbox; in virtual time the domain stands still until it is done.
 */
import { type BlockBackend, createBlockBackend } from '@paravane/block-back';
import { createHostWork, type DeviceStore } from '@paravane/driver-api';
import type { Hypervisor } from '@paravane/hypervisor';
import type { BootDisk, BootRequest } from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';
import { createHostPeer, type PvDomain } from '@paravane/xen';
import { addDevice } from '@paravane/xenbus';
import { type AttachedDisk, createDrive, createMedia, type Drive, type Media } from './media.js';

const SOURCE = 'disk';
/** Instructions for which a front end that keeps running may be kept waiting, so that more of its requests are served at once. */
const PATIENCE = 500_000;

export interface Disks {
  readonly media: Media;
  /** In virtual time, what the host has yet to do before the guest may go on; undefined when it may. */
  waitFor(): Promise<void> | undefined;
  /** Figures by name. */
  counters(): Record<string, number>;
  close(): void;
  /** Resolves when nothing is in progress. */
  settled(): Promise<void>;
}

export interface DisksSetup {
  readonly hypervisor: Hypervisor;
  readonly store: DeviceStore;
  readonly guest: PvDomain;
  readonly request: BootRequest;
}

export function attachDisks({ hypervisor, store, guest, request }: DisksSetup): Disks {
  const { inbox } = hypervisor;
  const virtual = request.clock === 'virtual';
  /** Late answers that the guest is still to hear of. */
  let answered: number[] = [];
  const post = (id: number): void => inbox.post(SOURCE, new Uint8Array(Uint32Array.of(id).buffer));
  const work = createHostWork(
    (id) => {
      if (virtual) {
        answered.push(id);
        return;
      }
      post(id);
      request.wake?.();
    },
    (action) => hypervisor.services.whenIdle(action, PATIENCE),
  );
  const peer = createHostPeer(guest.xen);
  const backends = (request.disks ?? []).map((disk): AttachedDisk => {
    const drive = disk.config.cdrom ? createDrive(disk) : undefined;
    return { disk, drive, backend: attachDisk(disk, drive) };
  });
  const media = createMedia({ hypervisor, disks: backends, work, wake: () => request.wake?.() });
  // Declared only where there are disks: a machine without any takes the same inputs as ever.
  if (backends.length > 0) {
    inbox.source(SOURCE, (data) => work.deliver(new DataView(data.buffer, data.byteOffset).getUint32(0, true)));
  }

  function attachDisk({ config, image: fixed }: BootDisk, drive: Drive | undefined): BlockBackend {
    const { vdev, cdrom } = config;
    const image = drive?.image ?? fixed;
    if (!image) throw new ParavaneError('disk-empty', `the disk "${vdev.name}" has no image: only a CD-ROM drive may`);
    const readOnly = config.readOnly || image.readOnly;
    const nodes = addDevice(store, {
      type: 'vbd',
      id: vdev.number,
      frontendId: peer.domid,
      back: {
        params: config.target ?? '',
        removable: Number(cdrom),
        bootable: 1,
        dev: vdev.name,
        type: 'phy',
        mode: readOnly ? 'r' : 'w',
        'device-type': cdrom ? 'cdrom' : 'disk',
        'discard-enable': Number(config.discard && !readOnly),
        specification: 'xen',
        'hotplug-status': 'connected',
      },
      front: {
        'virtual-device': vdev.number,
        'device-type': cdrom ? 'cdrom' : 'disk',
        trusted: 1,
        protocol: guest.xen.is64 ? 'x86_64-abi' : 'x86_32-abi',
      },
    });
    return createBlockBackend({
      store,
      ...nodes,
      peer,
      image,
      work,
      readOnly,
      cdrom,
      discard: config.discard,
      queues: request.config.vcpus,
      log: (message) => request.log?.('warning', `disk ${vdev.name}: ${message}`),
    });
  }

  return {
    media,
    waitFor() {
      if (!virtual) return undefined;
      if (work.inFlight > 0) return work.idle();
      // In the order in which they were begun: that of the answers is the host's.
      for (const id of answered.sort((a, b) => a - b)) post(id);
      answered = [];
      return undefined;
    },
    counters() {
      const counters: Record<string, number> = {};
      for (const { disk, backend } of backends) {
        const { name } = disk.config.vdev;
        const { stats } = backend;
        for (const [figure, value] of Object.entries(stats)) {
          if (figure !== 'inFlight') counters[`disk.${name}.${figure}`] = value;
        }
        const requests = stats.reads + stats.writes + stats.flushes + stats.barriers + stats.discards;
        if (requests > 0) {
          counters[`disk.${name}.requests`] = requests;
          counters[`disk.${name}.eventsPerRequest`] =
            Math.round(((stats.eventsIn + stats.eventsOut) / requests) * 1000) / 1000;
        }
      }
      return counters;
    },
    close() {
      media.close();
      for (const { backend } of backends) backend.close();
    },
    settled: () => work.idle(),
  };
}
