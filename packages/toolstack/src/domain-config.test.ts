import { describe, expect, it } from 'vitest';
import { formatDiagnostic, readDomainConfig } from './domain-config.js';

const base = 'name = "guest"\nkernel = "vmlinuz"\n';
const shown = (text: string, overrides = {}): string[] =>
  readDomainConfig(text, overrides).diagnostics.map((diagnostic) => formatDiagnostic('g.cfg', diagnostic));

describe('readDomainConfig', () => {
  it('normalises a configuration as written for xl', () => {
    const { config, diagnostics } = readDomainConfig(`name="linux61pv"
type="pv"
kernel="vmlinuz"
memory=128
vcpus=1
on_crash="destroy"
on_reboot="destroy"
ramdisk="ird.gz"
extra="console=hvc0 panic=1"`);
    expect(diagnostics).toEqual([]);
    expect(config).toEqual({
      name: 'linux61pv',
      type: 'pv',
      kernel: 'vmlinuz',
      ramdisk: 'ird.gz',
      cmdline: 'console=hvc0 panic=1',
      memory: 128,
      maxmem: 128,
      vcpus: 1,
      onPoweroff: 'destroy',
      onReboot: 'destroy',
      onCrash: 'destroy',
    });
  });

  it('quotes no control characters', () => {
    expect(shown(`${base}memory = "\\x1b[2J"\n\x1b\n`)).toEqual([
      'g.cfg:3:10: error: "memory" takes a whole number, not "\\x1b[2J"',
      'g.cfg:4:1: error: expected a key, found "\\x1b"',
    ]);
  });

  it('fills in what a short configuration leaves out', () => {
    expect(readDomainConfig(base).config).toMatchObject({
      type: 'pv',
      cmdline: '',
      memory: 128,
      vcpus: 1,
      onPoweroff: 'destroy',
      onReboot: 'restart',
      onCrash: 'destroy',
    });
  });

  it('puts root before extra, and lets cmdline replace both', () => {
    expect(readDomainConfig(`${base}extra="ro"\nroot="/dev/xvda1"`).config?.cmdline).toBe('root=/dev/xvda1 ro');
    expect(readDomainConfig(`${base}root="/dev/xvda1"`).config?.cmdline).toBe('root=/dev/xvda1');
    const all = readDomainConfig(`${base}cmdline="quiet"\nroot="/dev/xvda1"\nextra="ro"`);
    expect(all.config?.cmdline).toBe('quiet');
    expect(all.diagnostics.map(({ severity, line }) => [severity, line])).toEqual([
      ['warning', 4],
      ['warning', 5],
    ]);
  });

  it('takes numbers in quotes and text without an own meaning as numbers, as xl does', () => {
    expect(readDomainConfig(`${base}memory = "0x100"`).config?.memory).toBe(256);
    expect(readDomainConfig('name = 5\nkernel = "k"').config?.name).toBe('5');
  });

  it('lets the command line override', () => {
    const overrides = { kernel: 'k', ramdisk: 'r', cmdline: 'c', memory: 512, vcpus: 2 };
    expect(readDomainConfig(`${base}memory = 64\nmaxmem = 128\nextra = "x"`, overrides).config).toMatchObject({
      kernel: 'k',
      ramdisk: 'r',
      cmdline: 'c',
      memory: 512,
      maxmem: 512,
      vcpus: 2,
    });
    expect(readDomainConfig('name = "a"', { kernel: 'k' }).config?.kernel).toBe('k');
  });

  it('reads the part of the processor that a guest gets', () => {
    expect(readDomainConfig(`${base}cpu_weight = 512\ncap = 50`).config).toMatchObject({ cpuWeight: 512, cap: 50 });
    const plain = readDomainConfig(`${base}cap = 0`).config;
    expect(plain).not.toHaveProperty('cap');
    expect(plain).not.toHaveProperty('cpuWeight');
  });

  it('says of keys of later work that they are not supported yet, and warns of unknown ones', () => {
    expect(shown(`${base}usbdev = ["a"]\nvfb = []\n  tsc_mode = "native"\nmemmory = 3\nfrobnicate = 1`)).toEqual([
      'g.cfg:3:1: warning: "usbdev" is not supported yet and has no effect',
      'g.cfg:5:3: warning: "tsc_mode" is not supported yet and has no effect',
      'g.cfg:6:1: warning: unknown key "memmory" (did you mean "memory"?); it has no effect',
      'g.cfg:7:1: warning: unknown key "frobnicate"; it has no effect',
    ]);
  });

  it('misses no key where a line could not be read', () => {
    const { diagnostics } = readDomainConfig('name = "a\nkernel = k');
    expect(diagnostics.map(({ line, column }) => `${line}:${column}`)).toEqual(['1:8', '2:10']);
  });

  it.each([
    ['kernel = "k"', '1:1: error: the domain has no name: add a line such as name = "guest"'],
    ['name = "a/b"\nkernel = "k"', '1:8: error: "a/b" cannot be a domain\'s name: use 1 to 63 letters, digits'],
    ['name = "a"', '1:1: error: there is no kernel: add a line such as kernel = "vmlinuz", or give --kernel FILE'],
    ['name = "a"\nbootloader = "pygrub"', '2:1: error: booting by "bootloader" is not supported yet'],
    [`${base}type = "hvm"`, '3:8: error: type "hvm" is not supported yet: only "pv" is'],
    [`${base}type = "xen"`, '3:8: error: unknown type "xen": only "pv" is supported'],
    [`${base}builder = "hvm"`, '3:11: error: builder "hvm" is not supported yet'],
    [`${base}memory = "much"`, '3:10: error: "memory" takes a whole number, not "much"'],
    [`${base}memory = 1`, '3:10: error: "memory" is 1; it can be 4 to 3968'],
    [`${base}memory = [64]`, '3:10: error: "memory" takes a single value, not a list'],
    [`${base}memory = 64\nmaxmem = 32`, '4:10: error: "maxmem" is 32, less than "memory", which is 64'],
    [`${base}vcpus = 0`, '3:9: error: "vcpus" is 0; it can be 1 to 32'],
    [`${base}cpu_weight = 0`, '3:14: error: "cpu_weight" is 0; it can be 1 to 65535'],
    [`${base}cap = 101`, '3:7: error: "cap" is 101; it can be 0 to 100'],
    [`${base}ramdisk = ""`, '3:11: error: "ramdisk" is empty'],
    [`${base}on_crash = "explode"`, '3:12: error: "on_crash" cannot be "explode"; it is one of destroy, restart'],
    [`${base}on_crash = "toString"`, '3:12: error: "on_crash" cannot be "toString"'],
    [`${base}extra = "${'x'.repeat(1024)}"`, '3:9: error: the command line has 1024 characters'],
  ])('refuses %j', (text, complaint) => {
    expect(readDomainConfig(text).config).toBeUndefined();
    expect(shown(text).find((line) => line.includes('error'))).toContain(`g.cfg:${complaint}`);
  });

  it('takes the actions of later work for the nearest it has, and says so', () => {
    const { config, diagnostics } = readDomainConfig(`${base}on_crash = "coredump-restart"`);
    expect(config?.onCrash).toBe('restart');
    expect(diagnostics).toMatchObject([{ severity: 'warning', line: 3, column: 12 }]);
  });

  it('reports mistakes of syntax and of meaning together, in the order of lines', () => {
    expect(readDomainConfig('memory = 1\nname = pv\nkernel = "k"').diagnostics.map(({ line }) => line)).toEqual([1, 2]);
  });
});
