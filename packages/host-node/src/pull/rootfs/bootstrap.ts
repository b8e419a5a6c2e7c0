/**
 * The guest that makes a root file system of an archive: an initramfs whose /init formats the first disk, unpacks the
 * second one (a tar archive) onto it, configures the packages there, and ends. What it has to report begins with `@@ `.
 */
import { ParavaneError } from '@paravane/types';
import { type CpioEntry, S_IFDIR, S_IFLNK, S_IFREG } from '../cpio.js';
import { buildInitramfs } from '../initramfs.js';
import type { KernelModule } from '../modules.js';
import { readTar, type TarEntry } from '../tar.js';
import type { SystemPackage } from './packages.js';

/** Said when all went well. */
export const bootstrapDone = '@@ done';

const script = `#!/bin/sh
fail() {
  echo "@@ failed: $*"
  poweroff -f
}
echo '@@ making the file system'
/sbin/mke2fs -q -F -t ext4 -L root -E lazy_itable_init=1,lazy_journal_init=1 /dev/xvda || fail 'mke2fs'
mount -t ext4 -o noatime,barrier=0,noauto_da_alloc /dev/xvda /mnt || fail 'mount'
cd /mnt
for name in bin sbin lib lib64; do
  mkdir -p "usr/$name"
  ln -s "usr/$name" "$name"
done
echo '@@ unpacking'
tar -x --numeric-owner -f /dev/xvdb || fail 'tar'
mkdir -p proc sys dev tmp run etc root
mount -t proc proc proc
mount -t sysfs sys sys
mount -t devtmpfs dev dev
mount -t tmpfs tmp tmp
cd /
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true LC_ALL=C
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
[ -e /mnt/usr/bin/sh ] || ln -s dash /mnt/usr/bin/sh
mkdir -p /mnt/usr/local/bin
ln -s ../../bin/mawk /mnt/usr/local/bin/awk
export PATH=/usr/local/bin:$PATH
printf '#!/bin/sh\\nexit 101\\n' >/mnt/usr/sbin/policy-rc.d
chmod 755 /mnt/usr/sbin/policy-rc.d
# By env, or busybox would take its own applet of the name.
in_system() {
  chroot /mnt /usr/bin/env "$@"
}
in_system ldconfig
echo '@@ preparing'
in_system mkdir -p /var/lib/dpkg/updates /var/lib/dpkg/triggers /var/lib/dpkg/alternatives /var/log
for preinst in /mnt/var/lib/dpkg/info/*.preinst; do
  name=\${preinst##*/}
  name=\${name%.preinst}
  DPKG_MAINTSCRIPT_PACKAGE=\${name%:*} DPKG_MAINTSCRIPT_ARCH=amd64 DPKG_MAINTSCRIPT_NAME=preinst DPKG_ROOT= \\
    in_system "/var/lib/dpkg/info/\${preinst##*/}" install || echo "@@ the preinst of $name ended with $?"
done
echo '@@ configuring'
in_system dpkg --configure --force-confold --force-unsafe-io -a || fail 'dpkg --configure'
rm -f /mnt/usr/sbin/policy-rc.d /mnt/usr/local/bin/awk
echo '@@ finishing'
echo debian >/mnt/etc/hostname
printf '127.0.0.1 localhost\\n127.0.1.1 debian\\n' >/mnt/etc/hosts
printf '/dev/xvda / ext4 defaults,errors=remount-ro 0 1\\n' >/mnt/etc/fstab
# Every interface that is there when the system starts; IPv6 addresses come by themselves.
printf 'auto lo /eth*\niface lo inet loopback\n' >/mnt/etc/network/interfaces
for number in 0 1 2 3; do
  printf 'iface eth%s inet dhcp\n' $number >>/mnt/etc/network/interfaces
done
in_system passwd -d root
units=/mnt/etc/systemd/system
mkdir -p $units/getty.target.wants
# There is no udev to say that the console's device is there.
ln -s /lib/systemd/system/console-getty.service $units/getty.target.wants/console-getty.service
ln -s /dev/null $units/serial-getty@hvc0.service
rm -f $units/getty.target.wants/getty@tty1.service
ln -s /dev/null $units/getty-static.service
sync
for name in tmp dev sys proc ''; do
  umount "/mnt/$name"
done
echo '${bootstrapDone}'
poweroff -f
`;

const libraries = '(?:usr/)?lib/x86_64-linux-gnu/';
/** What mke2fs needs, by package. */
const tools: readonly RegExp[] = [
  /^(?:usr\/)?sbin\/mke2fs$/,
  /^etc\/mke2fs\.conf$/,
  new RegExp(`^${libraries}(?:libc|ld-linux-x86-64|libm|libpthread)\\.so\\.[0-9]$`),
  new RegExp(`^${libraries}(?:libext2fs|libe2p|libcom_err|libblkid|libuuid)\\.so\\.[0-9.]+$`),
];

export function buildBootstrap(
  busybox: Uint8Array,
  modules: readonly KernelModule[],
  packages: readonly SystemPackage[],
): Uint8Array {
  const needed = /^(?:e2fsprogs|libc6|libext2fs2.*|libcom-err2|libblkid1|libuuid1)$/;
  const entries: TarEntry[] = packages
    .filter(({ name }) => needed.test(name))
    .flatMap((found) => [...readTar(found.data(), found.file)])
    .filter(({ path }) => tools.some((tool) => tool.test(path)));
  if (!entries.some(({ path }) => path.endsWith('/mke2fs'))) {
    throw new ParavaneError('package-unusable', 'e2fsprogs holds no mke2fs: try another --suite');
  }
  // Wherever the packages have them, here they are in /lib, where the loader looks last.
  const place = (path: string): string =>
    path.includes('/x86_64-linux-gnu/')
      ? `lib/${path.split('/').at(-1)!}`
      : path.endsWith('/mke2fs')
        ? 'sbin/mke2fs'
        : path;
  const files: CpioEntry[] = entries.map((entry) => ({
    path: place(entry.path),
    mode: entry.kind === 'link' ? S_IFLNK | 0o777 : S_IFREG | (entry.mode & 0o777),
    content: entry.kind === 'link' ? entry.target : entry.content,
  }));
  return buildInitramfs(busybox, modules, {
    run: 'sh /bootstrap',
    entries: [
      { path: 'lib64', mode: S_IFDIR | 0o755 },
      { path: 'lib64/ld-linux-x86-64.so.2', mode: S_IFLNK | 0o777, content: '/lib/ld-linux-x86-64.so.2' },
      ...files,
      { path: 'bootstrap', mode: S_IFREG | 0o755, content: script },
    ],
  });
}
