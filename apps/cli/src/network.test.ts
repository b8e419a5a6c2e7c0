/** The network of a real guest: Debian's kernel, pulled by name, with an interface, through the built command line. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'paravane-network-'));
const env = { ...process.env, PARAVANE_HOME: folder };
const servers: Server[] = [];
const children: ChildProcess[] = [];

afterAll(() => {
  for (const child of children) child.kill();
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true, force: true });
});

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

async function listen(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** A guest at whose console one can type and read. */
function start(args: readonly string[]) {
  const child = spawn(process.execPath, [program, 'run', ...args], { env });
  children.push(child);
  let output = '';
  let looked = 0;
  let wake: () => void = () => undefined;
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += String(chunk).replaceAll('\r', '');
      wake();
    });
  }
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  void ended.then(() => wake());
  return {
    ended,
    /** What was written up to `text`, after what was waited for before. */
    async until(text: string): Promise<string> {
      for (;;) {
        const at = output.indexOf(text, looked);
        if (at >= 0) {
          const found = output.slice(looked, at);
          looked = at + text.length;
          return found;
        }
        if (child.exitCode !== null) throw new Error(`the guest ended before "${text}":\n${output.slice(-2000)}`);
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
    type: (line: string) => void child.stdin.write(`${line}\n`),
  };
}

describe('a guest with an interface', () => {
  it('gets its address, reaches the host both ways with its bytes right, and is reached at a published port', async () => {
    if (!existsSync(program))
      throw new Error('the command line has not been built: run `npx --yes pnpm@10 build` first');
    const pulled = spawnSync(process.execPath, [program, 'pull', 'debian'], { env, encoding: 'utf8' });
    expect(pulled.stderr + String(pulled.status)).toMatch(/0$/);
    const down = Buffer.from(Uint8Array.from({ length: 1_000_000 }, (_, at) => (at * 31 + (at >> 8)) & 255));
    const uploads: Buffer[] = [];
    const http = await listen(createHttpServer((_, response) => void response.end(down)));
    const sink = await listen(
      createServer({ allowHalfOpen: true }, (socket) => {
        const parts: Buffer[] = [];
        socket.on('data', (part) => parts.push(part));
        socket.on('end', () => {
          uploads.push(Buffer.concat(parts));
          socket.end('thanks\n');
        });
      }),
    );
    const free = createServer();
    const port = await listen(free);
    await new Promise((resolve) => free.close(resolve));
    const capture = join(folder, 'net.pcapng');
    const guest = start(['debian', '--vif', 'mac=00:16:3e:00:00:01', '--publish', `${port}:7`, '--capture', capture]);
    const run = async (command: string): Promise<string> => {
      guest.type(`${command}; echo do""ne`);
      return guest.until('done\n');
    };
    await guest.until('/root # ');
    const addresses = await run('ip addr show eth0; cat /etc/resolv.conf');
    expect(addresses).toContain('link/ether 00:16:3e:00:00:01');
    expect(addresses).toContain('inet 10.0.2.15/24');
    expect(addresses).toContain('nameserver 10.0.2.3');
    expect(await run('ping -c 2 10.0.2.2')).toContain('2 packets received');
    expect(await run('nslookup localhost 10.0.2.3')).toContain('127.0.0.1');
    expect(await run(`wget -q -O /tmp/down http://10.0.2.2:${http}/; sha256sum /tmp/down`)).toContain(sha256(down));
    expect(await run(`nc 10.0.2.2 ${sink} </tmp/down`)).toContain('thanks');
    expect(uploads.map(sha256)).toEqual([sha256(down)]);
    guest.type('nc -lp 7 -e cat; echo ov""er');
    // The guest takes a moment to listen; until then it refuses.
    const echoed = await (async () => {
      for (;;) {
        const socket = connect(port, '127.0.0.1');
        socket.on('error', () => undefined);
        socket.end('hello, guest');
        const parts: Buffer[] = [];
        socket.on('data', (part) => parts.push(part));
        await new Promise((resolve) => socket.on('close', resolve));
        if (parts.length > 0) return Buffer.concat(parts).toString();
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    })();
    expect(echoed).toBe('hello, guest');
    await guest.until('over\n');
    guest.type('poweroff -f');
    expect(await guest.ended).toBe(0);
    const captured = readFileSync(capture);
    expect([captured.readUInt32LE(0), captured.includes('debian.0'), captured.length > 2_000_000]).toEqual([
      0x0a0d0d0a,
      true,
      true,
    ]);
  });

  it('talks to another guest; in virtual time two runs leave the same capture', async () => {
    // The second guest answers for four seconds and ends, without anybody at its console.
    const quiet = 'console=hvc0 quiet xen_legacy_crash';
    const pulled = readFileSync(join(folder, 'debian', 'debian.cfg'), 'utf8').replace('memory = 256', 'memory = 128');
    for (const [at, extra] of [
      `"${quiet}"`,
      `'${quiet} rdinit=/bin/sh -- -c "/bin/busybox sed -i -e /^setsid/csleep\\\\ 4 /etc/console-shell; exec /init"'`,
    ].entries()) {
      const text = pulled
        .replace('name = "debian"', `name = "guest${at}"`)
        .replace(/^extra = .*$/m, () => `extra = ${extra}`);
      writeFileSync(join(folder, `guest${at}.cfg`), text);
    }
    const play = async (capture: string): Promise<[string, Buffer]> => {
      const configs = [join(folder, 'guest0.cfg'), join(folder, 'guest1.cfg')];
      const child = spawn(
        process.execPath,
        [program, 'run', ...configs, '--vif', '', '--clock', 'virtual', '--capture', capture, '--stats'],
        { env },
      );
      children.push(child);
      let output = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += String(chunk)));
      child.stdin.end('ping -c 3 10.0.2.16\nping -c 1 10.0.2.2\npoweroff -f\n');
      const status = await new Promise((resolve) => child.on('close', resolve));
      expect([status, status === 0 ? '' : output]).toEqual([0, '']);
      return [output.replaceAll('\r', ''), readFileSync(capture)];
    };
    const [one, two] = await Promise.all(['one', 'two'].map((name) => play(join(folder, `${name}.pcapng`))));
    expect(one?.[0]).toContain('guest0 | 64 bytes from 10.0.2.16: seq=2');
    expect(one?.[0]).toContain('guest0 | 3 packets transmitted, 3 packets received');
    expect(one?.[0]).toContain('guest0 | 64 bytes from 10.0.2.2: seq=0');
    expect(one?.[1].equals(two?.[1] as Buffer)).toBe(true);
    const hashes = (text: string | undefined) => text?.match(/^(guest instructions|state hash): .*$/gm);
    expect(hashes(one?.[0])).toHaveLength(4);
    expect(hashes(two?.[0])).toEqual(hashes(one?.[0]));
  });

  it.each([
    [['--vif', 'ip=300.1.1.1'], '"300.1.1.1" in a vif\'s ip is no IP address'],
    [['--vif', 'ip=10.0.2.20 fec0::20/64', '--vif', 'ip=10.0.2.20'], 'two interfaces on "xenbr0" have ip=10.0.2.20'],
    [
      ['--vif', 'ip=192.168.1.5', '--publish', '1'],
      '--vif ip=192.168.1.5: the network gives its guests 10.0.2.4 to 10.0.2.254',
    ],
    [
      ['--vif', 'ip=fec0::20', '--publish', '1'],
      '--vif ip=fec0::20: the network gives its guests 10.0.2.4 to 10.0.2.254',
    ],
    [['--vif', '', '--publish', '2222:22', '--publish', '2222:23'], "--publish has the host's tcp port 2222 twice"],
    [['--vif', '', '--publish', '5:5/udp', '--publish', '0.0.0.0:5:6/udp'], "the host's udp port 5 twice"],
    [
      ['--vif', '', '--publish', '5:5', '--publish', '[::1]:5:5', '--publish', '5:5/udp', '--publish', '1'],
      '"1": this is not',
    ],
    [['--vif', '', '--capture', 'no-such-folder/net.pcapng'], 'there is no folder no-such-folder'],
  ])('is refused in words: %j', (flags, words) => {
    const run = [program, 'run', '--kernel', program, ...flags];
    const { status, stderr } = spawnSync(process.execPath, run, { env, encoding: 'utf8' });
    expect(stderr).toContain(words);
    expect(status).toBe(2);
  });

  it('is needed for what the network’s flags say', () => {
    const { status, stderr } = spawnSync(process.execPath, [program, 'run', '--kernel', program, '--publish', '1:2'], {
      env,
      encoding: 'utf8',
    });
    expect([status !== 0, stderr]).toEqual([true, expect.stringContaining('--vif')]);
  });
});
