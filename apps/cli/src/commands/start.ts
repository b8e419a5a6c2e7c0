/** `paravane start`: boots our own small guest kernel with a console. */
import { boot } from '../boot.js';
import { type CliContext, carryOut } from '../context.js';
import type { MachineFlags } from '../machine-flags.js';

export interface StartFlags extends MachineFlags {
  readonly pv32?: boolean;
}

export default async function start(this: CliContext, flags: StartFlags): Promise<void> {
  await carryOut(this, async () => {
    const guest = await this.parts.ownGuest(flags.pv32 ? 32 : 64);
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
