/** Finds running guests through the control sockets of this user's processes. */
import { type ControlLink, controlFolder, openControlLinks } from '@paravane/host-node';
import type { GuestInfo } from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';
import { type CliContext, carryOut, say } from './context.js';

export interface Found {
  readonly info: GuestInfo;
  readonly link: ControlLink;
}

/** Milliseconds that a process has to say what it runs. */
const patience = 5000;

/** Calls `body` with all guests, by name; their connections last until it is done. */
export async function withGuests<Result>(
  context: CliContext,
  body: (guests: readonly Found[]) => Promise<Result>,
): Promise<Result> {
  const links = await openControlLinks(controlFolder(context.process.env));
  try {
    const asked = await Promise.all(links.map((link) => introduce(context, link)));
    const guests = asked.filter((found) => found !== undefined);
    return await body(guests.sort((a, b) => compare(a.info, b.info)));
  } finally {
    for (const link of links) link.close();
  }
}

/** Carries out a command on one guest, given by its name or by the number of its process. */
export function onGuest(
  context: CliContext,
  named: string,
  body: (link: ControlLink, info: GuestInfo) => Promise<number>,
): Promise<void> {
  return carryOut(context, () =>
    withGuests(context, (guests) => {
      const { link, info } = pick(guests, named);
      return body(link, info);
    }),
  );
}

function pick(guests: readonly Found[], named: string): Found {
  const byName = guests.filter(({ info }) => info.name === named);
  const found = byName.length > 0 ? byName : guests.filter(({ info }) => String(info.pid) === named);
  const [first] = found;
  if (first === undefined) {
    throw new ParavaneError('guest-missing', `no guest "${named}" is running; paravane list shows those that are`);
  }
  if (found.length > 1) {
    const message =
      byName.length > 0
        ? `${found.length} guests are called "${named}": say which by the number of its process (${found.map(({ info }) => info.pid).join(', ')})`
        : `process ${named} runs several guests: say which by its name (${found.map(({ info }) => info.name).join(', ')})`;
    throw new ParavaneError('guest-ambiguous', message);
  }
  return first;
}

async function introduce(context: CliContext, link: ControlLink): Promise<Found | undefined> {
  if (link.stopped) {
    say(context, `left out process ${link.pid}, which is stopped: kill -CONT ${link.pid} lets it go on`);
    return undefined;
  }
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    link.close();
  }, patience);
  try {
    return { info: await link.ask({ op: 'info' }), link };
  } catch (error) {
    // One that ends at this moment, or hangs, must not hide the others.
    const why = late ? `none in ${patience / 1000} seconds` : error instanceof Error ? error.message : String(error);
    say(context, `left out process ${link.pid}, which gave no answer: ${why}`);
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}

function compare(a: GuestInfo, b: GuestInfo): number {
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return a.pid - b.pid;
}
