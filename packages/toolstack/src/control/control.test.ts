import type { DiskImage } from '@paravane/image-api';
import { ParavaneError } from '@paravane/types';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bytesToText,
  type ControlConnection,
  createControlClient,
  type DomainDisks,
  type DomainRun,
  type DomainStore,
  type EndKind,
  serveControl,
  textToBytes,
} from '../index.js';
import { createLines, longestRequest, parseAnswer, parseRequest } from './protocol.js';

/** A guest that is nothing but what the commands act on. */
function fakeGuest() {
  const did: string[] = [];
  const nodes = new Map([
    ['/local/domain/1', ''],
    ['/local/domain/1/name', 'guest'],
    ['/local/domain/1/memory/static-max', '131072'],
  ]);
  const watches = new Set<(path: string) => void>();
  const viewers = new Set<(bytes: Uint8Array) => void>();
  const mourners = new Set<(how: EndKind, last: boolean) => void>();
  let running = true;
  const store: DomainStore = {
    read: (path) => nodes.get(path),
    entries: (path) =>
      [...nodes]
        .filter(([at]) => at.startsWith(path))
        .map(([at, value]) => ({ path: at, value, permissions: ['n0', 'r1'] })),
    async write(path, value) {
      nodes.set(path, value);
      for (const tell of watches) tell(path);
    },
    async remove(path) {
      nodes.delete(path);
    },
    watch(path, onChange) {
      watches.add(onChange);
      onChange(path);
      return () => watches.delete(onChange);
    },
  };
  const disks: DomainDisks = {
    async resize(vdev, size) {
      if (vdev !== 'xvda') throw new ParavaneError('disk-missing', `no disk "${vdev}"`);
      did.push(`resize ${vdev} ${size}`);
    },
    async changeMedium(vdev, medium) {
      did.push(`${vdev} has ${medium?.size ?? 'nothing'}`);
    },
  };
  const control = { domid: 1, memory: 48, store, disks, pause: () => undefined, unpause: () => undefined };
  const run: DomainRun = {
    input: (bytes) => void did.push(`input ${bytesToText(bytes)}`),
    interrupt: () => undefined,
    destroy: () => void did.push('destroy'),
    outcome: new Promise(() => undefined),
    stats: () => undefined,
    state: 'running',
    uptime: 1500,
    get control() {
      return running ? control : undefined;
    },
    setPaused(paused) {
      did.push(paused ? 'pause' : 'unpause');
      return running;
    },
    watchOutput(show) {
      viewers.add(show);
      return () => viewers.delete(show);
    },
    watchEnd(tell) {
      mourners.add(tell);
      return () => mourners.delete(tell);
    },
  };
  return {
    did,
    nodes,
    guest: {
      name: 'guest',
      memory: 64,
      vcpus: 2,
      run,
      pid: 77,
      cpuSeconds: () => 3,
      async openMedium(target: string) {
        if (target === '/none') throw new ParavaneError('file-unreadable', `cannot open ${target}`);
        return { size: target.length } as DiskImage;
      },
    },
    print(text: string) {
      for (const show of viewers) show(textToBytes(text));
    },
    end(how: EndKind, last = true) {
      running = false;
      for (const tell of [...mourners]) tell(how, last);
    },
    listeners: () => watches.size + viewers.size + mourners.size,
  };
}

