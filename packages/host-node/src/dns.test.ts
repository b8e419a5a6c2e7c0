import { createSocket } from 'node:dgram';
import dns from 'node:dns';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { resolveDns } from './dns.js';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

const query = (name: string, type: number): Uint8Array =>
  Uint8Array.of(1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.length, ...Buffer.from(name), 0, 0, type, 0, 1);
const TXT = 16;

/** A name server whose answers are a query's bytes and `more`: cut short over UDP. Without TCP it serves UDP only. */
async function nameServer(more: Uint8Array, tcp: boolean): Promise<string[]> {
  const asked: string[] = [];
  const answerTo = (question: Uint8Array, cut: boolean): Buffer => {
    const answer = Buffer.concat([question, cut ? Buffer.of() : more]);
    answer[2] = cut ? 0x83 : 0x81;
    return answer;
  };
  const server = createServer((socket) => {
    socket.on('data', (bytes) => {
      asked.push(`tcp ${bytes.readUInt16BE(0)}`);
      if (!tcp) return void socket.destroy();
      const answer = answerTo(bytes.subarray(2), false);
      // In two pieces, the length apart from what it is the length of.
      socket.write(Buffer.of(answer.length >>> 8, answer.length & 0xff));
      setImmediate(() => socket.end(answer));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = createSocket('udp4');
  socket.on('message', (bytes, from) => {
    asked.push(`udp ${bytes.length}`);
    socket.send(answerTo(bytes, more.length > 400), from.port, from.address);
  });
  socket.bind(port, '127.0.0.1');
  await once(socket, 'listening');
  const before = dns.getServers();
  dns.setServers([`127.0.0.1:${port}`]);
  closers.push(
    () => dns.setServers(before),
    () => server.close(),
    () => socket.close(),
  );
  return asked;
}

describe('names', () => {
  it('of the hosts file are known', async () => {
    const answer = await resolveDns(query('localhost', 1));
    expect([answer[0], answer[1], (answer[2] ?? 0) & 0x80, (answer[3] ?? 0) & 15]).toEqual([1, 2, 0x80, 0]);
    expect([...answer.slice(-4)]).toEqual([127, 0, 0, 1]);
  });

  it('are no names without a question', async () => {
    await expect(resolveDns(new Uint8Array(5))).rejects.toMatchObject({ code: 'dns-failed' });
  });
});

describe('a name server', () => {
  it('is asked over UDP for what fits', async () => {
    const more = new Uint8Array(300).fill(7);
    const asked = await nameServer(more, true);
    const answer = await resolveDns(query('some', TXT));
    expect([...answer.subarray(-300)]).toEqual([...more]);
    expect(asked).toEqual(['udp 22']);
  });

  it('is asked again over TCP for what it cut short', async () => {
    const more = Uint8Array.from({ length: 60_000 }, (_, index) => index);
    const asked = await nameServer(more, true);
    const answer = await resolveDns(query('some', TXT));
    expect(answer.length).toBe(22 + more.length);
    expect(Buffer.compare(answer.subarray(22), more)).toBe(0);
    expect(asked).toEqual(['udp 22', 'tcp 22']);
  });

  it('that has no TCP leaves the answer that it cut short', async () => {
    const asked = await nameServer(new Uint8Array(600), false);
    const answer = await resolveDns(query('some', TXT));
    expect([answer.length, answer[2]]).toEqual([22, 0x83]);
    expect(asked).toEqual(['udp 22', 'tcp 22']);
  });
});
