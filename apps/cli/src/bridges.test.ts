import { noOffloads, parseMac } from '@paravane/link-api';
import type { DomainConfig, VifConfig } from '@paravane/toolstack';
import { describe, expect, it } from 'vitest';
import { openNetwork } from './network.js';

const config = (name: string, vifs: readonly VifConfig[]): DomainConfig => ({
  name,
  type: 'pv',
  kernel: 'k',
  cmdline: '',
  memory: 64,
  maxmem: 64,
  vcpus: 1,
  onPoweroff: 'destroy',
  onReboot: 'restart',
  onCrash: 'destroy',
  vifs,
});

/** A broadcast of an EtherType for experiments. */
function broadcast(mac: string): Uint8Array {
  const bytes = new Uint8Array(60);
  bytes.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ...parseMac(mac), 0x88, 0xb5]);
  return bytes;
}

describe('the networks of a run', () => {
  it('are one for each bridge: no frame goes from one to another', async () => {
    const network = await openNetwork(
      [config('a', [{}, { bridge: 'inner' }]), config('b', [{ bridge: 'inner' }, {}])],
      {},
    );
    const ends = network.vifs.flat().map(({ mac, openLink }) => {
      const link = openLink();
      const heard: string[] = [];
      link.attach({
        offloads: noOffloads,
        send(frames) {
          for (const { bytes } of frames)
            if (bytes[12] === 0x88) heard.push(Buffer.from(bytes.subarray(6, 12)).toString('hex'));
          return frames.length;
        },
        resume: () => undefined,
      });
      return { mac, link, heard };
    });
    for (const { mac, link } of ends) link.send([{ bytes: broadcast(mac) }]);
    const macs = ends.map(({ mac }) => mac.replaceAll(':', ''));
    expect(new Set(macs).size).toBe(4);
    expect(ends.map(({ heard }) => heard)).toEqual([[macs[3]], [macs[2]], [macs[1]], [macs[0]]]);
    network.close();
  });

  it('refuses a TAP device together with what it has no part in', async () => {
    const configs = [config('a', [{}])];
    await expect(openNetwork(configs, { tap: 'pv0', publish: ['1:2'] })).rejects.toMatchObject({
      code: 'bad-argument',
    });
    await expect(openNetwork([config('a', [])], { tap: 'pv0' })).rejects.toMatchObject({ code: 'bad-argument' });
  });
});
