/**
 * A domain's disks: nodes in the store as the toolstack makes them, and a block back end for each. What the host does
 * later enters through the inbox; in virtual time the domain stands still until it is done.
 */
import { type BlockBackend, createBlockBackend } from '@paravane/block-back';
import { createHostWork, type DeviceStore } from '@paravane/driver-api';
import type { Hypervisor } from '@paravane/hypervisor';
import { type DiskImage, imageApiVersion, imageError } from '@paravane/image-api';
import type { BootDisk, BootRequest } from '@paravane/toolstack';
import { createHostPeer, type PvDomain } from '@paravane/xen';
import { addDevice } from '@paravane/xenbus';

const SOURCE = 'disk';
/**
 * Nanoseconds that a front end which keeps running may be kept waiting, so that more of its requests are served at once.
 * In the wall clock an instruction takes several.
 */
const PATIENCE_NS = { virtual: 500_000, wall: 2_000_000 } as const;

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

export interface Disks {
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
    (action) => hypervisor.services.whenIdle(action, PATIENCE_NS[request.clock]),
  );
  const peer = createHostPeer(guest.xen);
  const backends = (request.disks ?? []).map((disk) => ({ name: disk.config.vdev.name, backend: attachDisk(disk) }));
  // Declared only where there are disks: a machine without any takes the same inputs as ever.
  if (backends.length > 0) {
    inbox.source(SOURCE, (data) => work.deliver(new DataView(data.buffer, data.byteOffset).getUint32(0, true)));
  }

  function attachDisk({ config, image = noMedium }: BootDisk): BlockBackend {
    const { vdev, cdrom } = config;
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
      for (const { name, backend } of backends) {
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
      for (const { backend } of backends) backend.close();
    },
    settled: () => work.idle(),
  };
}
