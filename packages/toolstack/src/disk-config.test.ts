import { describe, expect, it } from 'vitest';
import { readDisk } from './disk-config.js';
import { formatDiagnostic, readDomainConfig } from './domain-config.js';
import { parseVdev } from './vdev.js';

describe('names of virtual disks', () => {
  it.each([
    ['xvda', 51712],
    ['xvdb', 51728],
    ['xvda1', 51713],
    ['xvdp15', 0xcaff],
    ['xvdq', (1 << 28) | (16 << 8)],
    ['xvda16', (1 << 28) | 16],
    ['xvdaa', (1 << 28) | (26 << 8)],
    ['d0', 51712],
    ['d1p2', 51730],
    ['d536p37', (1 << 28) | (536 << 8) | 37],
    ['hda', 768],
    ['hdb1', 833],
    ['hdc', 5632],
    ['hdd2', 5698],
    ['sda', 2048],
    ['sdb3', 2067],
    ['51712', 51712],
    ['0xca10', 51728],
  ])('%s is %i', (name, number) => {
    expect(parseVdev(name)).toEqual({ name, number });
  });

  it.each(['', 'xvd', 'hde', 'hda64', 'sdq', 'sda16', 'xvda256', 'd1048576', 'vda', 'xvdA', 'd1p', '0', '-1', 'fd0'])(
    '%s is none',
    (name) => {
      expect(parseVdev(name)).toBeUndefined();
    },
  );
});

describe('a disk specification', () => {
  const disk = { format: 'raw', readOnly: false, cdrom: false, discard: true, snapshot: false };
  const hda = { name: 'hda', number: 768 };
  const hdc = { name: 'hdc', number: 5632 };

  it.each([
    // The examples of the manual page.
    ['/dev/vg/guest-volume,,hda', { ...disk, target: '/dev/vg/guest-volume', vdev: hda }],
    ['/dev/vg/guest-volume,raw,hda,rw', { ...disk, target: '/dev/vg/guest-volume', vdev: hda }],
    [
      'format=raw, vdev=hda, access=rw, target=/dev/vg/guest-volume',
      { ...disk, target: '/dev/vg/guest-volume', vdev: hda },
    ],
    ['raw:/dev/vg/guest-volume,hda,w', { ...disk, target: '/dev/vg/guest-volume', vdev: hda }],
    ['/root/image.iso,,hdc,cdrom', { ...disk, target: '/root/image.iso', vdev: hdc, cdrom: true, readOnly: true }],
    ['/root/image.iso,,hdc,,cdrom', { ...disk, target: '/root/image.iso', vdev: hdc, cdrom: true, readOnly: true }],
    [
      'format=raw, vdev=hdc, access=ro, devtype=cdrom, target=/root/image.iso',
      { ...disk, target: '/root/image.iso', vdev: hdc, cdrom: true, readOnly: true },
    ],
    [',,hdc,r,cdrom', { ...disk, vdev: hdc, cdrom: true, readOnly: true }],
    ['vdev=hdc,devtype=cdrom,target=', { ...disk, vdev: hdc, cdrom: true, readOnly: true }],
    [
      'format=qcow2,vdev=xvda,access=rw,target=root.qcow2',
      { ...disk, format: 'qcow2', target: 'root.qcow2', vdev: { name: 'xvda', number: 51712 } },
    ],
    ['file:/images/a.img,hda,w', { ...disk, target: '/images/a.img', vdev: hda }],
    ['phy:/dev/sdb1,hda:cdrom,r', { ...disk, target: '/dev/sdb1', vdev: hda, cdrom: true, readOnly: true }],
    [
      'vdev=hda,snapshot,no-discard,target=a,b=c',
      { ...disk, target: 'a,b=c', vdev: hda, snapshot: true, discard: false },
    ],
    ['a.img,,hda,r,snapshot', { ...disk, target: 'a.img', vdev: hda, readOnly: true, snapshot: true }],
  ])('%s', (text, expected) => {
    const { disk: read, errors } = readDisk(text);
    expect(errors).toEqual([]);
    expect(read).toEqual(expected);
  });

  it.each([
    ['', 'the disk has no target'],
    ['a.img', 'the disk has no vdev'],
    ['a.img,,vda', '"vda" is no vdev'],
    ['a.img,zip,xvda', 'unknown format "zip"'],
    ['a.vhd,vhd,xvda', 'format "vhd" is not supported: convert the image'],
    ['a.img,toString,xvda', 'unknown format "toString"'],
    ['a.img,,xvda,x', 'access is r, ro, w or rw, not "x"'],
    ['a.img,,xvda,r,more', '"more" is one position too many'],
    ['a.img,,hdc,rw,cdrom', 'a CD-ROM cannot be written'],
    ['a.img,,xvda,colour=blue', 'unknown parameter "colour"'],
    ['a.img,,xvda,devtype=tape', 'devtype is disk or cdrom'],
    ['a.img,,xvda,backend=stub', 'back ends in other domains ("stub")'],
    ['a.img,,xvda,specification=virtio', 'specification "virtio"'],
    ['a.img,,xvda,script=block-iscsi', 'block scripts are not supported'],
    ['a.img,,xvda,colo', '"colo" is not supported'],
  ])('refuses %j', (text, complaint) => {
    const { disk: read, errors } = readDisk(text);
    expect(read).toBeUndefined();
    expect(errors.join('\n')).toContain(complaint);
  });

  it('warns of what is old or has no effect', () => {
    expect(readDisk('phy:/dev/a,hda:disk,w,direct-io-safe,backendtype=qdisk').warnings).toHaveLength(4);
  });
});

