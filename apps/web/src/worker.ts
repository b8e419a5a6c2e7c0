/** Runs one guest, in a worker of its own: the page that made it has its console. */
import { guestKernel } from '@paravane/guest-stubs';
import { createMachine } from '@paravane/machine';
import { type BootDisk, type DomainRun, formatCrashReport, type RunOutcome, runDomain } from '@paravane/toolstack';
import { openDisk } from './disk.js';
import { createHostTime } from './host-time.js';
import type { Figures, FromWorker, GuestChoice, ToWorker } from './protocol.js';

/** What this file uses of a worker's global scope; the types of pages don't have it. */
interface Scope {
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
}
const scope = globalThis as unknown as Scope;
const time = createHostTime();
let run: DomainRun | undefined;
let started = 0;

scope.onmessage = ({ data }) => {
  switch (data.kind) {
    case 'boot':
      run?.interrupt();
      void boot(data.guest);
      return;
    case 'input':
      run?.input(data.bytes);
      return;
    case 'end':
      run?.interrupt();
      return;
    case 'figures':
      scope.postMessage({ kind: 'figures', figures: figures(run) });
  }
};

/** The choice that counts: another may come while a disk is opened. */
let latest: GuestChoice | undefined;

async function boot(guest: GuestChoice): Promise<void> {
  latest = guest;
  started = time.now();
  try {
    const disks = guest.disk === undefined ? [] : [await openDisk(guest.disk)];
    if (latest === guest) await live(guest, disks);
  } catch (error) {
    if (latest === guest) scope.postMessage({ kind: 'ended', how: inWords(error), figures: figures(undefined) });
  }
}

async function live(guest: GuestChoice, disks: readonly BootDisk[]): Promise<void> {
  const { name, cmdline, memory } = guest;
  const mine = runDomain(
    createMachine(),
    {
      config: {
        name,
        type: 'pv',
        kernel: name,
        cmdline,
        memory,
        maxmem: memory,
        vcpus: 1,
        onPoweroff: 'destroy',
        onReboot: 'restart',
        onCrash: 'destroy',
      },
      kernel: guest.kernel ?? guestKernel(),
      ...(guest.ramdisk === undefined ? {} : { ramdisk: guest.ramdisk }),
      disks,
      onOutput: (bytes) => scope.postMessage({ kind: 'output', bytes }),
      clock: 'wall',
      engine: guest.engine,
      seed: crypto.getRandomValues(new BigUint64Array(1))[0]!,
      epoch: Date.now(),
      now: () => performance.now(),
    },
    { time },
  );
  run = mine;
  const how = await mine.outcome.then((outcome) => describe(name, outcome), inWords);
  if (run === mine) scope.postMessage({ kind: 'ended', how, figures: figures(mine) });
}

const inWords = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function describe(name: string, outcome: RunOutcome): string {
  if (outcome.kind === 'shutdown') return outcome.by;
  if (outcome.kind === 'crash') return formatCrashReport(name, outcome.report, outcome.consoleTail).join('\n');
  return outcome.kind;
}

function figures(of: DomainRun | undefined): Figures {
  const stats = of?.stats();
  return {
    instructions: Number(stats?.instructions ?? 0n),
    seconds: (time.now() - started) / 1000,
    counters: Object.fromEntries(Object.entries(stats?.counters ?? {}).map(([name, value]) => [name, Number(value)])),
  };
}
