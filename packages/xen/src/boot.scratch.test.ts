import { createConsoleBackend } from '@paravane/console-back';
import { readKernelImage } from '@paravane/domain-builder';
import { guestKernel, helloKernel } from '@paravane/guest-stubs';
import { createHypervisor } from '@paravane/hypervisor';
import { createMmu } from '@paravane/mmu';
import { CORE_BYTES, createX86Engine } from '@paravane/x86';
import { it } from 'vitest';
import { createPvDomain, createXenPersonality } from './index.js';

it('boots', () => {
  const mmu = createMmu({ frames: 32768, coreBytes: CORE_BYTES });
  const engine = createX86Engine({ mmu });
  const hypervisor = createHypervisor({ mmu, engine, clock: 'virtual' });
  const personality = createXenPersonality(hypervisor.services);
  const which = process.env.WHICH === 'kernel' ? guestKernel() : helloKernel();
  let out = '';
  const lines: string[] = [];
  const pv = createPvDomain(hypervisor, personality, {
    name: 'boot',
    image: readKernelImage(which),
    memoryPages: 8192,
    cmdline: process.env.CMD ?? 'cmd=info;traps;exit',
    console: ({ page, notify }) => createConsoleBackend({ page, notify, onOutput: (b) => (out += String.fromCharCode(...b)) }),
    trace: (line) => void lines.push(line),
  });
  pv.unpause();
  const t = performance.now();
  const result = hypervisor.run(Number(process.env.LIMIT ?? 50_000_000));
  console.log(result, performance.now() - t, hypervisor.stats());
  console.log(out);
  console.log(lines.slice(0, 40).join('\n'), '\n...\n', lines.slice(-30).join('\n'));
  console.log(pv.domain.state, pv.domain.shutdownRecord?.report.join('\n'));
});
