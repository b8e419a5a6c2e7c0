/**
 * A small initramfs: busybox, the modules that a guest needs to see Xen's devices, and an /init that boots
 * from a disk, or ends in a shell on the console.
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

/** Modules get their parameters from the command line (`module.parameter=value`), as modprobe does it. */
const start = `#!/bin/sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts pts /dev/pts
while read -r module; do
  options=
  for word in $(cat /proc/cmdline); do
    case $word in "$module".*=*) options="$options \${word#*.}" ;; esac
  done
  insmod "/lib/modules/$module.ko" $options
done </lib/modules/load-order
`;

/**
 * A disk with a system on it (root=, else /dev/xvda) is booted, unless "shell" is on the command line; it is looked at
 * without touching its journal. busybox's init has the signals that poweroff, reboot and halt send it; a shell that waited
 * for them would have its console's in the background, where ash lets all that runs ignore Ctrl-C.
 */
const bootOrShell = `hostname guest
root= shell=
for word in $(cat /proc/cmdline); do
  case $word in
    root=*) root=\${word#root=} ;;
    shell) shell=1 ;;
  esac
done
for turn in 1 2 3 4 5 6 7 8 9 10; do
  grep -qsv Connected /sys/bus/xen/devices/vbd-*/state || break
  usleep 100000
done
root=\${root:-/dev/xvda}
if [ -z "$shell" ] && [ -b "$root" ] && mount -t ext4 -o ro,noload "$root" /mnt 2>/dev/null; then
  [ -x /mnt/sbin/init ] || [ -L /mnt/sbin/init ] && found=1
  umount /mnt
  if [ -n "$found" ] && mount -t ext4 -o ro "$root" /mnt; then
    mount --move /dev /mnt/dev
    umount /sys /proc
    exec switch_root /mnt /sbin/init
  fi
fi
ip link set lo up
if [ -e /sys/class/net/eth0 ]; then
  udhcpc -i eth0 -n -t 4 -T 1 -s /etc/udhcpc.script >/dev/null 2>&1 || echo "eth0 got no address"
fi
exec init
`;

const inittab = '::once:/etc/console-shell\n';
/** cttyhack gives the shell a controlling terminal, so that Ctrl-C reaches what runs in it. */
const consoleShell = `#!/bin/sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root TERM=linux
cd
setsid cttyhack sh
poweroff -f
`;

/** What udhcpc does with what it is told. */
const udhcpcScript = `#!/bin/sh
case $1 in
  deconfig)
    ip -4 addr flush dev "$interface"
    ip link set "$interface" up
    ;;
  bound | renew)
    ip -4 addr flush dev "$interface"
    ip addr add "$ip/$mask" brd + dev "$interface"
    for hop in $router; do ip route add default via "$hop" dev "$interface"; done
    for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
    ;;
esac
`;

export interface InitramfsExtras {
  /** What /init runs when the modules are there, in place of a boot or a shell. */
  readonly run: string;
  readonly entries: readonly CpioEntry[];
}

export function buildInitramfs(
  busybox: Uint8Array,
  modules: readonly KernelModule[],
  extras?: InitramfsExtras,
): Uint8Array {
  const init = `${start}${extras === undefined ? bootOrShell : `${extras.run}\npoweroff -f\n`}`;
  const entries: CpioEntry[] = [
    ...[...folders, 'lib/modules'].map((path) => ({ path, mode: S_IFDIR | 0o755 })),
    { path: 'dev/console', mode: S_IFCHR | 0o600, device: { major: 5, minor: 1 } },
    { path: 'dev/null', mode: S_IFCHR | 0o666, device: { major: 1, minor: 3 } },
    { path: 'bin/busybox', mode: S_IFREG | 0o755, content: busybox },
    { path: 'bin/sh', mode: S_IFLNK | 0o777, content: 'busybox' },
    { path: 'etc/inittab', mode: S_IFREG | 0o644, content: inittab },
    { path: 'etc/console-shell', mode: S_IFREG | 0o755, content: consoleShell },
    { path: 'etc/udhcpc.script', mode: S_IFREG | 0o755, content: udhcpcScript },
    { path: 'init', mode: S_IFREG | 0o755, content: init },
    { path: 'lib/modules/load-order', mode: S_IFREG | 0o644, content: modules.map(({ name }) => `${name}\n`).join('') },
    ...modules.map(({ name, content }) => ({ path: `lib/modules/${name}.ko`, mode: S_IFREG | 0o644, content })),
    ...(extras?.entries ?? []),
  ];
  return gzipSync(writeCpio(entries), { level: 9 });
}
