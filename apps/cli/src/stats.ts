/** What `--stats` tells, at the end and on a key: figures of each guest, and where the process spends its time. */
import { hostTime, otherThreadsSeconds, profileTime } from '@paravane/host-node';
import type { DomainRun, DomainStats } from '@paravane/toolstack';

export interface Figures {
  /** Up to now, a line each. */
  text(runs: readonly DomainRun[]): string;
  close(): void;
}

type Row = readonly [name: string, value: string];

/** From now on it is looked where time goes. */
export function createFigures(names: readonly string[]): Figures {
  const started = hostTime.now();
  const profile = profileTime();
  return {
    text(runs) {
      const elapsed = hostTime.now() - started;
      const several = runs.length > 1;
      const lines: string[] = [];
      for (const [number, run] of runs.entries()) {
        if (several) lines.push(`[${names[number]}]`);
        const stats = run.stats();
        if (stats !== undefined) lines.push(...guestRows(stats, elapsed).map(line));
      }
      if (several) lines.push('[process]');
      lines.push(...processRows(elapsed, profile.read().parts).map(line));
      return `${lines.join('\n')}\n`;
    },
    close: () => profile.stop(),
  };
}

const line = ([name, value]: Row): string => `${name}: ${value}`;
/** A counter's name in words: `tlbHitPercent`, `exits.syscall`, `disk.xvda.bytesRead`. */
function words(name: string): string {
  const of = name.split('.');
  const figure = of.pop()!.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return of.length === 0 ? figure.replace(/^tlb /, 'TLB ') : `${of.join(' ')}, ${figure}`;
}
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function guestRows(stats: DomainStats, milliseconds: number): Row[] {
  return [
    ['guest instructions', String(stats.instructions)],
    ['guest seconds', (stats.guestMilliseconds / 1000).toFixed(3)],
    ['million instructions a second', (Number(stats.instructions) / milliseconds / 1000).toFixed(1)],
    ...Object.entries(stats.counters).map(([name, value]): Row => [words(name), String(value)]),
    ...(stats.stateHash === undefined ? [] : [['state hash', stats.stateHash] as const]),
    ...(stats.hottest ?? []).map(({ where, share }): Row => ['instructions in', `${percent(share)} ${where}`]),
  ];
}

function processRows(milliseconds: number, parts: readonly (readonly [string, number])[]): Row[] {
  const { user, system } = process.cpuUsage();
  const others = otherThreadsSeconds();
  const all = parts.reduce((sum, [, seconds]) => sum + seconds, 0);
  return [
    ...parts.map(([part, seconds]): Row => ['time in', `${percent(seconds / all)} ${part}`]),
    ['host seconds', (milliseconds / 1000).toFixed(3)],
    ['processor seconds', ((user + system) / 1e6).toFixed(3)],
    ...(others === undefined ? [] : [['processor seconds of other threads', others.toFixed(3)] as const]),
    ['peak host memory, MiB', (process.resourceUsage().maxRSS / 1024).toFixed(0)],
  ];
}
