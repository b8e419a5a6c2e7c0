// Has fio write and verify a raw image and two qcow2 ones, one of them with extended L2 entries, from inside Debian:
// sequential, random and mixed, blocks of 4 to 256 KiB, a sum in each block (crc32c). Afterwards qemu-img checks the
// qcow2 images, and reads them whole.
// Needs what tools-image.mjs needs, and qemu-utils.
//
// node tools/disks/fio.mjs [--size MiB] [--seed N]
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readOptions } from '../options.mjs';
import { bootDebian, host } from './guest.mjs';
import { makeToolsImage } from './tools-image.mjs';

const { values } = readOptions({
  options: { size: { type: 'string', default: '16' }, seed: { type: 'string', default: '1' } },
});
const size = Number(values.size);
const patterns = ['write', 'randwrite', 'rw', 'randrw'];
const tools = makeToolsImage();
const folder = mkdtempSync(join(tmpdir(), 'paravane-fio-'));
const file = (name) => join(folder, name);

const images = [
  { device: 'xvdb', format: 'raw', name: 'raw.img', options: '' },
  { device: 'xvdc', format: 'qcow2', name: 'some.qcow2', options: 'extended_l2=off' },
  { device: 'xvdd', format: 'qcow2', name: 'extended.qcow2', options: 'extended_l2=on' },
];

/** Each pattern has a part of the disk for itself. */
const jobs = (device, index, pattern, more) =>
  [
    'chroot /mnt fio --output-format=terse --terse-version=3 --ioengine=libaio --iodepth=8 --direct=1 --thread',
    `--name=${pattern} --filename=/dev/${device} --rw=${pattern} --bsrange=4k-256k --blockalign=4k`,
    `--offset=${index * size}m --size=${size}m --randseed=${Number(values.seed) + index}`,
    `--verify=crc32c --verify_fatal=1 --verify_state_save=0 ${more}`,
  ].join(' ');

async function boot() {
  const disks = images.map(({ device, format, name }) => `${file(name)},${format},${device},rw`);
  const guest = await bootDebian([`${tools},raw,xvda,r`, ...disks], { memory: 192, stats: true });
  const { status } = await guest.run(
    'mount -t ext4 -o ro /dev/xvda /mnt && for d in dev proc sys; do mount --bind /$d /mnt/$d; done',
  );
  if (status !== 0) throw new Error(`the tools cannot be mounted\n${guest.output.slice(-2000)}`);
  return guest;
}

async function fio(guest, command, what) {
  const started = performance.now();
  const { status, text } = await guest.run(command);
  // The prompt may stand before it.
  const line = /3;fio-.*/.exec(text)?.[0];
  const fields = line?.split(';');
  // Terse output: the fifth field is the error, KiB read the sixth, KiB written the 47th.
  if (status !== 0 || fields?.[4] !== '0') throw new Error(`${what}: fio ended with ${status}\n${text}`);
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`${what}: ${fields[5]} KiB read and verified, ${fields[46]} KiB written, ${seconds} s`);
}

let guest;
try {
  for (const { format, name, options } of images) {
    const more = options === '' ? [] : ['-o', options];
    host('qemu-img', ['create', '-q', '-f', format, ...more, file(name), `${size * patterns.length}M`]);
  }
  guest = await boot();
  for (const { device, name } of images) {
    for (const [index, pattern] of patterns.entries()) {
      await fio(guest, jobs(device, index, pattern, '--do_verify=1'), `${name}, ${pattern}`);
    }
  }
  await guest.powerOff();
  console.log(guest.told.match(/^disk xvd[bcd], .*$/gm)?.join('\n') ?? guest.told);
  for (const { format, name } of images.filter(({ format }) => format === 'qcow2')) {
    host('qemu-img', ['check', '-q', '-f', format, file(name)]);
    host('qemu-img', ['convert', '-f', format, '-O', 'raw', file(name), file('other.img')]);
    host('qemu-img', ['compare', '-q', file('other.img'), file(name)]);
  }
  console.log('fio verified all; qemu-img check finds nothing');
} finally {
  await guest?.kill();
  rmSync(folder, { recursive: true, force: true });
}
