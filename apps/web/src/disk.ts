/**
 * A disk from a web server: what the guest reads is fetched by ranges, when it reads it; what it writes stays in the
 * page's memory, and is forgotten at the end.
 */
import { createOverlay, openHttpFile, openImage, qcow2Driver, rawDriver } from '@paravane/images';
import { type BootDisk, readDisk } from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';

/** A raw or qcow2 image, by its first bytes, with the images under it; it is the guest's xvda. */
export async function openDisk(url: string): Promise<BootDisk> {
  const { disk, errors } = readDisk(`vdev=xvda,access=rw,target=${url}`);
  if (disk === undefined) throw new ParavaneError('bad-argument', errors.join('; '));
  const base = await openImage(url, {
    readOnly: true,
    drivers: [qcow2Driver(), rawDriver],
    async openFile(name, { from }) {
      const whole = from === undefined ? name : new URL(name, from).href;
      return { name: whole, file: await openHttpFile({ url: whole, fetch: (at, init) => fetch(at, init) }) };
    },
  });
  return { config: disk, image: createOverlay({ base }) };
}
