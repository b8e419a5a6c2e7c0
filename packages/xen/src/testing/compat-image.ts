/** For tests: a 32-bit kernel of which nothing but its place in memory is real. */
import { type KernelImage, readKernelImage } from '@paravane/domain-builder';
import { helloKernel } from '@paravane/guest-stubs';

export const COMPAT_BASE = 0xc0000000n;

export function compatImage(): KernelImage {
  const image = readKernelImage(helloKernel());
  return {
    ...image,
    bits: 32,
    notes: {
      ...image.notes,
      entry: COMPAT_BASE,
      virtBase: COMPAT_BASE,
      paddrOffset: 0n,
      hypercallPage: COMPAT_BASE + 0x1000n,
      initP2m: undefined,
      modStartPfn: false,
      paeMode: 'yes',
    },
    segments: [{ vaddr: COMPAT_BASE, data: new Uint8Array(0x2000), memsz: 0x2000n }],
    virtStart: COMPAT_BASE,
    virtEnd: COMPAT_BASE + 0x2000n,
  };
}
