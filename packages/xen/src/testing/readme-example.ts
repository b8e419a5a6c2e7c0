import { createConsoleBackend } from '@paravane/console-back';
import { readKernelImage } from '@paravane/domain-builder';
import { helloKernel } from '@paravane/guest-stubs';
import { createHypervisor } from '@paravane/hypervisor';
import { createMmu } from '@paravane/mmu';
import { CORE_BYTES, createX86Engine } from '@paravane/x86';
import { createPvDomain, createXenPersonality } from '@paravane/xen';

const mmu = createMmu({ frames: 8192, coreBytes: CORE_BYTES });
const hypervisor = createHypervisor({ mmu, engine: createX86Engine({ mmu }), clock: 'virtual' });
const xen = createXenPersonality(hypervisor.services);
let said = '';
const guest = createPvDomain(hypervisor, xen, {
  name: 'hello',
  image: readKernelImage(helloKernel()),
  memoryPages: 4096,
  console: ({ page, notify }) =>
    createConsoleBackend({
      page,
      notify,
      onOutput: (bytes) => {
        said += String.fromCharCode(...bytes);
      },
    }),
});
guest.unpause();
hypervisor.run();
export const answer = { said, reason: guest.domain.shutdownRecord?.reason };
