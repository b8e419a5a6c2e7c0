// What the trials of disks have in common: images that are made on the host, and Debian's kernel at a shell prompt with
// those images as its disks. The guest is the one that `paravane pull debian` made.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const program = join(root, 'apps/cli/dist/main.js');
const prompt = '/root # ';

/** Runs a program of the host to its end; throws with what it said unless its exit status is among `allowed`. */
export function host(command, args, allowed = [0]) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 26 });
  if (error) throw new Error(`${command} cannot be run: ${error.message}`);
  if (!allowed.includes(status)) throw new Error(`${command} ${args.join(' ')}: status ${status}\n${stdout}${stderr}`);
  return stdout;
}

export function dataFolder() {
  const home = process.env.XDG_DATA_HOME ?? join(homedir(), '.local/share');
  return process.env.PARAVANE_HOME ?? join(home, 'paravane');
}

/**
 * Boots Debian's kernel to the shell of its initramfs. `disks` are lines of xl's disk syntax, `flags` further ones of the
 * command line, `env` further variables of its process. What the guest is told to do is typed; what it says to us begins with `@@`, which is never typed in one
 * piece, so that its echo is no answer.
 */
export async function bootDebian(disks, { memory = 128, patience = 1500, stats = false, flags = [], env = {} } = {}) {
  if (!existsSync(program)) throw new Error('the command line has not been built: run `npx --yes pnpm@10 build` first');
  const pulled = (name) => join(dataFolder(), 'debian', name);
  if (!existsSync(pulled('debian.cfg'))) throw new Error('run `paravane pull debian` first');
  const child = spawn(
    process.execPath,
    [
      ...[program, 'run', '--kernel', pulled('vmlinuz'), '--ramdisk', pulled('initramfs.cpio.gz')],
      ...['--memory', String(memory), '--cmdline', 'console=hvc0 shell quiet'],
      ...(stats ? ['--stats'] : []),
      ...disks.flatMap((disk) => ['--disk', disk]),
      ...flags,
    ],
    { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env } },
  );
  // A trial that fails leaves no guest behind.
  process.once('exit', () => child.kill('SIGKILL'));
  let output = '';
  let told = '';
  let ended = false;
  let status = null;
  let look = () => {};
  child.stdin.on('error', () => {
    // It is told by `close` that there is nobody left to type to.
    ended = true;
  });
  child.stdout.on('data', (bytes) => {
    output += bytes.toString('latin1').replaceAll('\r', '');
    look();
  });
  child.stderr.on('data', (bytes) => {
    told += bytes;
  });
  child.on('close', (code) => {
    ended = true;
    status = code;
    look();
  });

  /** Waits until `found` finds what it looks for in all that was said so far. */
  function until(found, what, seconds = patience) {
    return new Promise((resolve, reject) => {
      const fail = (why) => {
        finish();
        reject(
          new Error(`${why}, while ${what} was waited for; the guest said last:\n${output.slice(-3000)}\n${told}`),
        );
      };
      const timer = setTimeout(() => fail(`nothing in ${seconds} s`), seconds * 1000);
      const finish = () => {
        clearTimeout(timer);
        look = () => {};
      };
      look = () => {
        const result = found(output);
        if (result) {
          finish();
          resolve(result);
        } else if (ended) fail('the guest has ended');
      };
      look();
    });
  }

  const guest = {
    pid: child.pid,
    get output() {
      return output;
    },
    get told() {
      return told;
    },
    until,
    type: (line) => child.stdin.write(`${line}\n`),
    /** Runs a command to its end; what it said, and its exit status. */
    async run(command, seconds) {
      const from = output.length;
      child.stdin.write(`${command}; echo "@"@status $?\n`);
      const found = await until((all) => /@@status (\d+)\n/.exec(all.slice(from)), command, seconds);
      return { status: Number(found[1]), text: found.input.slice(0, found.index) };
    },
    async kill() {
      child.kill('SIGKILL');
      if (!ended) await new Promise((resolve) => child.once('close', resolve));
    },
    async powerOff() {
      child.stdin.write('poweroff -f\n');
      if (!ended) await new Promise((resolve) => child.once('close', resolve));
      return status;
    },
  };
  try {
    await until((all) => all.includes(prompt), 'the prompt');
    // Long lines are not to be broken by the terminal, nor what is typed to be repeated.
    await guest.run('stty -echo; echo 3 > /proc/sys/kernel/printk');
  } catch (error) {
    await guest.kill();
    throw error;
  }
  return guest;
}