describe('disks of a configuration', () => {
  const base = 'name = "g"\nkernel = "k"\n';

  it('are read from the list and from the command line', () => {
    const { config } = readDomainConfig(`${base}disk = ["a.img,,xvda", 'b.img,,xvdb']`, { disks: ['c.img,,xvdc,r'] });
    expect(config?.disks?.map(({ vdev, target, readOnly }) => [vdev.name, target, readOnly])).toEqual([
      ['xvda', 'a.img', false],
      ['xvdb', 'b.img', false],
      ['xvdc', 'c.img', true],
    ]);
  });

  it.each([
    ['disk = "a.img,,xvda"', '3:8: "disk" takes a list'],
    ['disk = ["a.img,,xvda",\n  "b.img"]', '4:3: disk "b.img": the disk has no vdev'],
    ['disk = [["a.img"]]', '3:9: a disk is a string'],
    ['disk = ["a.img,,xvda", "b.img,,d0"]', '3:24: disk "b.img,,d0": "d0" is the same device as "xvda"'],
  ])('%j is refused in its place', (text, complaint) => {
    const { config, diagnostics } = readDomainConfig(base + text);
    expect(config).toBeUndefined();
    expect(diagnostics.map(({ line, column, message }) => `${line}:${column}: ${message}`).join('\n')).toContain(
      complaint,
    );
  });

  it("of the command line take the place of the file's with the same device", () => {
    const { config, diagnostics } = readDomainConfig(`${base}disk = ["a.img,,xvda", "b.img,,xvdb"]`, {
      disks: ['format=qcow2,vdev=d0,access=r,target=c.qcow2'],
    });
    expect(diagnostics).toEqual([]);
    expect(config?.disks?.map(({ vdev, target, format }) => [vdev.name, target, format])).toEqual([
      ['xvdb', 'b.img', 'raw'],
      ['d0', 'c.qcow2', 'qcow2'],
    ]);
  });

  it.each([
    [['a.img'], 'error: --disk a.img: the disk has no vdev'],
    [['a.img,,xvda', 'b.img,,xvda'], 'error: --disk b.img,,xvda: "xvda" is the same device as "xvda": give each'],
  ])('of the command line are complained about by their flag: %j', (disks, complaint) => {
    const { config, diagnostics } = readDomainConfig(`${base}disk = ["z.img,,xvda"]`, { disks });
    expect(config).toBeUndefined();
    expect(diagnostics).toHaveLength(1);
    expect(formatDiagnostic('g.cfg', diagnostics[0]!)).toMatch(new RegExp(`^${complaint}`));
  });
});
