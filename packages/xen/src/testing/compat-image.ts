/** For tests: a 32-bit kernel, of which they use its place in memory. */
import { type KernelImage, readKernelImage } from '@paravane/domain-builder';
import { helloKernel } from '@paravane/guest-stubs';

export const COMPAT_BASE = 0xc0000000n;

export const compatImage = (): KernelImage => readKernelImage(helloKernel(32));
