/** `paravane list`, `pause`, `unpause`, `shutdown`, `reboot`, `sysrq`, `mem-set`, `vcpu-set`, `destroy`. */
import { setTimeout } from 'node:timers/promises';
import type { ControlLink } from '@paravane/host-node';
import type { GuestInfo, ShutdownReason } from '@paravane/toolstack';
import { type CliContext, carryOut, say } from '../context.js';
import { exitStatus } from '../exit-status.js';
import { onGuest, withGuests } from '../reach.js';

export interface ListFlags {
  readonly json: boolean;
}

export interface ShutdownFlags {
  readonly reboot?: boolean;
  readonly halt?: boolean;
  readonly wait?: boolean;
}

export interface RebootFlags {
  readonly wait?: boolean;
}

/** Milliseconds that a guest has to take a request. */
const patience = 10_000;
const lookAgain = 100;

export async function list(this: CliContext, { json }: ListFlags): Promise<void> {
  const { stdout } = this.process;
  await carryOut(this, () =>
    withGuests(this, async (guests) => {
      const infos = guests.map(({ info }) => info);
      if (json) stdout.write(`${JSON.stringify(infos, null, 2)}\n`);
      else for (const line of table(infos)) stdout.write(`${line}\n`);
      return 0;
    }),
  );
}

export async function pause(this: CliContext, _flags: object, guest: string): Promise<void> {
  await onGuest(this, guest, async (link) => {
    await link.ask({ op: 'pause' });
    return 0;
  });
}

export async function unpause(this: CliContext, _flags: object, guest: string): Promise<void> {
  await onGuest(this, guest, async (link) => {
    await link.ask({ op: 'unpause' });
    return 0;
  });
}

export async function destroy(this: CliContext, _flags: object, guest: string): Promise<void> {
  await onGuest(this, guest, async (link) => {
    const gone = link.ask({ op: 'wait' });
    await Promise.all([link.ask({ op: 'destroy' }), gone]);
    return 0;
  });
}

export async function shutdown(this: CliContext, flags: ShutdownFlags, guest: string): Promise<void> {
  await onGuest(this, guest, (link, { name }) =>
    askForShutdown(this, link, name, reasonOf(flags), flags.wait === true),
  );
}

export async function reboot(this: CliContext, flags: RebootFlags, guest: string): Promise<void> {
  await onGuest(this, guest, (link, { name }) => askForShutdown(this, link, name, 'reboot', flags.wait === true));
}

export async function sysrq(this: CliContext, _flags: object, guest: string, key: string): Promise<void> {
  await onGuest(this, guest, async (link, { name }) => {
    const { state } = await link.ask({ op: 'sysrq', key });
    return tellTaken(this, link, { name, state, path: 'control/sysrq' });
  });
}

export async function memSet(this: CliContext, _flags: object, guest: string, memory: number): Promise<void> {
  await onGuest(this, guest, async (link, { name }) => {
    const { state } = await link.ask({ op: 'mem-set', memory });
    if (state === 'paused') return tellPaused(this, name);
    for (const end = Date.now() + patience; Date.now() < end; await setTimeout(lookAgain)) {
      const now = await link.ask({ op: 'info' });
      if (now.memory === memory) return 0;
    }
    const { memory: has } = await link.ask({ op: 'info' });
    say(this, `"${name}" has ${has} MiB, and is still asked for ${memory}: it may have no balloon, or nothing to give`);
    return exitStatus.hostFailure;
  });
}

export async function vcpuSet(this: CliContext, _flags: object, guest: string, vcpus: number): Promise<void> {
  await onGuest(this, guest, async (link, { name }) => {
    const { state } = await link.ask({ op: 'vcpu-set', vcpus });
    return state === 'paused' ? tellPaused(this, name) : 0;
  });
}

async function askForShutdown(
  context: CliContext,
  link: ControlLink,
  name: string,
  reason: ShutdownReason,
  wait: boolean,
): Promise<number> {
  // Asked for first: the guest may end before a second question.
  const end = wait ? link.ask({ op: 'wait' }) : undefined;
  const { state } = await link.ask({ op: 'shutdown', reason });
  const status = await tellTaken(context, link, { name, state, path: 'control/shutdown' });
  if (end === undefined || status !== 0) return status;
  say(context, `"${name}" has ended: ${(await end).end}`);
  return 0;
}

/** Whether a guest has taken what was written to one of its control nodes: it empties the node then, or ends. */
async function isTaken(link: ControlLink, path: string): Promise<boolean> {
  for (const end = Date.now() + patience; Date.now() < end; await setTimeout(lookAgain)) {
    const value = await link.ask({ op: 'store-read', path }).catch(() => '');
    if (value === '' || value === '\0') return true;
  }
  return false;
}

interface Asked {
  readonly name: string;
  /** Of the guest, when it was asked. */
  readonly state: string;
  readonly path: string;
}

async function tellTaken(context: CliContext, link: ControlLink, { name, state, path }: Asked): Promise<number> {
  if (state === 'paused') return tellPaused(context, name);
  if (await isTaken(link, path)) return 0;
  say(context, `"${name}" has not taken the request in ${patience / 1000} seconds: it may not listen to such requests`);
  return exitStatus.hostFailure;
}

function tellPaused(context: CliContext, name: string): number {
  say(context, `"${name}" is paused, and will hear of it after paravane unpause`);
  return 0;
}

function reasonOf({ reboot: again, halt }: ShutdownFlags): ShutdownReason {
  if (again) return 'reboot';
  return halt ? 'halt' : 'poweroff';
}

function table(guests: readonly GuestInfo[]): string[] {
  const rows = [
    ['Name', 'ID', 'MiB', 'vCPUs', 'State', 'CPU s', 'Uptime', 'Process'],
    ...guests.map((guest) => [
      guest.name,
      String(guest.domid ?? '-'),
      String(guest.memory),
      String(guest.vcpus),
      guest.state,
      guest.cpuSeconds.toFixed(1),
      duration(guest.uptimeSeconds),
      String(guest.pid),
    ]),
  ];
  const leftAligned = [0, 4];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, column) =>
        leftAligned.includes(column) ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  '),
  );
}

function duration(seconds: number): string {
  const whole = Math.floor(seconds);
  const two = (value: number): string => String(value).padStart(2, '0');
  const days = Math.floor(whole / 86_400);
  const time = `${two(Math.floor(whole / 3600) % 24)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return days > 0 ? `${days}d ${time}` : time;
}
