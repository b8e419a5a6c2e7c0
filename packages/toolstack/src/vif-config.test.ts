import { describe, expect, it } from 'vitest';
import { readDomainConfig } from './domain-config.js';
import { readVif } from './vif-config.js';

describe('network specifications', () => {
  it.each([
    ['', {}],
    ['mac=00:16:3E:00:00:01', { mac: '00:16:3e:00:00:01' }],
    ['mac=00-16-3e-00-00-01', { mac: '00:16:3e:00:00:01' }],
    [' bridge = xenbr0 , ip=10.0.2.15, vifname=web0', { bridge: 'xenbr0', ip: '10.0.2.15', vifname: 'web0' }],
    ['rate=10Mb/s', { rate: { bytes: 62_500, interval: 50_000 } }],
    ['rate=250KB/s', { rate: { bytes: 12_500, interval: 50_000 } }],
    ['rate=1MB/s@20ms', { rate: { bytes: 20_000, interval: 20_000 } }],
    ['rate=1GB/s@10', { rate: { bytes: 10_000, interval: 10 } }],
    ['rate=800b/s@1s', { rate: { bytes: 100, interval: 1_000_000 } }],
    ['untrusted', { untrusted: true }],
    ['trusted=0', { untrusted: true }],
    ['untrusted=0', {}],
    ['trusted', {}],
    ['type=vif,backend=0,devid=3,mtu=9000', { devid: 3, mtu: 9000 }],
  ])('%j is read', (text, vif) => {
    expect(readVif(text)).toEqual({ vif, errors: [], warnings: [] });
  });

  it.each(['script=vif-route', 'model=e1000', 'type=ioemu', 'gatewaydev=eth0', 'accel=x'])(
    '%j has no effect, and says so',
    (text) => {
      const { vif, warnings } = readVif(text);
      expect([vif !== undefined, warnings.length]).toEqual([true, 1]);
    },
  );

  it.each([
    ['mac=1', 'no address'],
    ['mac=01:00:5e:00:00:01', 'no address'],
    ['type=vhost', 'vif or ioemu'],
    ['backend=netdom', 'not supported'],
    ['rate=10', 'no rate'],
    ['rate=10Mb', 'no rate'],
    ['rate=0B/s', 'no rate'],
    ['rate=10KB/s@1us', 'no rate'],
    ['rate=5GB/s', 'no rate'],
    ['rate=1MB/s@5000s', 'no rate'],
    ['trusted=yes', '0 or 1'],
    ['mtu=12', '68 to 65535'],
    ['devid=x', '0 to 255'],
    ['brigde=xenbr0', 'unknown parameter'],
    ['xenbr0', 'key=value'],
  ])('%j is refused', (text, why) => {
    const { vif, errors } = readVif(text);
    expect(vif).toBeUndefined();
    expect(errors.join()).toContain(why);
  });

  it('are a list of strings in a configuration, to which the command line adds', () => {
    const base = 'name = "a"\nkernel = "k"\n';
    expect(readDomainConfig(`${base}vif = ["mac=00:16:3e:00:00:01", ""]`, { vifs: ['devid=7'] }).config?.vifs).toEqual([
      { mac: '00:16:3e:00:00:01' },
      {},
      { devid: 7 },
    ]);
    expect(readDomainConfig(`${base}vif = []`).config?.vifs).toBeUndefined();
    const wrong = (line: string): string[] =>
      readDomainConfig(base + line).diagnostics.map(({ line: at, message }) => `${at} ${message}`);
    const checkIp = (ip: string) => ({ severity: ip === 'x' ? 'error' : 'warning', message: `${ip}?` }) as const;
    const checked = readDomainConfig(`${base}vif = ["", "ip=y"]`, { vifs: ['ip=x'], checkIp }).diagnostics;
    expect(checked.map(({ severity, line, column, message }) => [severity, line, column, message])).toEqual([
      ['error', 0, 0, '--vif ip=x: x?'],
      ['warning', 3, 12, 'vif "ip=y": y?'],
    ]);
    expect(wrong('vif = "mac=1"')[0]).toMatch(/^3 "vif" takes a list/);
    expect(wrong('vif = ["mac=1"]')[0]).toMatch(/^3 vif "mac=1": "1" is no address/);
    expect(wrong('vif = ["mac=00:16:3e:00:00:01","mac=00:16:3e:00:00:01"]')[0]).toContain('another interface has');
    expect(wrong('vif = ["devid=1","devid=1"]')[0]).toContain('another interface has');
  });
});
