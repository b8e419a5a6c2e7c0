/** `paravane store`: the xenstore of a running guest. */
import type { StoreNode } from '@paravane/toolstack';
import type { CliContext } from '../context.js';
import { listenForInterruption } from '../interruption.js';
import { onGuest } from '../reach.js';

export interface LsFlags {
  readonly flat: boolean;
  readonly permissions: boolean;
}

export interface WatchFlags {
  readonly count?: number;
}

export async function ls(this: CliContext, flags: LsFlags, guest: string, path = '/'): Promise<void> {
  await onGuest(this, guest, async (link) => {
    const nodes = await link.ask({ op: 'store-list', path });
    this.process.stdout.write(
      lines(nodes, flags)
        .map((line) => `${line}\n`)
        .join(''),
    );
    return 0;
  });
}

export async function read(this: CliContext, _flags: object, guest: string, path: string): Promise<void> {
  await onGuest(this, guest, async (link) => {
    const value = await link.ask({ op: 'store-read', path });
    this.process.stdout.write(Buffer.from(`${value}\n`, 'latin1'));
    return 0;
  });
}

export async function write(
  this: CliContext,
  _flags: object,
  guest: string,
  path: string,
  value: string,
): Promise<void> {
  await onGuest(this, guest, async (link) => {
    await link.ask({ op: 'store-write', path, value: Buffer.from(value, 'utf8').toString('latin1') });
    return 0;
  });
}

export async function rm(this: CliContext, _flags: object, guest: string, path: string): Promise<void> {
  await onGuest(this, guest, async (link) => {
    await link.ask({ op: 'store-remove', path });
    return 0;
  });
}

export async function watch(this: CliContext, { count }: WatchFlags, guest: string, path: string): Promise<void> {
  const { stdout } = this.process;
  await onGuest(this, guest, async (link) => {
    const interruption = listenForInterruption(this.output);
    let left = count ?? Number.POSITIVE_INFINITY;
    const ended = link.ask({ op: 'store-watch', path }, (changed) => {
      if (left === 0) return;
      left -= 1;
      stdout.write(`${changed}\n`);
      if (left === 0) interruption.now();
    });
    await Promise.race([ended, interruption.done]);
    return 0;
  });
}

/** A tree as xenstore-ls prints it, or full paths. */
function lines(nodes: readonly StoreNode[], { flat, permissions }: LsFlags): string[] {
  const top = nodes[0]?.path ?? '/';
  // The top itself is shown only where it is all there is, or by its full path.
  const shown = flat || nodes.length === 1 ? nodes : nodes.slice(1);
  return shown.map(({ path, value, permissions: rights }) => {
    const below = path.slice(top === '/' ? 1 : top.length + 1);
    const depth = below.split('/').length - 1;
    const name = flat ? path : `${' '.repeat(depth)}${path.slice(path.lastIndexOf('/') + 1)}`;
    return `${name} = "${escaped(value)}"${permissions ? ` (${rights.join(',')})` : ''}`;
  });
}

function escaped(value: string): string {
  return value.replace(/["\\]|[^\x20-\x7e]/g, (character) =>
    character === '"' || character === '\\'
      ? `\\${character}`
      : `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}
