import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openChannels } from './channels.js';

const folder = mkdtempSync(join(tmpdir(), 'paravane-channels-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const at = (path: string) => openChannels([{ connection: 'socket', name: 'one', path }]);

/** A client, and a way to wait for what it is sent. */
async function client(path: string): Promise<{ socket: Socket; hears(text: string): Promise<void> }> {
  const socket = connect(path);
  let heard = '';
  let look = (): void => undefined;
  socket.on('data', (bytes) => {
    heard += String(bytes);
    look();
  });
  await new Promise((resolve) => socket.once('connect', resolve));
  const hears = (text: string) =>
    new Promise<void>((resolve) => {
      look = () => heard.includes(text) && resolve();
      look();
    });
  return { socket, hears };
}

describe('a channel at a socket', () => {
  it('shows all clients what the guest writes, takes what they write, is for its owner, and goes at the end', async () => {
    const path = join(folder, 'both');
    const [channel] = await at(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    let typed = '';
    const came = new Promise<void>((resolve) =>
      channel?.onOpen((bytes) => {
        typed += Buffer.from(bytes).toString();
        if (typed.length === 4) resolve();
      }),
    );
    const [one, two] = [await client(path), await client(path)];
    one.socket.write('ab');
    two.socket.write('cd');
    await came;
    expect([...typed].sort().join('')).toBe('abcd');
    channel?.onOutput(Buffer.from('hello'));
    await Promise.all([one.hears('hello'), two.hears('hello')]);
    channel?.close();
    expect(existsSync(path)).toBe(false);
    for (const { socket } of [one, two]) socket.destroy();
  });

  it('takes the place of a socket whose process was killed, of no other and of no file', async () => {
    const path = join(folder, 'left');
    const listen = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 9))`;
    spawnSync(process.execPath, ['-e', listen]);
    expect(existsSync(path)).toBe(true);
    const [channel] = await at(path);
    await expect(at(path)).rejects.toMatchObject({ code: 'channel-socket', message: expect.stringContaining(path) });
    channel?.close();
    writeFileSync(path, 'mine');
    await expect(at(path)).rejects.toThrow('something else is there: remove it, or give another path');
    await expect(at(join(path, 'under'))).rejects.toMatchObject({ code: 'channel-socket' });
    await expect(at(join(folder, 'none', 'one'))).rejects.toThrow(`there is no folder ${join(folder, 'none')}`);
    expect(readFileSync(path, 'latin1')).toBe('mine');
  });
});
