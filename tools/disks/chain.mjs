// One guest after another on the same disk, without a new domain between them: GRUB reads Debian's kernel and its
// initramfs from an ext2 image and starts it, and Debian's blkfront meets the back end that GRUB's front end has left.
// It is what a guest can do of a restart by itself: Linux can't kexec as a PV guest.
// Needs `paravane pull debian`, `paravane pull grub` and e2fsprogs.
//
// node tools/disks/chain.mjs
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bzImagePayload, unpackLz4Legacy } from '../../packages/domain-builder/dist/index.js';
import { createMemoryImage } from '../../packages/images/dist/index.js';
import { startGuest } from '../../packages/machine/dist/index.js';
import { readDisk } from '../../packages/toolstack/dist/index.js';
import { dataFolder, host } from './guest.mjs';

const folder = mkdtempSync(join(tmpdir(), 'paravane-chain-'));
const pulled = (guest, name) => new Uint8Array(readFileSync(join(dataFolder(), guest, name)));
try {
  const [tree, file] = [join(folder, 'tree'), join(folder, 'disk.img')];
  mkdirSync(tree);
  // GRUB knows no LZ4, in which the cloud kernel is packed.
  writeFileSync(join(tree, 'vmlinux'), unpackLz4Legacy(bzImagePayload(pulled('debian', 'vmlinuz'))));
  writeFileSync(join(tree, 'initrd'), pulled('debian', 'initramfs.cpio.gz'));
  host('mke2fs', ['-q', '-F', '-t', 'ext2', '-d', tree, file, '96M']);
  const image = createMemoryImage({ size: 96 << 20 });
  await image.write(0, readFileSync(file));
  const guest = await startGuest({
    kernel: pulled('grub', 'grub.bin'),
    memory: 256,
    disks: [{ config: readDisk('memory,,xvda,rw').disk, image }],
  });
  const ask = (line, prompt) => {
    guest.type(`${line}\r`);
    return guest.waitFor(prompt, 600);
  };
  guest.waitFor('grub> ');
  ask('linux (xen/xvda)/vmlinux console=hvc0 shell quiet', 'grub> ');
  ask('initrd (xen/xvda)/initrd', 'grub> ');
  ask('boot', '/root # ');
  ask('stty -echo; mount -t ext2 /dev/xvda /mnt && md5sum /mnt/*', '/root # ');
  const sums = ask('echo written >/mnt/new; umount /mnt; mount -t ext2 /dev/xvda /mnt; md5sum /mnt/*', '/root # ');
  for (const name of ['initrd', 'vmlinux']) {
    const [sum] = host('md5sum', [join(tree, name)]).split(' ');
    if (!sums.includes(`${sum}  /mnt/${name}`)) throw new Error(`${name} is another one in the guest:\n${sums}`);
  }
  ask('umount /mnt', '/root # ');
  guest.type('poweroff -f\r');
  const end = guest.waitForEnd();
  if (end.kind !== 'poweroff') throw new Error(`the guest ended with ${end.kind}`);
  const after = readFileSync(file);
  await image.read(0, after);
  writeFileSync(file, after);
  const written = host('debugfs', ['-R', 'cat /new', file]);
  if (written !== 'written\n') throw new Error(`on the disk is "${written}"`);
  console.log('GRUB started Debian from the disk; Debian read both files with their sums, and wrote one');
} finally {
  rmSync(folder, { recursive: true, force: true });
}
