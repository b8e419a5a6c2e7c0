import { guestKernel } from '@paravane/guest-stubs';
import { createMemoryImage } from '@paravane/images';
import type { BootDisk, RunningDomain } from '@paravane/toolstack';
import { readDisk } from '@paravane/toolstack';
import { describe, expect, it } from 'vitest';
import { createMachine } from './index.js';

const disk = (text: string, image?: BootDisk['image']): BootDisk => ({ config: readDisk(text).disk!, image });

async function booted(disks: readonly BootDisk[], clock: 'virtual' | 'wall' = 'virtual') {
  const domain = await createMachine().bootDomain({
    config: {
      name: 'guest',
      type: 'pv',
      kernel: 'own',
      cmdline: '',
      memory: 32,
      maxmem: 32,
      vcpus: 1,
      onPoweroff: 'destroy',
      onReboot: 'destroy',
      onCrash: 'destroy',
    },
    kernel: guestKernel(),
    disks,
    onOutput: () => undefined,
    clock,
    seed: 0n,
    epoch: 0,
    now: () => 0,
  });
  const sectors = (number: number): string | undefined =>
    domain.control?.store.read(`/local/domain/0/backend/vbd/1/${number}/sectors`);
  return { domain, disks: domain.control!.disks, sectors };
}

/** Lets the domain run until a change is answered; how it was. */
async function answered(domain: RunningDomain, change: Promise<void>): Promise<unknown> {
  let answer: unknown = 'none';
  change.then(
    () => (answer = 'done'),
    (error: unknown) => (answer = error),
  );
  for (let turn = 0; turn < 200 && answer === 'none'; turn++) {
    domain.step();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return answer;
}

describe.each(['virtual', 'wall'] as const)("a domain's disks in %s time", (clock) => {
  it('take another size, and say so', async () => {
    const image = createMemoryImage({ size: 1 << 20 });
    const { domain, disks, sectors } = await booted([disk('memory,,xvda,rw', image)], clock);
    expect(sectors(51712)).toBe('2048');
    expect(await answered(domain, disks.resize('xvda', 3 << 20))).toBe('done');
    expect(sectors(51712)).toBe('6144');
    expect(image.size).toBe(3 << 20);
    // The number names it as well.
    expect(await answered(domain, disks.resize('51712', 512))).toBe('done');
    expect(sectors(51712)).toBe('1');
  });

  it('keep their size where it cannot change', async () => {
    const fixed = { ...createMemoryImage({ size: 512 }), resize: undefined };
    const { domain, disks } = await booted(
      [
        disk('memory,,xvda,rw', fixed as unknown as BootDisk['image']),
        disk('memory,,xvdb,r', createMemoryImage({ size: 512 })),
        disk(',,xvdc,cdrom'),
      ],
      clock,
    );
    for (const vdev of ['xvda', 'xvdb', 'xvdc']) {
      expect(await answered(domain, disks.resize(vdev, 1024))).toMatchObject({ code: 'disk-fixed' });
    }
    expect(await answered(domain, disks.resize('xvdd', 1024))).toMatchObject({ code: 'disk-missing' });
    expect(await answered(domain, disks.resize('no name', 1024))).toMatchObject({ code: 'disk-missing' });
  });

  it('take media in and out of drives, and close what comes out', async () => {
    const closed: string[] = [];
    const medium = (name: string, size: number) => ({
      ...createMemoryImage({ size }),
      size,
      close: () => void closed.push(name),
    });
    const drive = disk(',,xvda,cdrom');
    const { domain, disks, sectors } = await booted(
      [drive, disk('m,,xvdb,w', createMemoryImage({ size: 512 }))],
      clock,
    );
    expect(sectors(51712)).toBe('0');
    const first = medium('first', 4096);
    expect(await answered(domain, disks.changeMedium('xvda', first))).toBe('done');
    expect(sectors(51712)).toBe('8');
    expect(drive.image).toBe(first);
    expect(await answered(domain, disks.changeMedium('xvda', medium('second', 8192)))).toBe('done');
    expect(sectors(51712)).toBe('16');
    expect(await answered(domain, disks.changeMedium('xvda', undefined))).toBe('done');
    expect(sectors(51712)).toBe('0');
    expect(closed).toEqual(['first', 'second']);
    expect(await answered(domain, disks.changeMedium('xvdb', medium('refused', 512)))).toMatchObject({
      code: 'disk-fixed',
    });
    expect(closed).toEqual(['first', 'second', 'refused']);
  });

  it('refuse what comes when the domain is gone', async () => {
    const closed: string[] = [];
    const image = createMemoryImage({ size: 512 });
    const { domain, disks } = await booted([disk(',,xvda,cdrom'), disk('memory,,xvdb,rw', image)], clock);
    const waiting = disks.resize('xvdb', 1024).catch((error: unknown) => error);
    domain.destroy();
    expect(await waiting).toMatchObject({ code: 'guest-ended' });
    const medium = { ...createMemoryImage({ size: 512 }), close: () => void closed.push('late') };
    await expect(disks.changeMedium('xvda', medium)).rejects.toMatchObject({ code: 'guest-ended' });
    expect(closed).toEqual(['late']);
    expect(image.size).toBe(512);
  });
});
