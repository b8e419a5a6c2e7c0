import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createMemoryFile, createQcow2 } from '@paravane/images';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDisk } from './disk.js';

describe('a disk from a web server', () => {
  const files = new Map<string, Uint8Array>();
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const content = files.get(request.url ?? '');
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    asked.push(`${request.url} ${request.headers.range}`);
    if (content === undefined || first === undefined) return void response.writeHead(404).end();
    const bytes = content.subarray(Number(first), Number(last) + 1);
    response.writeHead(206, { 'content-range': `bytes ${first}-${Number(last)}/${content.length}` }).end(bytes);
  });
  const at = (path: string): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;

  beforeAll(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
  afterAll(() => {
    server.close();
    server.closeAllConnections();
  });

  it('is read by ranges, and written in memory alone', async () => {
    files.set(
      '/raw.img',
      Uint8Array.from({ length: 1 << 20 }, (_, index) => index >> 9),
    );
    const { config, image } = await openDisk(at('/raw.img'));
    expect([config.vdev.name, config.readOnly, image?.readOnly, image?.size]).toEqual(['xvda', false, false, 1 << 20]);
    const block = new Uint8Array(512);
    await image?.read(7 * 512, block);
    expect(block.every((byte) => byte === 7)).toBe(true);
    await image?.write(7 * 512, block.fill(99));
    await image?.read(7 * 512, block.fill(0));
    expect(block[0]).toBe(99);
    expect(files.get('/raw.img')?.[7 * 512]).toBe(7);
    // Not the whole of it: the first bytes, which tell the format, and what was read.
    expect(asked).toEqual(['/raw.img bytes=0-0', '/raw.img bytes=0-131071']);
  });

  it('may be qcow2 over another image, beside it', async () => {
    files.set('/images/base.img', new Uint8Array(65536).fill(5));
    const top = createMemoryFile();
    await createQcow2(top, { size: 65536, backing: { name: 'base.img', format: 'raw' } });
    files.set('/images/top.qcow2', top.content());
    const { image } = await openDisk(at('/images/top.qcow2'));
    const block = new Uint8Array(512);
    await image?.read(1024, block);
    expect(block.every((byte) => byte === 5)).toBe(true);
  });

  it('says what is wrong with its place', async () => {
    await expect(openDisk(at('/none'))).rejects.toThrow('the server answered with status 404');
  });
});
