/** The real parts: the machine made of Paravane's packages, and our own guest. */
import { guestKernel } from '@paravane/guest-stubs';
import { decompressors } from '@paravane/host-node';
import { createMachine } from '@paravane/machine';
import type { Parts } from './context.js';

export const parts: Parts = {
  createMachine: () => Promise.resolve(createMachine({ decompress: decompressors })),
  ownGuest: (bits) => Promise.resolve({ kernel: guestKernel(bits), memory: 32, cmdline: '' }),
};
