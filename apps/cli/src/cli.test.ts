import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('../dist/testing/fake-main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'paravane-cli-'));
const home = join(folder, 'home');

interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Call {
  readonly input?: string;
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  /** A signal that is sent once, when what was printed matches. */
  readonly signal?: readonly [name: NodeJS.Signals, seen: RegExp];
}

/** Runs the built command line over the fake machine. Without `input`, standard input stays open and silent. */
function paravane(args: string[], { input, cwd = folder, env = {}, signal }: Call = {}): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], {
      cwd,
      env: { ...process.env, PARAVANE_HOME: home, ...env },
    });
    let [stdout, stderr, signalled] = ['', '', false];
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
      if (signalled || !signal?.[1].test(stdout)) return;
      signalled = true;
      child.kill(signal[0]);
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, stdout, stderr }));
    if (input !== undefined) child.stdin.end(input);
  });
}

/** Status and standard error of a process that was started otherwise. */
function ended(child: ChildProcess): Promise<[status: number | null, stderr: string]> {
  let stderr = '';
  child.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => resolve([status, stderr]));
  });
}

function write(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return name;
}

beforeAll(() => {
  if (!existsSync(program)) throw new Error('the command line has not been built: run `npx --yes pnpm@10 build` first');
  write('vmlinuz', 'fake kernel');
  write('ramdisk', 'twelve bytes');
  write('garbage', 'garbage');
  write('guest.cfg', 'name = "guest"\nkernel = "vmlinuz"\nextra = "console=hvc0"\nmemory = 64\n');
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('exit statuses', () => {
  it('0: the guest shut itself down', async () => {
    const { status, stdout, stderr } = await paravane(['run', 'guest.cfg'], { input: 'hello\npoweroff\n' });
    expect(stdout).toContain('cmdline: console=hvc0\nmemory 64, vcpus 1, ramdisk none, wall');
    expect(stdout).toContain('got hello\n$ got poweroff\n');
    expect(stderr).toBe('');
    expect(status).toBe(0);
  });

  it('1: failure on the host', async () => {
    const { status, stderr } = await paravane(['run', 'guest.cfg'], { input: 'throw\n' });
    expect(stderr).toContain('paravane: an error inside paravane: the fake broke');
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(status).toBe(1);
  });

  it('3: the guest crashed, with a report', async () => {
    const { status, stderr } = await paravane(['run', 'guest.cfg'], { input: 'hello\ncrash\n' });
    expect(stderr).toContain('Domain "guest" crashed: the guest asked for it');
    expect(stderr).toContain('rip ffffffff81000000');
    expect(stderr).toContain('ffffffff81000123  panic+0x23/0x100');
    expect(stderr).toContain('| $ got hello');
    expect(status).toBe(3);
  });

  it.each([['run', 'guest.cfg'], ['start', '--clock', 'virtual'], ['--help']])(
    '1: standard output is full (%j)',
    async (...args) => {
      const full = openSync('/dev/full', 'w');
      const child = spawn(process.execPath, [program, ...args], { cwd: folder, stdio: ['pipe', full, 'pipe'] });
      closeSync(full);
      child.stdin?.end('spin\n');
      expect(await ended(child)).toEqual([1, 'paravane: cannot write to standard output: the disk is full\n']);
    },
  );

  it('1: whoever read standard output has gone', async () => {
    const child = spawn(process.execPath, [program, 'run', 'guest.cfg'], { cwd: folder });
    child.stdout.once('data', () => {
      child.stdout.destroy();
      child.stdin.write('spin\n');
    });
    expect(await ended(child)).toEqual([1, 'paravane: cannot write to standard output: whoever read it has gone\n']);
  });

  it.each(['nothing', 'spin\n'])('4: --timeout passed (%j)', async (input) => {
    const { status, stderr } = await paravane(['run', 'guest.cfg', '--timeout', '0.3'], { input });
    expect(stderr).toContain('--timeout 0.3 has passed');
    expect(status).toBe(4);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('130: interrupted by %s', async (name) => {
    const { status, stderr } = await paravane(['run', 'guest.cfg'], { signal: [name, /\$ /] });
    expect(stderr).toContain('"guest" was ended: interrupted');
    expect(status).toBe(130);
  });
});

describe('2: bad configuration or arguments', () => {
  it.each([
    [['run', 'bad.cfg'], /^bad\.cfg:2:8: error: type "hvm" is not supported yet/m],
    [['run', 'syntax.cfg'], /^syntax\.cfg:1:8: error: put quotes around the text: "guest"/m],
    [['run', 'missing.cfg'], /cannot read the configuration missing\.cfg: there is no such file/],
    [['run', '.'], /cannot read the configuration \.: it is a folder/],
    [['run', 'nokernel.cfg'], /cannot read the kernel nowhere: there is no such file/],
    [['run', 'guest.cfg', '--kernel', 'garbage'], /garbage is not a kernel/],
    [['run', 'guest.cfg', '--ramdisk', 'nowhere'], /cannot read the ramdisk nowhere: there is no such file/],
    [['run', 'guest.cfg', '--memory', 'lots'], /"lots" for memory: give a number of MiB/],
    [['run', 'guest.cfg', '--memory', '1'], /it can be 4 to 3968 MiB/],
    [['run', 'guest.cfg', '--vcpus', '0'], /it can be 1 to 32 vCPUs/],
    [['run', 'guest.cfg', '--clock', 'sun'], /"sun" to be one of \(virtual\|wall\)/],
    [['run', 'guest.cfg', '--seed', 'x'], /give a whole number/],
    [['run', 'guest.cfg', '--timeout', '0'], /give a number of seconds above 0/],
    [['run', 'guest.cfg', '--escape', 'Ctrl'], /give a key such as \^\]/],
    [['run', 'guest.cfg', '--trace', 'nowhere/trace'], /cannot write the trace to nowhere\/trace/],
    [['run', 'guest.cfg', '--colour'], /No flag registered for --colour/],
    [['run', 'guest.cfg', 'more'], /cannot read the configuration more: there is no such file/],
    [['run', 'guest.cfg', 'guest.cfg'], /two guests are called "guest": give each a name of its own/],
    [['run', 'guest.cfg', 'other.cfg', '--trace', 'trace'], /--trace trace: with several guests put %n where/],
    [['run', 'guest.cfg', 'other.cfg', '--console-log', 'log'], /--console-log log: with several guests put %n where/],
    [['run', 'guest.cfg', '--console-log', 'nowhere/log'], /cannot write the console to nowhere\/log/],
    [['run', 'guest.cfg', 'other.cfg', '--vif', 'mac=00:16:3e:00:00:01'], /two interfaces have the address 00:16:3e/],
    [['run', 'debian'], /"debian" has not been pulled yet: run paravane pull debian/],
    [
      ['run', 'nosuch'],
      /nosuch: there is no such file, nor a pulled guest .*\. Pulled already: none\. To fetch one: .*grub/,
    ],
    [['run'], /say what to run/],
    [['walk'], /No command registered for `walk`/],
    [['pull', 'windows'], /it is one of debian, grub/],
    [['pull', 'grub', '--from', '.', '--suite', 'sid'], /leave out --mirror and --suite/],
    [['pull', 'grub', '--mirror', 'ftp://x'], /--mirror takes an http/],
  ])('%j', async (args, complaint) => {
    write('bad.cfg', 'name = "guest"\ntype = "hvm"\nkernel = "vmlinuz"\n');
    write('syntax.cfg', 'name = guest\nkernel = "vmlinuz"\n');
    write('other.cfg', 'name = "other"\nkernel = "vmlinuz"\n');
    write('nokernel.cfg', 'name = "guest"\nkernel = "nowhere"\n');
    const { status, stdout, stderr } = await paravane(args, { input: '' });
    expect(stderr).toMatch(complaint);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(stdout).toBe('');
    expect(status).toBe(2);
  });
});

describe('run', () => {
  it('warns of keys with file, line and column, and goes on', async () => {
    write('warn.cfg', 'name = "guest"\nkernel = "vmlinuz"\n  usbdev = ["a"]\nfrob = 1\n');
    const { status, stderr } = await paravane(['run', 'warn.cfg'], { input: 'poweroff\n' });
    expect(stderr).toBe(
      'warn.cfg:3:3: warning: "usbdev" is not supported yet and has no effect\n' +
        'warn.cfg:4:1: warning: unknown key "frob"; it has no effect\n',
    );
    expect(status).toBe(0);
  });

  it('lets flags override keys', async () => {
    const flags = '--kernel vmlinuz --ramdisk ramdisk --memory 2G --vcpus 2 --clock virtual --seed 0x10'.split(' ');
    const { stdout } = await paravane(['run', 'guest.cfg', ...flags, '--cmdline', 'a  b'], { input: 'poweroff\n' });
    expect(stdout).toContain('cmdline: a  b\nmemory 2048, vcpus 2, ramdisk 12, virtual, seed 16\n');
  });

  it('needs no configuration where --kernel is given', async () => {
    expect((await paravane(['run', '--kernel', 'vmlinuz'], { input: 'poweroff\n' })).status).toBe(0);
  });

  it('finds the files of a configuration beside it', async () => {
    const elsewhere = join(folder, 'elsewhere');
    mkdirSync(elsewhere);
    expect((await paravane(['run', '../guest.cfg'], { input: 'poweroff\n', cwd: elsewhere })).status).toBe(0);
  });

  it('finds a pulled guest by name', async () => {
    mkdirSync(join(home, 'grub'), { recursive: true });
    writeFileSync(join(home, 'grub', 'grub.cfg'), `name = "grub"\nkernel = "${join(folder, 'vmlinuz')}"\n`);
    expect((await paravane(['run', 'grub'], { input: 'poweroff\n' })).status).toBe(0);
    const { status, stderr } = await paravane(['run', 'grab'], { input: '' });
    expect(stderr).toContain('Pulled already: grub. To fetch one: paravane pull debian, paravane pull grub');
    expect(status).toBe(2);
  });

  it('restarts the domain as on_reboot says', async () => {
    const { status, stdout, stderr } = await paravane(['run', 'guest.cfg'], {
      input: 'reboot\n',
      signal: ['SIGTERM', /cmdline:[^]*cmdline:/],
    });
    expect(stderr).toContain('"guest" restarts after a reboot');
    expect(stdout.match(/cmdline:/g)).toHaveLength(2);
    expect(status).toBe(130);
  });

  it('writes a trace, figures and a log', async () => {
    const { stderr } = await paravane(['run', 'guest.cfg', '--trace', 'trace', '--stats', '--log', 'info'], {
      input: 'poweroff\n',
    });
    const trace = readFileSync(join(folder, 'trace'), 'utf8').trimEnd().split('\n');
    expect([trace[0], trace.at(-1)]).toEqual(['0.0 0 boot', '0.0 0 destroy']);
    expect(stderr).toContain('paravane: info: built guest\n');
    expect(stderr).toMatch(/^guest instructions: \d+$/m);
    expect(stderr).toMatch(/^state hash: cafe$/m);
    expect(stderr).toMatch(/^exits, syscall: 7$/m);
    expect(stderr).toMatch(/^TLB hit percent: 99.5$/m);
  });

  it('gives equal input at equal moments in virtual time', async () => {
    const steps = async (): Promise<string | undefined> => {
      const args = ['run', 'guest.cfg', '--clock', 'virtual', '--stats'];
      return /guest instructions: \d+/.exec((await paravane(args, { input: 'hello\npoweroff\n' })).stderr)?.[0];
    };
    expect(await steps()).toBe(await steps());
  });

  it.each([
    [[], 64],
    [['--pv32'], 32],
  ])('boots our own guest with start %j in %d bits', async (flags, bits) => {
    const { status, stdout } = await paravane(['start', ...flags], { input: 'poweroff\n' });
    expect(stdout).toContain(`cmdline: own ${bits}\nmemory 32`);
    expect(status).toBe(0);
  });
});

describe('several guests', () => {
  beforeAll(() => void write('other.cfg', 'name = "second"\nkernel = "vmlinuz"\nextra = "two"\n'));

  it('show their consoles under their names, and write them to files', async () => {
    const { status, stdout, stderr } = await paravane(
      ['run', 'guest.cfg', 'other.cfg', '--console-log', 'log-%n', '--stats'],
      { input: 'hello\npoweroff\n', signal: ['SIGTERM', /got poweroff/] },
    );
    expect(stdout).toContain('guest  | cmdline: console=hvc0\nguest  | memory 64');
    expect(stdout).toContain('second | cmdline: two\nsecond | memory 128');
    expect(stdout).toContain('guest  | $ got hello\nguest  | $ got poweroff\n');
    expect(stdout).toMatch(/second \| \$ \n$/);
    expect(readFileSync(join(folder, 'log-guest'), 'utf8')).toMatch(/^cmdline: console=hvc0\n[^]*got poweroff\n\$ $/);
    expect(readFileSync(join(folder, 'log-second'), 'utf8')).toMatch(/^cmdline: two\n[^]*\$ $/);
    expect(stderr).toContain('"second" was ended: interrupted');
    expect(stderr).not.toContain('"guest" was ended');
    expect(stderr).toMatch(
      /\[guest\]\nguest instructions: \d+\n[^]*\[second\]\nguest instructions: [^]*\[process\]\n[^]*host seconds/,
    );
    expect(status).toBe(130);
  });

  it.each([
    ['poweroff\n', 'SIGINT', 130],
    ['crash\n', 'SIGINT', 3],
    ['throw\n', 'SIGTERM', 1],
  ] as const)('have the gravest exit status: %j and %s make %d', async (input, name, expected) => {
    const { status, stderr } = await paravane(['run', 'guest.cfg', 'other.cfg'], {
      input,
      signal: [name, /guest  \| \$ got/],
    });
    expect(stderr).toContain('"second" was ended: interrupted');
    expect(stderr.includes('"guest" has failed')).toBe(expected === 1);
    expect(status).toBe(expected);
  });
});

describe('help', () => {
  it.each([[[]], [['--help']], [['run', '--help']], [['start', '--help']], [['pull', '--help']]])(
    '%j',
    async (args) => {
      const { status, stdout } = await paravane(args);
      expect(stdout).toContain('USAGE\n  paravane');
      expect(stdout).toMatch(/3 the guest crashed|ready for paravane run/);
      expect(status).toBe(0);
    },
  );

  it('--version', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
    expect((await paravane(['--version'])).stdout.trim()).toBe(version);
  });
});

/** `script` runs a program on a terminal of its own; it is part of Debian's base and of most systems. */
describe('on a terminal', () => {
  const onTerminal = (command: string, keys: (output: string) => string | undefined): Promise<Result> =>
    new Promise((resolve, reject) => {
      const child = spawn('script', ['-qec', command, '/dev/null'], {
        cwd: folder,
        env: { ...process.env, PARAVANE_HOME: home },
      });
      let stdout = '';
      child.stdout.on('data', (chunk) => {
        stdout += chunk;
        const next = keys(stdout);
        if (next !== undefined) child.stdin.write(next);
      });
      child.on('error', reject);
      child.on('close', (status) => resolve({ status, stdout, stderr: '' }));
    });

  /** Sends each text once, when what is before it has been seen. */
  const conversation = (...turns: [seen: string, keys: string][]) => {
    let turn = 0;
    return (output: string): string | undefined => {
      const next = turns[turn];
      if (next === undefined || !output.includes(next[0])) return undefined;
      turn += 1;
      return next[1];
    };
  };

  const command = `'${process.execPath}' '${program}' run guest.cfg`;

  /** The same by a shell that says the number of the process first. */
  const counted = `stty -a >before; sh -c 'echo pid $$; exec "$@"' sh ${command}; s=$?; stty -a >after; exit $s`;

  /** Types `keys` at the first prompt, and calls `act` once with the number of the process. */
  const atPrompt = (act: (pid: number) => void, keys?: string) => {
    let acted = false;
    return (output: string): string | undefined => {
      if (acted || !output.includes('seed')) return undefined;
      acted = true;
      act(Number(/pid (\d+)/.exec(output)?.[1]));
      return keys;
    };
  };

  it('hands every key to the guest, Ctrl-C too, and restores the terminal', async () => {
    const { status, stdout } = await onTerminal(
      `stty -a >before; ${command}; s=$?; stty -a >after; exit $s`,
      conversation(['seed', 'a\x03b\r'], ['got a<3>b', 'poweroff\r']),
    );
    expect(stdout).toContain('booting "guest" with 64 MiB; Ctrl-] leaves');
    expect(stdout).toContain('got a<3>b');
    expect(readFileSync(join(folder, 'after'), 'utf8')).toBe(readFileSync(join(folder, 'before'), 'utf8'));
    expect(status).toBe(0);
  });

  it('says of our own guest what this is, and how to leave', async () => {
    const { stdout } = await onTerminal(
      `'${process.execPath}' '${program}' start --escape ^a`,
      conversation(['seed', 'poweroff\r']),
    );
    expect(stdout).toMatch(/^paravane: a paravirtualizing x86 hypervisor .*`poweroff` ends it\r?\n/);
    expect(stdout).toContain('paravane: booting "paravane-guest" with 32 MiB; Ctrl-A leaves');
  });

  it('leaves at Ctrl-], or at another --escape, and restores the terminal', async () => {
    const script = (flags: string): string => `stty -a >before; ${command} ${flags}; s=$?; stty -a >after; exit $s`;
    const left = await onTerminal(script(''), conversation(['seed', 'x\x1d']));
    expect(left.status).toBe(130);
    expect(readFileSync(join(folder, 'after'), 'utf8')).toBe(readFileSync(join(folder, 'before'), 'utf8'));
    const other = await onTerminal(script('--escape ^a'), conversation(['seed', '\x1d\r'], ['got <29>', '\x01']));
    expect(other.status).toBe(130);
  });

  it('restores the terminal when it is killed by a signal or fails', async () => {
    expect(
      (
        await onTerminal(
          counted,
          atPrompt((pid) => process.kill(pid, 'SIGTERM')),
        )
      ).status,
    ).toBe(130);
    expect(readFileSync(join(folder, 'after'), 'utf8')).toBe(readFileSync(join(folder, 'before'), 'utf8'));
    const failed = `stty -a >before; ${command}; s=$?; stty -a >after; exit $s`;
    expect((await onTerminal(failed, conversation(['seed', 'throw\r']))).status).toBe(1);
    expect(readFileSync(join(folder, 'after'), 'utf8')).toBe(readFileSync(join(folder, 'before'), 'utf8'));
  });

  it('ends at a later signal what the first one did not end, and restores the terminal', async () => {
    let signals: NodeJS.Timeout | undefined;
    const { status } = await onTerminal(
      counted,
      atPrompt((pid) => {
        signals = setInterval(() => process.kill(pid, 'SIGINT'), 200);
      }, 'hang\r'),
    ).finally(() => clearInterval(signals));
    expect(status).toBe(130);
    expect(readFileSync(join(folder, 'after'), 'utf8')).toBe(readFileSync(join(folder, 'before'), 'utf8'));
  });
});
