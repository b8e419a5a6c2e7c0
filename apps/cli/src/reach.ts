/** Finds running guests through the control sockets of this user's processes. */
import { setTimeout } from 'node:timers/promises';
import { type ControlLink, controlFolder, openControlLinks } from '@paravane/host-node';
import type { GuestInfo } from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';
import { type CliContext, carryOut, say } from './context.js';

export interface Found {
  readonly info: GuestInfo;
  readonly link: ControlLink;
}

/** Milliseconds that all processes have, asked at once, to say what they run. */
const patience = 1000;
/** And if the guest that a command is for is not among those that have: its process may have much to do. */
const longestPatience = 5000;

/**
 * Calls `body` with all guests, by name; their connections last until it is done. `isEnough` says whether those that have
 * answered soon will do.
 */
export async function withGuests<Result>(
  context: CliContext,
  body: (guests: readonly Found[]) => Promise<Result>,
  isEnough: (guests: readonly Found[]) => boolean = () => true,
): Promise<Result> {
  const links = await openControlLinks(controlFolder(context.process.env));
  try {
    const guests: Found[] = [];
    const silent = new Set<ControlLink>();
    const answers = links.map(async (link) => {
      if (link.stopped) {
        say(context, `left out process ${link.pid}, which is stopped: kill -CONT ${link.pid} lets it go on`);
        return;
      }
      silent.add(link);
      try {
        guests.push({ info: await link.ask({ op: 'info' }), link });
      } catch (error) {
        // One that ends at this moment must not hide the others, nor be told of twice.
        if (silent.has(link)) say(context, `left out process ${link.pid}: ${(error as Error).message}`);
      }
      silent.delete(link);
    });
    const all = Promise.all(answers);
    await Promise.race([all, pause(patience)]);
    const waits = silent.size > 0 && !isEnough(guests);
    if (waits) await Promise.race([all, pause(longestPatience - patience)]);
    const seconds = (waits ? longestPatience : patience) / 1000;
    const pids = new Set([...silent].map(({ pid }) => pid));
    for (const pid of pids) say(context, `left out process ${pid}, which gave no answer in ${seconds} s`);
    silent.clear();
    return await body(guests.toSorted((a, b) => compare(a.info, b.info)));
  } finally {
    for (const link of links) link.close();
  }
}

const pause = (milliseconds: number): Promise<void> => setTimeout(milliseconds, undefined, { ref: false });

/** Carries out a command on one guest, given by its name or by the number of its process. */
export function onGuest(
  context: CliContext,
  named: string,
  body: (link: ControlLink, info: GuestInfo) => Promise<number>,
): Promise<void> {
  return carryOut(context, () =>
    withGuests(
      context,
      (guests) => {
        const { link, info } = pick(guests, named);
        return body(link, info);
      },
      (guests) => calledSo(guests, named).length > 0,
    ),
  );
}

/** Those of a name, else those of the process of a number. */
function calledSo(guests: readonly Found[], named: string): readonly Found[] {
  const byName = guests.filter(({ info }) => info.name === named);
  return byName.length > 0 ? byName : guests.filter(({ info }) => String(info.pid) === named);
}

function pick(guests: readonly Found[], named: string): Found {
  const found = calledSo(guests, named);
  const [first] = found;
  if (first === undefined) {
    throw new ParavaneError('guest-missing', `no guest "${named}" is running; paravane list shows those that are`);
  }
  if (found.length > 1) {
    const message =
      first.info.name === named
        ? `${found.length} guests are called "${named}": say which by the number of its process (${found.map(({ info }) => info.pid).join(', ')})`
        : `process ${named} runs several guests: say which by its name (${found.map(({ info }) => info.name).join(', ')})`;
    throw new ParavaneError('guest-ambiguous', message);
  }
  return first;
}

function compare(a: GuestInfo, b: GuestInfo): number {
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return a.pid - b.pid;
}
