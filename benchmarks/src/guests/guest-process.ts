/**
 * A machine as a process of this host with its console on standard input and output. Processor time is that of all its
 * threads, from /proc (Linux). It is stopped by signal while others are measured.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export interface Use {
  /** Processor time of all threads. */
  readonly seconds: number;
  /** Most memory that was resident at once. */
  readonly peakMiB: number;
}

export interface GuestProcess {
  /** Waits for a match in what the console shows after the last match. Rejects when the process ends before. */
  until(pattern: RegExp, deadlineSeconds: number): Promise<RegExpExecArray>;
  type(text: string): void;
  use(): Use;
  stop(): void;
  resume(): void;
  kill(): Promise<void>;
  /** Asks it to end, so that it can keep what it keeps; kills it where it does not. */
  end(): Promise<void>;
}

/** Milliseconds. */
const END_DEADLINE = 10_000;

export function startGuestProcess(command: readonly string[], name: string): GuestProcess {
  const child = spawn(command[0]!, command.slice(1), { stdio: ['pipe', 'pipe', 'pipe'] });
  let shown = '';
  let errors = '';
  let look = (): void => undefined;
  let ended = false;
  child.stdout.on('data', (bytes: Buffer) => {
    shown += bytes.toString('latin1').replaceAll('\r', '');
    look();
  });
  child.stderr.on('data', (bytes: Buffer) => {
    errors = (errors + bytes.toString()).slice(-4000);
  });
  // A machine that dies is told of where its console is waited for.
  child.stdin.on('error', () => look());
  child.on('error', (error) => {
    errors += error.message;
    ended = true;
    look();
  });
  const close = new Promise<void>((resolve) => {
    child.on('close', () => {
      ended = true;
      look();
      resolve();
    });
  });
  return {
    until: (pattern, deadlineSeconds) =>
      new Promise((resolve, reject) => {
        const fail = (why: string): void => {
          clearTimeout(timer);
          look = () => undefined;
          reject(new Error(`${name}: ${why} before ${pattern}; it showed last:\n${shown.slice(-1500)}\n${errors}`));
        };
        const timer = setTimeout(() => fail(`${deadlineSeconds} s have passed`), deadlineSeconds * 1000);
        look = () => {
          const found = pattern.exec(shown);
          if (found !== null) {
            clearTimeout(timer);
            look = () => undefined;
            shown = shown.slice(found.index + found[0].length);
            resolve(found);
          } else if (ended) fail('it ended');
        };
        look();
      }),
    type: (text) => void child.stdin.write(text),
    use: () => useOf(child),
    stop: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    async kill() {
      child.kill('SIGKILL');
      await close;
    },
    async end() {
      child.kill('SIGCONT');
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), END_DEADLINE);
      await close;
      clearTimeout(timer);
    },
  };
}

function useOf(child: ChildProcess): Use {
  const folder = `/proc/${child.pid}`;
  let nanoseconds = 0;
  for (const task of readdirSync(`${folder}/task`)) {
    nanoseconds += Number(readFileSync(`${folder}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
  }
  const peak = /VmHWM:\s+(\d+)/.exec(readFileSync(`${folder}/status`, 'utf8'));
  return { seconds: nanoseconds / 1e9, peakMiB: Number(peak?.[1] ?? 0) / 1024 };
}
