/** `paravane block-resize`, `cd-insert`, `cd-eject`: the disks of running guests. */
import { resolve } from 'node:path';
import type { CliContext } from '../context.js';
import { onGuest } from '../reach.js';

export async function blockResize(
  this: CliContext,
  _flags: object,
  guest: string,
  vdev: string,
  size: { readonly bytes: number },
): Promise<void> {
  await onGuest(this, guest, async (link) => {
    await link.ask({ op: 'block-resize', vdev, size: size.bytes });
    return 0;
  });
}

export async function cdInsert(
  this: CliContext,
  _flags: object,
  guest: string,
  vdev: string,
  file: string,
): Promise<void> {
  await onGuest(this, guest, async (link) => {
    // The guest's process may have another working folder.
    await link.ask({ op: 'cd-insert', vdev, target: /^https?:\/\//.test(file) ? file : resolve(file) });
    return 0;
  });
}

export async function cdEject(this: CliContext, _flags: object, guest: string, vdev: string): Promise<void> {
  await onGuest(this, guest, async (link) => {
    await link.ask({ op: 'cd-eject', vdev });
    return 0;
  });
}
