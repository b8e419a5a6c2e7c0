/** `paravane start`: boots our own small guest kernel with a console. */
import { boot } from '../boot.js';
import { type CliContext, carryOut, say } from '../context.js';
import type { MachineFlags } from '../machine-flags.js';

export interface StartFlags extends MachineFlags {
  readonly pv32?: boolean;
}

/** What somebody who has typed one command wants to know; how to leave is said where the guest is booted. */
const whatItIs =
  'a paravirtualizing x86 hypervisor in TypeScript and WebAssembly, with a small guest kernel of its own; `poweroff` ends it';

export default async function start(this: CliContext, flags: StartFlags): Promise<void> {
  await carryOut(this, async () => {
    const guest = await this.parts.ownGuest(flags.pv32 ? 32 : 64);
    const memory = flags.memory ?? guest.memory;
    if (this.stdin.isTTY) say(this, whatItIs);
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
