import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readKernelImage } from '@paravane/domain-builder';
import { describe, expect, it } from 'vitest';
import { guestKernel, helloKernel } from './index.js';

const file = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url));

describe('the committed images', () => {
  it('are those of their sources, and the embedded ones are the same', () => {
    const script = new URL('../../../tools/guest-images.mjs', import.meta.url);
    const { status, stdout, stderr } = spawnSync(process.execPath, [script.pathname, '--check'], { encoding: 'utf8' });
    expect(`${stdout}${stderr}`).toBe('The guest images are those of their sources.\n');
    expect(status).toBe(0);
  });

  it.each([
    ['kernel', guestKernel],
    ['hello', helloKernel],
  ])('give %s byte for byte, a new copy each time', (name, image) => {
    expect(Buffer.from(image()).equals(file(`images/${name}-x86_64.elf`))).toBe(true);
    expect(Buffer.from(image(32)).equals(file(`images/${name}-x86_32.elf`))).toBe(true);
    expect(image()).not.toBe(image());
  });
});

describe.each([
  ['kernel', 64, guestKernel],
  ['hello', 64, helloKernel],
  ['kernel', 32, guestKernel],
  ['hello', 32, helloKernel],
] as const)('%s in %d bits as the domain builder sees it', (_, bits, bytes) => {
  const image = readKernelImage(bytes(bits));

  it('is a PV kernel of the generic loader', () => {
    expect(image.bits).toBe(bits);
    expect(image.notes.paeMode).toBe(bits === 32 ? 'yes' : '');
    expect(image.notes).toMatchObject({
      source: 'notes',
      xenVersion: 'xen-3.0',
      guestOs: 'Paravane',
      loader: 'generic',
    });
  });

  it('starts at the virtual base, on the hypercall page, and leaves the P2M list to the classic layout', () => {
    expect(image.virtStart).toBe(bits === 32 ? 0xc0000000n : 0xffffffff80000000n);
    expect(image.notes).toMatchObject({ virtBase: image.virtStart, paddrOffset: 0n, hypercallPage: image.virtStart });
    expect(image.notes.initP2m).toBeUndefined();
  });

  it('holds its read-only part in one segment and the writable one in another', () => {
    const loads = image.elf.programHeaders.filter(({ type }) => type === 1);
    expect(loads.map(({ flags }) => flags)).toEqual([5, 6]);
    expect(loads.every(({ vaddr, paddr }) => vaddr - paddr === image.notes.virtBase)).toBe(true);
  });
});

describe('README', () => {
  it('shows the hello kernel as it is', () => {
    expect(file('README.md').toString()).toContain(file('examples/hello/hello.c').toString());
  });
});
