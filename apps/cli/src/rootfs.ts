/** Makes a root file system in a guest: it formats a disk, unpacks packages from another, and configures them. */
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { bootstrapDone, hostTime, openImageFile, type Progress, type RootfsMaker } from '@paravane/host-node';
import type { ImageFile } from '@paravane/image-api';
import { createMemoryFile, createRawImage } from '@paravane/images';
import { type DomainConfig, readDisk, runDomain } from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';
import type { Parts } from './context.js';
import type { Interruption } from './interruption.js';

const gibibyte = 2 ** 30;
const size = 2 * gibibyte;
/** The clock of the guest that makes it: equal packages make an equal system. */
const epoch = Date.UTC(2025, 0, 1);
const tailLines = 12;

export function rootfsMaker(parts: Parts, progress: Progress, listen: () => Interruption): RootfsMaker {
  return async ({ kernel, ramdisk, archive, file, packages }) => {
    const unfinished = `${file}.part`;
    mkdirSync(dirname(file), { recursive: true });
    const root = openImageFile(unfinished, { create: 'replace', blocking: true });
    const console = createReport(progress, packages);
    try {
      await root.setSize(size);
      const image = createRawImage(root);
      const run = runDomain(
        await parts.createMachine(),
        {
          config: config(),
          kernel,
          ramdisk,
          disks: [
            { config: disk('xvda', 'rw'), image },
            { config: disk('xvdb', 'r'), image: createRawImage(followed(archive, progress)) },
          ],
          onOutput: console.take,
          clock: 'virtual',
          seed: 0n,
          epoch,
          now: hostTime.now,
        },
        { time: hostTime },
      );
      void listen().done.then(() => run.interrupt());
      const outcome = await run.outcome;
      if (outcome.kind === 'interrupted') {
        throw new ParavaneError(
          'interrupted',
          'the making of the root file system was interrupted; nothing is left of it',
        );
      }
      if (outcome.kind !== 'shutdown' || !console.done) {
        throw new ParavaneError(
          'rootfs-failed',
          `the guest that makes the root file system ended by ${outcome.kind}; it said last:\n${console.tail()}`,
        );
      }
      await image.flush();
      await image.close();
      renameSync(unfinished, file);
    } catch (error) {
      await root.close();
      rmSync(unfinished, { force: true });
      throw error;
    }
  };
}

const config = (): DomainConfig => ({
  name: 'debian-rootfs',
  type: 'pv',
  kernel: 'vmlinuz',
  cmdline: 'console=hvc0 quiet xen_legacy_crash',
  memory: 512,
  maxmem: 512,
  vcpus: 1,
  onPoweroff: 'destroy',
  onReboot: 'destroy',
  onCrash: 'destroy',
});

const disk = (vdev: string, access: string) => readDisk(`target,raw,${vdev},${access}`).disk!;

/** The archive as a file; how far the guest has read becomes progress, in tenths. */
function followed(archive: Uint8Array, progress: Progress): ImageFile {
  const file = createMemoryFile(archive);
  let tenths = 0;
  return {
    ...file,
    read(offset, into) {
      const read = Math.floor((10 * offset) / archive.length);
      if (read > tenths) {
        tenths = read;
        progress(`unpacking, ${tenths * 10} % done`);
      }
      return file.read(offset, into);
    },
  };
}

/** Follows the guest's console: its own reports and dpkg's become progress. */
function createReport(progress: Progress, packages: number) {
  const decoder = new TextDecoder();
  const lines: string[] = [];
  let partial = '';
  let done = false;
  let configured = 0;

  function line(text: string): void {
    lines.push(text);
    if (lines.length > tailLines) lines.shift();
    const [, name] = /^Setting up ([^ :]+)/.exec(text) ?? [];
    if (name !== undefined) progress(`configuring ${++configured} of ${packages}: ${name}`);
    else if (text.startsWith(bootstrapDone)) done = true;
    else if (text.startsWith('@@ ')) progress(text.slice(3));
  }
  return {
    take(bytes: Uint8Array): void {
      const all = (partial + decoder.decode(bytes, { stream: true })).split(/\r*\n/);
      partial = all.pop() ?? '';
      all.forEach(line);
    },
    get done() {
      return done;
    },
    tail: () => [...lines, partial].join('\n'),
  };
}
