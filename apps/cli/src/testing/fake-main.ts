/** The command line over a fake machine. */
import { launch } from '../launch.js';
import { fakeMachine } from './fake-machine.js';

await launch({
  createMachine: () => Promise.resolve(fakeMachine),
  ownGuest: (bits) =>
    Promise.resolve({ kernel: new TextEncoder().encode('fake own guest'), memory: 32, cmdline: `own ${bits}` }),
});
