/** A guest at the shell of the pulled initramfs, in a process of its own whose processor time is measured. Linux only. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

const TICKS_PER_SECOND = 100;
const DEADLINE_SECONDS = 300;

export interface MeasuredGuest {
  /** Of the whole process since its start. */
  processorSeconds(): number;
  /** Runs a command to its end; rejects where its status is not 0. */
  run(command: string): Promise<void>;
  powerOff(): Promise<void>;
  kill(): void;
}

/** Resolves when the guest is at its prompt. */
export async function startGuest(name: string, command: readonly string[]): Promise<MeasuredGuest> {
  const child = spawn(command[0]!, command.slice(1), { stdio: ['pipe', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  let look = (): void => undefined;
  child.stdout.on('data', (bytes: Buffer) => {
    output += bytes.toString('latin1').replaceAll('\r', '');
    look();
  });
  child.stderr.on('data', (bytes: Buffer) => {
    errors += bytes.toString();
  });
  child.on('close', () => look());

  function until(pattern: RegExp, from: number): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const fail = (): void => reject(new Error(`${name}: no ${pattern}\n${output.slice(-3000)}\n${errors}`));
      const timer = setTimeout(fail, DEADLINE_SECONDS * 1000);
      look = () => {
        const found = pattern.exec(output.slice(from));
        if (!found && child.exitCode === null && child.signalCode === null) return;
        clearTimeout(timer);
        look = () => undefined;
        if (found) resolve(found);
        else fail();
      };
      look();
    });
  }

  const guest: MeasuredGuest = {
    processorSeconds() {
      const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
      return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
    },
    async run(text) {
      const from = output.length;
      // What is looked for never stands in what is typed, which is echoed.
      child.stdin.write(`${text}; echo "@"@status $?\n`);
      const [, status] = await until(/@@status (\d+)\n/, from);
      if (status !== '0') throw new Error(`${name}: ${text}: ${status}\n${output.slice(from)}`);
    },
    async powerOff() {
      child.stdin.write('poweroff -f\n');
      if (child.exitCode === null) await new Promise((resolve) => child.once('close', resolve));
    },
    kill: () => void child.kill('SIGKILL'),
  };
  try {
    await until(/\/root # /, 0);
    await guest.run('stty -echo cols 10000');
    return guest;
  } catch (error) {
    guest.kill();
    throw error;
  }
}
