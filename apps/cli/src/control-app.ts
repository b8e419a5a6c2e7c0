/** The commands that act on running guests, their flags and their help. */
import { buildCommand, buildRouteMap } from '@stricli/core';
import type { ConsoleFlags } from './commands/console.js';
import type { ListFlags, RebootFlags, ShutdownFlags } from './commands/control.js';
import type { SizeArgument } from './commands/image.js';
import type { LsFlags, WatchFlags } from './commands/store.js';
import type { CliContext } from './context.js';
import { parseEscape, parseMemory, parseVcpus } from './flags.js';
import { parseNewDiskSize } from './image-flags.js';

const load = () => import('./commands/control.js');
const loadDisks = () => import('./commands/disks.js');
const loadStore = () => import('./commands/store.js');

const guest = {
  brief: 'The guest: its name, or the number of its process',
  parse: String,
  placeholder: 'GUEST',
} as const;
const path = {
  brief: "A path of the store; without a / in front, below the guest's own /local/domain/ID",
  parse: String,
  placeholder: 'PATH',
} as const;
const onlyGuest = { flags: {}, positional: { kind: 'tuple', parameters: [guest] } } as const;
const guestAndPath = { flags: {}, positional: { kind: 'tuple', parameters: [guest, path] } } as const;
const statuses = 'Exit status: 0 done, 1 failure on the host, 2 no such guest or node, or bad arguments.';

const list = buildCommand<ListFlags, [], CliContext>({
  loader: async () => (await load()).list,
  parameters: {
    flags: { json: { kind: 'boolean', default: false, withNegated: false, brief: 'Print JSON' } },
    positional: { kind: 'tuple', parameters: [] },
  },
  docs: {
    brief: 'List your running guests',
    fullDescription: `Lists the guests of all your processes: name, domain id, memory, virtual CPUs, state, processor seconds, uptime.
States: starting, running, blocked (waits for time or input), paused. Each process is a machine of its own, so ids repeat.`,
  },
});

const attach = buildCommand<ConsoleFlags, [string], CliContext>({
  loader: async () => (await import('./commands/console.js')).default,
  parameters: {
    flags: {
      escape: {
        kind: 'parsed',
        parse: parseEscape,
        default: '^]',
        placeholder: 'KEY',
        brief: 'The key that detaches: ^] and the like, a character, or none',
      },
    },
    positional: { kind: 'tuple', parameters: [guest] },
  },
  docs: {
    brief: "Attach to a running guest's console",
    fullDescription: `Shows what the guest writes from now on, and types at its console. Ctrl-] detaches; the guest goes on.
Several may be attached at once: all see the same, and all may type.\n\n${statuses}`,
  },
});

const pause = buildCommand<object, [string], CliContext>({
  loader: async () => (await load()).pause,
  parameters: onlyGuest,
  docs: {
    brief: 'Stop the virtual CPUs of a guest',
    fullDescription: `Stops the guest where it is; paravane unpause lets it go on. In virtual time the pause does not exist for the guest;
with --clock wall its clock goes on, and the time counts as stolen.\n\n${statuses}`,
  },
});

const unpause = buildCommand<object, [string], CliContext>({
  loader: async () => (await load()).unpause,
  parameters: onlyGuest,
  docs: { brief: 'Let a paused guest go on', fullDescription: `Lets a paused guest go on.\n\n${statuses}` },
});

const destroy = buildCommand<object, [string], CliContext>({
  loader: async () => (await load()).destroy,
  parameters: onlyGuest,
  docs: {
    brief: 'End a guest at once',
    fullDescription: `Ends the guest as if its power were cut: what it has not written to its disks is lost.\n\n${statuses}`,
  },
});

const switchOf = (brief: string) => ({ kind: 'boolean', optional: true, withNegated: false, brief }) as const;

const shutdown = buildCommand<ShutdownFlags, [string], CliContext>({
  loader: async () => (await load()).shutdown,
  parameters: {
    flags: {
      reboot: switchOf('Ask for a restart'),
      halt: switchOf('Ask it to halt'),
      wait: switchOf('Return when the guest has ended'),
    },
    positional: { kind: 'tuple', parameters: [guest] },
  },
  docs: {
    brief: 'Ask a guest to shut itself down',
    fullDescription: `Asks the guest through control/shutdown in its store, as xl does. Whether it obeys is the guest's to decide; if it has
not taken the request in ten seconds, the status is 1.\n\n${statuses}`,
  },
});

const reboot = buildCommand<RebootFlags, [string], CliContext>({
  loader: async () => (await load()).reboot,
  parameters: {
    flags: { wait: switchOf('Return when the guest has ended, before it starts anew') },
    positional: { kind: 'tuple', parameters: [guest] },
  },
  docs: {
    brief: 'Ask a guest to restart',
    fullDescription: `The same as shutdown --reboot. The domain starts anew if on_reboot is "restart", which is the default.\n\n${statuses}`,
  },
});

const sysrq = buildCommand<object, [string, string], CliContext>({
  loader: async () => (await load()).sysrq,
  parameters: {
    flags: {},
    positional: {
      kind: 'tuple',
      parameters: [guest, { brief: 'A letter or digit, such as h for help', parse: String, placeholder: 'KEY' }],
    },
  },
  docs: {
    brief: 'Send a magic SysRq key to a guest',
    fullDescription: `Sends a key to the guest's kernel through control/sysrq in its store. Linux does what kernel.sysrq allows.\n\n${statuses}`,
  },
});

