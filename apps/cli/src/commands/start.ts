/** `paravane start`: boots our own small guest kernel with a console. */
import { boot } from '../boot.js';
import { type CliContext, carryOut } from '../context.js';
import type { MachineFlags } from '../machine-flags.js';

export default async function start(this: CliContext, flags: MachineFlags): Promise<void> {
  await carryOut(this, async () => {
    const guest = await this.parts.ownGuest();
    const memory = flags.memory ?? guest.memory;
    return boot(
      this,
      [
        {
          kernel: guest.kernel,
          config: {
            name: 'paravane-guest',
            type: 'pv',
            kernel: 'the built-in guest',
            cmdline: guest.cmdline,
            memory,
            maxmem: memory,
            vcpus: flags.vcpus ?? 1,
            onPoweroff: 'destroy',
            onReboot: 'restart',
            onCrash: 'destroy',
          },
        },
      ],
      flags,
    );
  });
}
