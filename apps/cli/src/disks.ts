/** Opens the images of a domain's disks, and lets go of them at the end. */
import { openDiskImage } from '@paravane/host-node';
import type { DiskImage } from '@paravane/image-api';
import { createOverlay } from '@paravane/images';
import type { BootDisk, DiskConfig } from '@paravane/toolstack';

/** `locate` says where a target's file is. */
export async function openDisks(
  configs: readonly DiskConfig[],
  locate: (target: string) => string,
): Promise<readonly BootDisk[]> {
  const disks: BootDisk[] = [];
  try {
    for (const config of configs) {
      const { target } = config;
      disks.push(target === undefined ? { config } : { config, image: await open(config, locate(target)) });
    }
  } catch (error) {
    await closeDisks(disks);
    throw error;
  }
  return disks;
}

export async function closeDisks(disks: readonly BootDisk[]): Promise<void> {
  for (const { image } of disks) await image?.close();
}

async function open({ format, readOnly, snapshot }: DiskConfig, file: string): Promise<DiskImage> {
  // Reads and writes of the host's cache are over sooner than another thread could be told of them.
  const image = await openDiskImage(file, { format, readOnly: readOnly || snapshot, blocking: true });
  return snapshot && !readOnly ? createOverlay({ base: image }) : image;
}

/** What is put into a CD-ROM drive while the guest runs. */
export function openMedium(file: string): Promise<DiskImage> {
  return openDiskImage(file, { format: 'raw', readOnly: true, blocking: true });
}
