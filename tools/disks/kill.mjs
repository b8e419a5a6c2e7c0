// Kills the process of a guest that writes to a raw and to a qcow2 image, again and again, and boots another from them.
//
// Each round boots Debian, which mounts the ext4 of both disks (and so replays their journals), says the sums of the files
// that are there, and writes new ones, each made durable with fsync before it is reported, while others are written
// directly and through the cache. At a random moment the process gets SIGKILL. Then, on copies: qemu-img finds no
// corruption (leaks are allowed), and e2fsck finds nothing once the journal has been replayed. What was reported has to
// be there in the next round. Needs e2fsprogs and qemu-utils.
//
// node tools/disks/kill.mjs [--rounds 50] [--seed N]
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readOptions } from '../options.mjs';
import { bootDebian, host } from './guest.mjs';

const { values } = readOptions({
  options: { rounds: { type: 'string', default: '50' }, seed: { type: 'string', default: String(Date.now() % 1e6) } },
});
const rounds = Number(values.rounds);
let state = Number(values.seed) >>> 0;
/** Less than `limit`; the same for the same seed. */
function random(limit) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * limit);
}

const folder = mkdtempSync(join(tmpdir(), 'paravane-kill-'));
const raw = join(folder, 'raw.img');
const qcow2 = join(folder, 'some.qcow2');
const copy = join(folder, 'copy.img');
const disks = [`${raw},raw,xvda,rw`, `${qcow2},qcow2,xvdb,rw`];
/** Sums of what was reported as durable, by file. */
let durable = new Map();
const totals = { files: 0, leaks: 0, seconds: 0 };

function makeImages() {
  host('truncate', ['-s', '64M', raw]);
  host('mke2fs', ['-q', '-F', '-t', 'ext4', '-E', 'lazy_itable_init=0', raw]);
  host('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2]);
}

const writer = (round) => `
for d in a b; do
  (while :; do dd if=/dev/urandom of=/mnt/$d/direct bs=16k count=8 seek=$((RANDOM % 400)) conv=notrunc oflag=direct; done) 2>/dev/null &
  (while :; do dd if=/dev/urandom of=/mnt/$d/cached bs=7k count=50 seek=$((RANDOM % 600)) conv=notrunc; mv /mnt/$d/cached /mnt/$d/moved; mv /mnt/$d/moved /mnt/$d/cached; done) 2>/dev/null &
done
i=0
while :; do
  i=$((i + 1))
  for d in a b; do
    f=f-${round}-$i
    dd if=/dev/urandom of=/mnt/$d/$f bs=1k count=$((RANDOM % 120 + 1)) conv=fsync 2>/dev/null && echo "@"@durable $d/$f $(md5sum < /mnt/$d/$f)
  done
done
`;

/** One life of the guest: what it finds, what it writes, its death. */
async function live(round) {
  const guest = await bootDebian(disks);
  try {
    const mounted = await guest.run(
      'cd /mnt; for d in a b; do mkdir $d; mount -t ext4 -o errors=panic /dev/xvd$d $d || echo "@"@failed; done; md5sum [ab]/f-*',
    );
    if (mounted.text.includes('@@failed')) throw new Error(`round ${round}: not mounted\n${mounted.text}`);
    const found = new Map(
      [...mounted.text.matchAll(/^([0-9a-f]{32}) {2}(\S+)$/gm)].map(([, sum, file]) => [file, sum]),
    );
    for (const [file, sum] of durable) {
      if (found.get(file) !== sum) throw new Error(`round ${round}: ${file} was ${sum}, is ${found.get(file)}`);
    }
    totals.files += durable.size;
    await guest.run('rm -f [ab]/f-*; sync; echo 50 > /proc/sys/vm/dirty_writeback_centisecs; cd /root');
    guest.type(`cat > /w <<'@'${writer(round)}@`);
    const from = guest.output.length;
    guest.type('sh /w');
    const reports = () => [...guest.output.slice(from).matchAll(/^@@durable (\S+) ([0-9a-f]{32}) +-$/gm)];
    const enough = 2 + random(10);
    await guest.until(() => reports().length >= enough, `${enough} files`);
    await new Promise((resolve) => setTimeout(resolve, random(400)));
    await guest.kill();
    durable = new Map(reports().map(([, file, sum]) => [file, sum]));
  } finally {
    await guest.kill();
  }
}

/** What the host finds in the images: nothing but a journal that is to be replayed. */
function inspect() {
  const { leaks = 0 } = JSON.parse(host('qemu-img', ['check', '--output=json', '-f', 'qcow2', qcow2], [0, 3]));
  totals.leaks += leaks;
  copyFileSync(raw, copy);
  replayAndCheck();
  host('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', qcow2, copy]);
  replayAndCheck();
  return leaks;
}

function replayAndCheck() {
  host('e2fsck', ['-E', 'journal_only', '-y', copy], [0, 1]);
  host('e2fsck', ['-f', '-n', copy]);
}

try {
  makeImages();
  for (let round = 1; round <= rounds; round++) {
    const started = performance.now();
    await live(round);
    const leaks = inspect();
    const seconds = (performance.now() - started) / 1000;
    totals.seconds += seconds;
    console.log(`round ${round}: ${durable.size} files durable, ${leaks} clusters leaked, ${seconds.toFixed(0)} s`);
  }
  const { files, leaks } = totals;
  console.log(
    `${rounds} rounds, ${files} durable files found again, ${leaks} leaks, no corruption; seed ${values.seed}`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
