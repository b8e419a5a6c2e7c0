import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { linkConformance } from './conformance.js';
import { formatMac, type Link, linkApiVersion, noOffloads, parseMac } from './index.js';
import { createTunnel } from './testing/readme-example.js';

describe('the README', () => {
  it('holds the example, in 60 lines', () => {
    const example = readFileSync(new URL('./testing/readme-example.ts', import.meta.url), 'utf8');
    expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(`\`\`\`ts\n${example}\`\`\``);
    expect(example.trimEnd().split('\n').length).toBeLessThanOrEqual(62);
  });
});

describe('the link of the README', () => {
  const cases = linkConformance(() => {
    let arrive: (datagram: Uint8Array) => void = () => undefined;
    const link = createTunnel({
      post: () => undefined,
      onDatagram: (listener) => (arrive = listener),
      close: () => undefined,
    });
    return {
      link,
      provoke: (count) => {
        for (let i = 0; i < count; i++) arrive(new Uint8Array(60));
      },
    };
  });
  it.each(cases)('$name', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined();
  });
});

describe('the conformance suite', () => {
  it('finds a link that throws, forgets and goes on after its end', async () => {
    const broken: Link = {
      apiVersion: linkApiVersion,
      name: '',
      mtu: 0,
      carrier: true,
      offloads: noOffloads,
      attach: () => undefined,
      send: (frames) => {
        frames[0]?.bytes.fill(0);
        return frames.length - 1;
      },
      resume: () => undefined,
      close: () => undefined,
    };
    const failed: string[] = [];
    for (const { name, run } of linkConformance(() => ({ link: broken }))) {
      await run().catch(() => failed.push(name));
    }
    expect(failed).toEqual([
      'says what it is',
      'has one user',
      'takes an empty batch',
      'leaves the bytes of frames as they are',
      'takes frames again after it had no room',
    ]);
  });
});

describe('Ethernet addresses', () => {
  it('are read and written', () => {
    expect(formatMac(parseMac('00:16:3E:01:02:0f'))).toBe('00:16:3e:01:02:0f');
  });
  it.each(['', '00:16:3e:01:02', '00-16-3e-01-02-03', '00:16:3e:01:02:0g'])('refuses %j', (text) => {
    expect(() => parseMac(text)).toThrow(/six pairs of hexadecimal digits/);
  });
});
