/**
 * A small initramfs: busybox, the modules that a guest needs to see Xen's devices, and an /init that ends in a shell on
 * the console.
 */
import { gzipSync } from 'node:zlib';
import { type CpioEntry, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG, writeCpio } from './cpio.js';
import type { KernelModule } from './modules.js';

const folders = [
  'bin',
  'sbin',
  'usr',
  'usr/bin',
  'usr/sbin',
  'etc',
  'dev',
  'proc',
  'sys',
  'tmp',
  'root',
  'run',
  'mnt',
  'lib',
];

/** cttyhack gives the shell a controlling terminal, so that Ctrl-C reaches what runs in it. */
const init = `#!/bin/sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root TERM=linux
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts pts /dev/pts
while read -r module; do
  insmod "/lib/modules/$module.ko"
done </lib/modules/load-order
hostname guest
cd /root
setsid cttyhack sh
poweroff -f
`;

export function buildInitramfs(busybox: Uint8Array, modules: readonly KernelModule[]): Uint8Array {
  const entries: CpioEntry[] = [
    ...[...folders, 'lib/modules'].map((path) => ({ path, mode: S_IFDIR | 0o755 })),
    { path: 'dev/console', mode: S_IFCHR | 0o600, device: { major: 5, minor: 1 } },
    { path: 'dev/null', mode: S_IFCHR | 0o666, device: { major: 1, minor: 3 } },
    { path: 'bin/busybox', mode: S_IFREG | 0o755, content: busybox },
    { path: 'bin/sh', mode: S_IFLNK | 0o777, content: 'busybox' },
    { path: 'init', mode: S_IFREG | 0o755, content: init },
    { path: 'lib/modules/load-order', mode: S_IFREG | 0o644, content: modules.map(({ name }) => `${name}\n`).join('') },
    ...modules.map(({ name, content }) => ({ path: `lib/modules/${name}.ko`, mode: S_IFREG | 0o644, content })),
  ];
  return gzipSync(writeCpio(entries), { level: 9 });
}
