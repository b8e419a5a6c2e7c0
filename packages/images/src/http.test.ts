import { patternOf } from '@paravane/image-api/conformance';
import { describe, expect, it } from 'vitest';
import {
  createMemoryFile,
  createOverlay,
  createQcow2,
  createRawImage,
  type HttpFetch,
  type HttpResponse,
  openHttpFile,
  openImage,
  openQcow2,
  qcow2Driver,
  rawDriver,
} from './index.js';

interface Server {
  readonly fetch: HttpFetch;
  readonly requests: string[];
  /** Answers the next request instead. */
  next?: (() => HttpResponse | Promise<HttpResponse>) | undefined;
  content: Uint8Array;
  tag: string;
}

function answer(status: number, headers: Record<string, string>, body: Uint8Array = new Uint8Array(0)): HttpResponse {
  return {
    status,
    headers: { get: (name) => headers[name] ?? null },
    arrayBuffer: async () => new Uint8Array(body).buffer,
  };
}

function serve(content: Uint8Array): Server {
  const server: Server = {
    requests: [],
    content,
    tag: '"1"',
    async fetch(_url, { headers }) {
      server.requests.push(headers.range!);
      const { next } = server;
      server.next = undefined;
      if (next !== undefined) return next();
      const [, first, last] = /^bytes=([0-9]+)-([0-9]+)$/.exec(headers.range!)!;
      const end = Math.min(Number(last) + 1, server.content.length);
      const range = `bytes ${first}-${end - 1}/${server.content.length}`;
      return answer(206, { 'content-range': range, etag: server.tag }, server.content.subarray(Number(first), end));
    },
  };
  return server;
}

const url = 'https://example.org/disk.raw';

describe('openHttpFile', () => {
  const content = patternOf(1_000_000, 1);

  it('reads by ranges, and each part once', async () => {
    const server = serve(content);
    const image = createRawImage(await openHttpFile({ url, fetch: server.fetch, chunkSize: 65536 }));
    expect([image.size, image.readOnly]).toEqual([1_000_448, true]);
    const bytes = new Uint8Array(204800);
    await image.read(512, [bytes.subarray(0, 1000), bytes.subarray(1000)]);
    expect(Buffer.compare(bytes, content.subarray(512, 512 + 204800))).toBe(0);
    const asked = server.requests.length;
    expect(asked).toBe(1 + 4);
    await Promise.all([image.read(0, bytes), image.read(0, new Uint8Array(512))]);
    expect(server.requests.length).toBe(asked);
    const tail = new Uint8Array(1024);
    await image.read(image.size - 1024, tail);
    expect(Buffer.compare(tail.subarray(0, 576), content.subarray(-576))).toBe(0);
    expect(tail.subarray(576).every((byte) => byte === 0)).toBe(true);
    expect(() => image.write(0, new Uint8Array(512))).toThrow('reading only');
  });

  it('is written through an overlay, and holds qcow2 images', async () => {
    const file = createMemoryFile();
    await createQcow2(file, { size: 2 ** 20 });
    const made = await openQcow2(file);
    await made.write(70_144, content.subarray(0, 51_200));
    await made.close();
    const server = serve(file.content());
    const opened = await openImage(url, {
      drivers: [qcow2Driver(), rawDriver],
      openFile: async (name) => ({ name, file: await openHttpFile({ url: name, fetch: server.fetch }) }),
    });
    const disk = createOverlay({ base: opened });
    await disk.write(512, content.subarray(0, 512));
    const bytes = new Uint8Array(51_200);
    await disk.read(70_144, bytes);
    expect(Buffer.compare(bytes, content.subarray(0, 51_200))).toBe(0);
  });

  it('asks again where the server fails, and says so where it goes on failing', async () => {
    const server = serve(content);
    const file = await openHttpFile({ url, fetch: server.fetch });
    server.next = () => answer(503, {});
    const bytes = new Uint8Array(512);
    await file.read(0, bytes);
    expect(Buffer.compare(bytes, content.subarray(0, 512))).toBe(0);
    server.next = () => Promise.reject(new Error('the line was cut'));
    await file.read(300_000, bytes);
    const down: HttpFetch = () => Promise.reject(new Error('no route'));
    await expect(openHttpFile({ url, fetch: down })).rejects.toMatchObject({ code: 'io' });
    await expect(openHttpFile({ url, fetch: down })).rejects.toThrow(`cannot read ${url}: no route; check the URL`);
    const refused: HttpFetch = () => Promise.reject(new Error('fetch failed', { cause: new Error('refused') }));
    await expect(openHttpFile({ url, fetch: refused })).rejects.toThrow(`cannot read ${url}: refused;`);
  });

  it('takes no server’s word: ranges, lengths and the file’s identity are looked at', async () => {
    const whole: HttpFetch = async () => answer(200, {}, content);
    await expect(openHttpFile({ url, fetch: whole })).rejects.toMatchObject({ code: 'image-unsupported' });
    const missing: HttpFetch = async () => answer(404, {});
    await expect(openHttpFile({ url, fetch: missing })).rejects.toThrow('status 404');
    const server = serve(content);
    const file = await openHttpFile({ url, fetch: server.fetch });
    server.next = () => answer(206, { 'content-range': 'bytes 0-9/1000000', etag: '"1"' }, new Uint8Array(10));
    await expect(file.read(0, new Uint8Array(512))).rejects.toThrow('sent 10 bytes where 131072 were asked for');
    server.tag = '"2"';
    await expect(file.read(0, new Uint8Array(512))).rejects.toThrow('changed while it was in use');
  });
});

describe('openImage', () => {
  const files = new Map<string, Uint8Array>();
  const open = (name: string, format?: string) =>
    openImage(name, {
      drivers: [qcow2Driver(), rawDriver],
      openFile: (path) => ({ name: path, file: createMemoryFile(files.get(path)) }),
      ...(format === undefined ? {} : { format }),
    });

  it('knows formats by their first bytes, and takes the format that is named', async () => {
    const file = createMemoryFile();
    await createQcow2(file, { size: 65536 });
    files.set('image', file.content());
    expect((await open('image')).format).toBe('qcow2');
    expect((await open('image', 'raw')).format).toBe('raw');
    await expect(open('image', 'vmdk')).rejects.toThrow('no image format "vmdk"; there are qcow2, raw');
    files.set('bytes', new Uint8Array(1024));
    await expect(open('bytes', 'qcow2')).rejects.toThrow(/^bytes: not a usable qcow2 image/);
  });

  it('ends a circle of images that name each other', async () => {
    const file = createMemoryFile();
    await createQcow2(file, { size: 65536, backing: { name: 'circle', format: 'qcow2' } });
    files.set('circle', file.content());
    await expect(open('circle')).rejects.toThrow('do they name each other?');
  });

  it('refuses drivers of another version of the interface', async () => {
    const drivers = [{ ...rawDriver, apiVersion: 2 as never }];
    const openFile = () => ({ name: 'x', file: createMemoryFile() });
    await expect(openImage('x', { drivers, openFile })).rejects.toThrow('is for version 2 of image-api');
  });
});
