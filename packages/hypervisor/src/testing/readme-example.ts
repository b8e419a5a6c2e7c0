import type { Engine } from '@paravane/engine-api';
import { createHypervisor } from '@paravane/hypervisor';
import { createMmu } from '@paravane/mmu';
import type { Personality } from '@paravane/personality-api';

/** Runs one guest until nothing is left to do; says how its domain ended. */
export function runOne(engine: Engine, personality: Personality): string | undefined {
  const mmu = createMmu({ frames: 64, coreBytes: 1 << 20 });
  const hypervisor = createHypervisor({ mmu, engine, clock: 'virtual', seed: 1 });
  const domain = hypervisor.createDomain({ name: 'a', personality });
  domain.addVcpu().online();
  domain.unpause();
  while (hypervisor.runSlice() === 'ran');
  return domain.shutdownRecord?.reason;
}
