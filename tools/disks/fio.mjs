// Has fio write and verify a raw and a qcow2 image from inside Debian: sequential, random and mixed, blocks of 4 to
// 256 KiB, a sum in each block (crc32c). Afterwards qemu-img checks the qcow2 image, and reads it whole.
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

/** Each pattern has a part of the disk for itself. */
const jobs = (device, index, pattern, more) =>
  [
    'chroot /mnt fio --output-format=terse --terse-version=3 --ioengine=libaio --iodepth=8 --direct=1 --thread',
    `--name=${pattern} --filename=/dev/${device} --rw=${pattern} --bsrange=4k-256k --blockalign=4k`,
    `--offset=${index * size}m --size=${size}m --randseed=${Number(values.seed) + index}`,
    `--verify=crc32c --verify_fatal=1 --verify_state_save=0 ${more}`,
  ].join(' ');

async function boot(raw, qcow2) {
  const guest = await bootDebian([`${tools},raw,xvda,r`, `${raw},raw,xvdb,rw`, `${qcow2},qcow2,xvdc,rw`], {
    memory: 192,
    stats: true,
  });
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
  host('truncate', ['-s', `${size * patterns.length}M`, file('raw.img')]);
  host('qemu-img', ['create', '-q', '-f', 'qcow2', file('some.qcow2'), `${size * patterns.length}M`]);
  guest = await boot(file('raw.img'), file('some.qcow2'));
  for (const [device, format] of [
    ['xvdb', 'raw'],
    ['xvdc', 'qcow2'],
  ]) {
    for (const [index, pattern] of patterns.entries()) {
      await fio(guest, jobs(device, index, pattern, '--do_verify=1'), `${format}, ${pattern}`);
    }
  }
  await guest.powerOff();
  console.log(guest.told.match(/^disk xvd[bc], .*$/gm)?.join('\n') ?? guest.told);
  host('qemu-img', ['check', '-q', '-f', 'qcow2', file('some.qcow2')]);
  host('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', file('some.qcow2'), file('other.img')]);
  host('qemu-img', ['compare', '-q', file('other.img'), file('some.qcow2')]);
  console.log('fio verified all; qemu-img check finds nothing');
} finally {
  await guest?.kill();
  rmSync(folder, { recursive: true, force: true });
}