/** A client joined to a server, without anything between them. */
function connected() {
  const fake = fakeGuest();
  const answers: string[] = [];
  let hungUp = false;
  const ends: { server?: ControlConnection } = {};
  const client = createControlClient((line) => ends.server?.receive(`${line}\n`));
  const server = serveControl(fake.guest, {
    send(line) {
      answers.push(line);
      client.receive(`${line}\n`);
    },
    hangUp: () => {
      hungUp = true;
    },
  });
  ends.server = server;
  return { ...fake, client, server, answers, hungUp: () => hungUp };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('the control protocol', () => {
  it('tells what runs', async () => {
    const { client } = connected();
    expect(await client.ask({ op: 'info' })).toEqual({
      name: 'guest',
      pid: 77,
      domid: 1,
      memory: 48,
      vcpus: 2,
      state: 'running',
      cpuSeconds: 3,
      uptimeSeconds: 1.5,
    });
  });

  it('carries out commands', async () => {
    const { client, did, nodes } = connected();
    await client.ask({ op: 'pause' });
    await client.ask({ op: 'unpause' });
    await client.ask({ op: 'input', data: '\x00\r\xff' });
    await client.ask({ op: 'destroy' });
    expect(did).toEqual(['pause', 'unpause', 'input \x00\r\xff', 'destroy']);
    expect(await client.ask({ op: 'shutdown', reason: 'reboot' })).toEqual({ state: 'running' });
    expect(nodes.get('/local/domain/1/control/shutdown')).toBe('reboot');
    expect(await client.ask({ op: 'sysrq', key: 'h' })).toEqual({ state: 'running' });
    expect(nodes.get('/local/domain/1/control/sysrq')).toBe('h');
    expect(await client.ask({ op: 'mem-set', memory: 100 })).toEqual({ state: 'running' });
    expect(nodes.get('/local/domain/1/memory/target')).toBe('102400');
    for (const memory of [0, 3, 129]) {
      await expect(client.ask({ op: 'mem-set', memory })).rejects.toMatchObject({ code: 'memory-range' });
    }
    expect(nodes.get('/local/domain/1/memory/target')).toBe('102400');
    expect(await client.ask({ op: 'vcpu-set', vcpus: 1 })).toEqual({ state: 'running' });
    expect(nodes.get('/local/domain/1/cpu/0/availability')).toBe('online');
    expect(nodes.get('/local/domain/1/cpu/1/availability')).toBe('offline');
    for (const vcpus of [0, 99]) {
      await expect(client.ask({ op: 'vcpu-set', vcpus })).rejects.toMatchObject({ code: 'vcpu-range' });
    }
  });

  it('reads, writes, lists and removes nodes, below the domain where the path is relative', async () => {
    const { client } = connected();
    expect(await client.ask({ op: 'store-read', path: 'name' })).toBe('guest');
    await client.ask({ op: 'store-write', path: 'data', value: '\xfc' });
    expect(await client.ask({ op: 'store-read', path: '/local/domain/1/data' })).toBe('\xfc');
    expect((await client.ask({ op: 'store-list', path: '/' })).map(({ path }) => path)).toContain(
      '/local/domain/1/data',
    );
    await client.ask({ op: 'store-remove', path: 'data' });
    for (const op of ['store-read', 'store-list', 'store-remove'] as const) {
      await expect(client.ask({ op, path: 'data' })).rejects.toMatchObject({ code: 'store-missing' });
    }
  });

  it('changes sizes of disks and media of drives', async () => {
    const { client, did } = connected();
    await client.ask({ op: 'block-resize', vdev: 'xvda', size: 4096 });
    await client.ask({ op: 'cd-insert', vdev: 'xvdb', target: '/a/cd.iso' });
    await client.ask({ op: 'cd-eject', vdev: 'xvdb' });
    expect(did).toEqual(['resize xvda 4096', 'xvdb has 9', 'xvdb has nothing']);
    await expect(client.ask({ op: 'block-resize', vdev: 'xvdz', size: 4096 })).rejects.toMatchObject({
      code: 'disk-missing',
    });
    await expect(client.ask({ op: 'cd-insert', vdev: 'xvdb', target: '/none' })).rejects.toMatchObject({
      code: 'file-unreadable',
    });
  });

  it('streams the console over restarts, and changes of the store until the domain ends', async () => {
    const { client, print, end, listeners } = connected();
    const shown: string[] = [];
    const changed: string[] = [];
    const output = client.ask({ op: 'console' }, (text) => void shown.push(text));
    const watch = client.ask({ op: 'store-watch', path: 'data' }, (path) => void changed.push(path));
    print('one');
    await client.ask({ op: 'store-write', path: 'data/x', value: '' });
    end('reboot', false);
    expect(await watch).toEqual({ end: 'reboot' });
    print('two\xff');
    end('poweroff');
    expect(await output).toEqual({ end: 'poweroff' });
    expect(shown).toEqual(['one', 'two\xff']);
    expect(changed).toEqual(['/local/domain/1/data', '/local/domain/1/data/x']);
    expect(listeners()).toBe(0);
  });

  it('has nothing left of a client that goes', async () => {
    const { client, server, listeners } = connected();
    const left = [
      client.ask({ op: 'console' }),
      client.ask({ op: 'wait' }),
      client.ask({ op: 'store-watch', path: 'a' }),
    ];
    await settled();
    expect(listeners()).toBe(5);
    server.close();
    expect(listeners()).toBe(0);
    client.lost('gone');
    for (const asked of left) await expect(asked).rejects.toMatchObject({ code: 'host-control-lost' });
    await expect(client.ask({ op: 'info' })).rejects.toMatchObject({ code: 'host-control-lost' });
  });

  it('refuses what needs a domain while there is none', async () => {
    const { client, end } = connected();
    end('reboot', false);
    await expect(client.ask({ op: 'pause' })).rejects.toMatchObject({ code: 'guest-starting' });
    await expect(client.ask({ op: 'store-read', path: '/' })).rejects.toMatchObject({ code: 'guest-starting' });
  });

  it('bounds the open requests of a client and the length of a line', async () => {
    const { client, server, hungUp, answers } = connected();
    for (let open = 0; open < 64; open++) client.ask({ op: 'wait' }).catch(() => undefined);
    await expect(client.ask({ op: 'wait' })).rejects.toMatchObject({ code: 'bad-request' });
    server.receive('x'.repeat(longestRequest + 1));
    expect(hungUp()).toBe(true);
    const before = answers.length;
    server.receive('\n{"id":1,"op":"info"}\n');
    await settled();
    expect(answers.length).toBe(before);
  });

  it('refuses another version', async () => {
    const client = createControlClient(() => undefined);
    const asked = client.ask({ op: 'info' });
    client.receive('{"hello":"paravane","protocol":2}\n');
    await expect(asked).rejects.toThrow(/version 2 of the protocol, not 1/);
  });
});

describe('malformed messages', () => {
  it.each([
    ['{', null],
    ['[]', null],
    ['null', null],
    ['"info"', null],
    [`${'['.repeat(60_000)}`, null],
    ['{"op":"info"}', null],
    ['{"id":-1,"op":"info"}', null],
    ['{"id":1.5,"op":"info"}', null],
    ['{"id":1}', 1],
    ['{"id":1,"op":"toString"}', 1],
    ['{"id":1,"op":"shutdown","reason":"crash"}', 1],
    ['{"id":1,"op":"sysrq","key":"hh"}', 1],
    ['{"id":1,"op":"sysrq","key":"\\u0000"}', 1],
    ['{"id":1,"op":"sysrq"}', 1],
    ['{"id":1,"op":"mem-set","memory":-1}', 1],
    ['{"id":1,"op":"mem-set","memory":"64"}', 1],
    ['{"id":1,"op":"vcpu-set"}', 1],
    ['{"id":1,"op":"vcpu-set","vcpus":1.5}', 1],
    ['{"id":1,"op":"input","data":"\u0100"}', 1],
    ['{"id":1,"op":"input"}', 1],
    ['{"id":1,"op":"cd-eject"}', 1],
    ['{"id":1,"op":"cd-eject","vdev":"../xvda"}', 1],
    ['{"id":1,"op":"cd-insert","vdev":"xvda","target":""}', 1],
    ['{"id":1,"op":"cd-insert","vdev":"xvda","target":"a\\u0000b"}', 1],
    ['{"id":1,"op":"block-resize","vdev":"xvda","size":0}', 1],
    ['{"id":1,"op":"block-resize","vdev":"xvda","size":1000}', 1],
    ['{"id":1,"op":"block-resize","vdev":"xvda","size":1e300}', 1],
    ['{"id":1,"op":"store-read"}', 1],
    ['{"id":1,"op":"store-read","path":"a\\u0000b"}', 1],
    [`{"id":1,"op":"store-read","path":"/${'a'.repeat(4000)}"}`, 1],
    ['{"id":1,"op":"store-write","path":"/a","value":7}', 1],
    [`{"id":1,"op":"store-write","path":"/a","value":"${'v'.repeat(4097)}"}`, 1],
  ])('%.60j is refused', (line, id) => {
    const parsed = parseRequest(line);
    expect('wrong' in parsed).toBe(true);
    expect(parsed.id).toBe(id);
  });

  const shape = fc.record(
    {
      id: fc.oneof(fc.nat(3), fc.anything()),
      op: fc.oneof(
        fc.constantFrom(
          'info',
          'pause',
          'console',
          'wait',
          'shutdown',
          'sysrq',
          'mem-set',
          'input',
          'store-list',
          'store-write',
          'store-watch',
        ),
        fc.anything(),
      ),
      path: fc.oneof(fc.string(), fc.anything()),
      value: fc.oneof(fc.string(), fc.anything()),
      data: fc.anything(),
      key: fc.oneof(fc.constantFrom('h', 'hh'), fc.anything()),
      memory: fc.anything(),
      reason: fc.oneof(fc.constantFrom('poweroff', 'halt'), fc.anything()),
    },
    { requiredKeys: [] },
  );
  const line = fc.oneof(
    fc.string(),
    fc.json(),
    shape.map((value) => JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? String(part) : part))),
  );

  it('never throw, and leave the server answering', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 30 }), async (lines) => {
        const { guest } = fakeGuest();
        const answers: string[] = [];
        const server = serveControl(guest, { send: (answer) => answers.push(answer), hangUp: () => undefined });
        for (const text of lines) server.receive(`${text}\n`);
        server.receive('\n{"id":999,"op":"info"}\n');
        await settled();
        expect(answers.every((answer) => parseAnswer(answer) !== undefined)).toBe(true);
        expect(answers.some((answer) => answer.startsWith('{"id":999,"result"'))).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  it('from a server end a client in order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(line), async (lines) => {
        const client = createControlClient(() => undefined);
        const asked = client
          .ask({ op: 'console' }, () => undefined)
          .then(
            () => 'answered',
            () => 'refused',
          );
        for (const text of lines) client.receive(`${text}\n`);
        client.lost('the end');
        expect(['answered', 'refused']).toContain(await asked);
      }),
      { numRuns: 100 },
    );
  });

  it('come out of pieces of any size as they went in', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string().map((text) => text.replaceAll('\n', ' '))),
        fc.integer({ min: 1, max: 9 }),
        (all, size) => {
          const whole = all.map((text) => `${text}\n`).join('');
          const got: string[] = [];
          const lines = createLines(1000, (text) => got.push(text));
          for (let at = 0; at < whole.length; at += size) lines.push(whole.slice(at, at + size));
          expect(got).toEqual(all.filter((text) => text.trim() !== ''));
        },
      ),
    );
  });
});