const memSet = buildCommand<object, [string, number], CliContext>({
  loader: async () => (await load()).memSet,
  parameters: {
    flags: {},
    positional: {
      kind: 'tuple',
      parameters: [guest, { brief: 'MiB, or with a unit as in 1G', parse: parseMemory, placeholder: 'MEMORY' }],
    },
  },
  docs: {
    brief: 'Ask a guest to have so much memory',
    fullDescription: `Sets memory/target in the guest's store, up to its maxmem, and waits ten seconds for its balloon to get there.\n\n${statuses}`,
  },
});

const vcpuSet = buildCommand<object, [string, number], CliContext>({
  loader: async () => (await load()).vcpuSet,
  parameters: {
    flags: {},
    positional: {
      kind: 'tuple',
      parameters: [guest, { brief: 'How many to use', parse: parseVcpus, placeholder: 'N' }],
    },
  },
  docs: {
    brief: 'Ask a guest to use so many virtual CPUs',
    fullDescription: `Sets cpu/N/availability in the guest's store: the first so many online, the others offline. Linux takes those
offline; what comes back waits for udev, or for a 1 in its "online" in sysfs.\n\n${statuses}`,
  },
});

const ls = buildCommand<LsFlags, [string, string?], CliContext>({
  loader: async () => (await loadStore()).ls,
  parameters: {
    flags: {
      flat: { kind: 'boolean', default: false, withNegated: false, brief: 'Print full paths' },
      permissions: { kind: 'boolean', default: false, withNegated: false, brief: 'Print who may do what' },
    },
    positional: { kind: 'tuple', parameters: [guest, { ...path, optional: true }] },
  },
  docs: {
    brief: 'List nodes and their values',
    fullDescription: `Lists all nodes below a path, / if none is given.\n\n${statuses}`,
  },
});

const read = buildCommand<object, [string, string], CliContext>({
  loader: async () => (await loadStore()).read,
  parameters: guestAndPath,
  docs: { brief: 'Print the value of a node', fullDescription: `Prints the value of a node.\n\n${statuses}` },
});

const write = buildCommand<object, [string, string, string], CliContext>({
  loader: async () => (await loadStore()).write,
  parameters: {
    flags: {},
    positional: {
      kind: 'tuple',
      parameters: [guest, path, { brief: 'The new value', parse: String, placeholder: 'VALUE' }],
    },
  },
  docs: {
    brief: 'Write a node',
    fullDescription: `Writes a node, and makes it and its parents if need be.\n\n${statuses}`,
  },
});

const rm = buildCommand<object, [string, string], CliContext>({
  loader: async () => (await loadStore()).rm,
  parameters: guestAndPath,
  docs: { brief: 'Remove a node and all below it', fullDescription: `Removes a node and all below it.\n\n${statuses}` },
});

const watch = buildCommand<WatchFlags, [string, string], CliContext>({
  loader: async () => (await loadStore()).watch,
  parameters: {
    flags: {
      count: { kind: 'parsed', parse: parseCount, optional: true, placeholder: 'N', brief: 'End after N lines' },
    },
    positional: { kind: 'tuple', parameters: [guest, path] },
  },
  docs: {
    brief: 'Print each path that changes',
    fullDescription: `Prints the path once at the start, then each path at or below it that changes, until Ctrl-C or the guest's end.\n\n${statuses}`,
  },
});

function parseCount(text: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw new SyntaxError('give a whole number above 0');
  return Number(text);
}

const vdev = { brief: 'The disk as the guest knows it, such as xvda', parse: String, placeholder: 'VDEV' } as const;

const blockResize = buildCommand<object, [string, string, SizeArgument], CliContext>({
  loader: async () => (await loadDisks()).blockResize,
  parameters: {
    flags: {},
    positional: {
      kind: 'tuple',
      parameters: [guest, vdev, { brief: 'The new size, such as 4G', parse: parseNewDiskSize, placeholder: 'SIZE' }],
    },
  },
  docs: {
    brief: "Change the size of a running guest's disk",
    fullDescription: `Gives a disk and its image another size, and tells the guest. What is cut off is lost.\n\n${statuses}`,
  },
});

const cdInsert = buildCommand<object, [string, string, string], CliContext>({
  loader: async () => (await loadDisks()).cdInsert,
  parameters: {
    flags: {},
    positional: {
      kind: 'tuple',
      parameters: [guest, vdev, { brief: 'The image of the medium', parse: String, placeholder: 'FILE' }],
    },
  },
  docs: {
    brief: "Put a medium into a running guest's CD-ROM drive",
    fullDescription: `Puts a raw image into a drive that the guest has (devtype=cdrom), in place of what was in it.\n\n${statuses}`,
  },
});

const cdEject = buildCommand<object, [string, string], CliContext>({
  loader: async () => (await loadDisks()).cdEject,
  parameters: { flags: {}, positional: { kind: 'tuple', parameters: [guest, vdev] } },
  docs: {
    brief: "Empty a running guest's CD-ROM drive",
    fullDescription: `Takes the medium out of a drive, whether or not the guest still uses it.\n\n${statuses}`,
  },
});

export const controlRoutes = {
  list,
  console: attach,
  pause,
  unpause,
  shutdown,
  reboot,
  sysrq,
  memSet,
  vcpuSet,
  destroy,
  blockResize,
  cdInsert,
  cdEject,
  store: buildRouteMap({
    routes: { ls, read, write, rm, watch },
    docs: { brief: 'Read, change and watch the xenstore of a running guest' },
  }),
};
