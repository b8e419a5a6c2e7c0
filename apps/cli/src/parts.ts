/** The real parts: joins the toolstack's `Machine` to the hypervisor, and finds our own guest. */
import { ParavaneError } from '@paravane/types';
import type { Parts } from './context.js';

export const parts: Parts = {
  createMachine() {
    return Promise.reject(new ParavaneError('host-no-machine', 'this build has no hypervisor'));
  },
  ownGuest() {
    return Promise.reject(new ParavaneError('host-no-guest', 'this build has no guest of its own'));
  },
};
