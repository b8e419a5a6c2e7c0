/** `paravane list`, `pause`, `unpause`, `shutdown`, `destroy`: running guests. */
import type { GuestInfo, ShutdownReason } from '@paravane/toolstack';
import { type CliContext, carryOut, say } from '../context.js';
import { onGuest, withGuests } from '../reach.js';

export interface ListFlags {
  readonly json: boolean;
}

export interface ShutdownFlags {
  readonly reboot?: boolean;
  readonly halt?: boolean;
  readonly wait?: boolean;
}

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
  await onGuest(this, guest, async (link, { name }) => {
    // Asked for first: the guest may end before a second question.
    const end = flags.wait ? link.ask({ op: 'wait' }) : undefined;
    const [{ state }, how] = await Promise.all([link.ask({ op: 'shutdown', reason: reasonOf(flags) }), end]);
    if (state === 'paused') say(this, `"${name}" is paused, and will hear of it after paravane unpause`);
    if (how !== undefined) say(this, `"${name}" has ended: ${how.end}`);
    return 0;
  });
}

function reasonOf({ reboot, halt }: ShutdownFlags): ShutdownReason {
  if (reboot) return 'reboot';
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
