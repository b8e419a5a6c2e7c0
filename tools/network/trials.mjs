// Tries the network of real guests: Debian, by way of the built command line, with servers on the host's loopback.
// The guest is the one that `paravane pull debian --rootfs` made; `apt` needs apt and dpkg as well.
//
//   gigabyte   --size megabytes to the guest, which compares each byte, and back, with an MD5 on the host
//   parallel   200 connections at once, 100 KB each way, with checksums
//   slow       readers that stop for ten seconds, on either side: what the process holds meanwhile
//   apt        apt-get update and apt-get install of packages that the host serves
//
// node tools/network/trials.mjs [--size MB] [--flags FLAGS] [NAME...]
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { bootDebian, dataFolder, host } from '../disks/guest.mjs';

const { values, positionals } = parseArgs({
  options: { size: { type: 'string', default: '1000' }, flags: { type: 'string' } },
  allowPositionals: true,
});
const size = Number(values.size);
const trials = { gigabyte, parallel, slow, apt };
/** Further flags of the command line, such as --engine interpreter. */
const furtherFlags = (values.flags ?? '').split(' ').filter(Boolean);
const names = positionals.length > 0 ? positionals : Object.keys(trials);

for (const name of names) {
  const trial = trials[name];
  if (!trial) throw new Error(`no trial "${name}": there are ${Object.keys(trials).join(', ')}`);
  const servers = [];
  const listen = (server) =>
    new Promise((resolve) => {
      servers.push(server);
      server.listen(0, '127.0.0.1', () => resolve(server.address().port));
    });
  try {
    for (const line of await trial(listen)) console.log(`${name}: ${line}`);
  } finally {
    for (const server of servers) {
      server.close();
      server.closeAllConnections?.();
    }
  }
}

/** Bytes that repeat after a prime number of them, so that no packet's worth equals another. */
function pattern(length) {
  const bytes = Buffer.alloc(length);
  for (let at = 0, word = 1; at < length; at++) {
    word = (Math.imul(word, 1103515245) + 12345) >>> 0;
    bytes[at] = word >>> 23;
  }
  return bytes;
}

function md5(pieces) {
  const hash = createHash('md5');
  for (const piece of pieces) hash.update(piece);
  return hash.digest('hex');
}

function processorSeconds({ pid }) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function residentMiB({ pid }) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))[1]) / 1024;
}

/** Runs a command in the guest: what it said, and what it cost. */
async function timed(guest, command) {
  const before = processorSeconds(guest);
  const { status, text } = await guest.run(command, 1500);
  if (status !== 0) throw new Error(`${command}: ${status}\n${text}`);
  return { text, seconds: processorSeconds(guest) - before };
}

function same(what, one, other) {
  if (one !== other) throw new Error(`${what}: ${one} is not ${other}`);
}

async function gigabyte(listen) {
  const piece = pattern(1e6);
  let came;
  const port = await listen(
    createServer({ allowHalfOpen: true }, (socket) => {
      let left = size;
      const more = () => {
        while (left-- > 0) if (!socket.write(piece)) return socket.once('drain', more);
        return socket.end();
      };
      more();
    }),
  );
  const sink = await listen(
    createServer({ allowHalfOpen: true }, (socket) => {
      const hash = createHash('md5');
      let length = 0;
      socket.on('data', (bytes) => {
        hash.update(bytes);
        length += bytes.length;
      });
      socket.on('end', () => {
        came = [length, hash.digest('hex')];
        socket.end('ok');
      });
    }),
  );
  const disk = `${join(dataFolder(), 'debian/root.img')},raw,xvda,r`;
  const guest = await bootDebian([disk], { memory: 256, flags: ['--vif', '', ...furtherFlags] });
  await timed(guest, 'mount -t ext4 -o ro,noload /dev/xvda /mnt && mount --bind /dev /mnt/dev');
  const perl = (port, body) =>
    [
      `chroot /mnt perl -e 'use Socket; socket(my $s, PF_INET, SOCK_STREAM, 0);`,
      `connect($s, sockaddr_in(${port}, inet_aton("10.0.2.2"))) or die $!; my ($n, $m, $p) = (0, 1000000, "");`,
      // What repeats is what came first; the host's sum of all that goes back says that it was right.
      `sub more { my $r = sysread $s, $_[0], 65536; defined $r or die $!; $n += $r; $r } ${body}'`,
    ].join(' ');
  const compare = `while (length $p < $m && more(my $b)) { $p .= $b } my $at = $n % $m; my $pp = substr($p, 0, $m) x 2;
    die "the rest" if substr($p, $m) ne substr($pp, 0, length($p) - $m);
    while (my $r = more(my $b)) { die "differs at $n" if $b ne substr($pp, $at, $r); $at = ($at + $r) % $m }`;
  const down = await timed(guest, perl(port, `${compare} print "got $n\\n"`.replaceAll('\n', ' ')));
  same('bytes that came to the guest', Number(/got (\d+)/.exec(down.text)?.[1]), size * 1e6);
  const up = await timed(
    guest,
    perl(
      sink,
      '$p = "paravane " x 111112; $p = substr $p, 0, $m; my $left = SIZE; while ($left > 0) { my $o = $n % $m; my $l = $m - $o; $l = $left if $left < $l; my $w = syswrite $s, $p, $l, $o; die $! unless $w; $n += $w; $left -= $w } shutdown $s, 1; more(my $end)'.replace(
        'SIZE',
        String(size * 1e6),
      ),
    ),
  );
  const sent = Buffer.from('paravane '.repeat(111_112)).subarray(0, 1e6);
  same('bytes and MD5 on the host', String(came), String([size * 1e6, md5(Array.from({ length: size }, () => sent))]));
  await guest.powerOff();
  return [
    `${size} MB to the guest, each byte compared there: ${down.seconds.toFixed(1)} processor seconds`,
    `${size} MB from the guest, MD5 ${came[1]} as expected: ${up.seconds.toFixed(1)} processor seconds`,
  ];
}

async function parallel(listen) {
  const count = 200;
  const content = pattern(100_000);
  const want = md5([content]);
  const seen = { open: 0, most: 0, right: 0 };
  // Answers only when all are there, so all are open at once.
  const waiting = [];
  const port = await listen(
    createServer({ allowHalfOpen: true }, (socket) => {
      const pieces = [];
      seen.most = Math.max(seen.most, ++seen.open);
      socket.on('data', (bytes) => pieces.push(bytes));
      socket.on('error', () => socket.destroy());
      socket.on('close', () => seen.open--);
      socket.on('end', () => {
        if (md5(pieces) === want) seen.right++;
        waiting.push(socket);
        if (waiting.length === count) for (const each of waiting) each.end(content);
      });
    }),
  );
  const source = await listen(createServer((socket) => socket.end(content)));
  const guest = await bootDebian([], { memory: 256, flags: ['--vif', '', ...furtherFlags] });
  await guest.run(`nc 10.0.2.2 ${source} </dev/null >/tmp/c`);
  const all = `for i in $(seq ${count}); do (nc 10.0.2.2 ${port} </tmp/c | md5sum >/tmp/sum$i) & done; wait`;
  const { seconds } = await timed(guest, all);
  const { text } = await guest.run(`cat /tmp/sum* | grep -c ${want}`);
  same('connections whose bytes came right in the guest', Number(/\d+/.exec(text)?.[0]), count);
  same('connections whose bytes came right on the host', seen.right, count);
  await guest.powerOff();
  return [`${count} connections, ${seen.most} open at once, 100 KB each way: ${seconds.toFixed(1)} processor seconds`];
}

async function slow(listen) {
  const piece = pattern(1e6);
  const megabytes = 200;
  const sent = { bytes: 0 };
  let got = 0;
  let wake;
  const source = await listen(
    createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => socket.destroy());
      const more = () => {
        while (sent.bytes < megabytes * 1e6) {
          sent.bytes += piece.length;
          if (!socket.write(piece)) return socket.once('drain', more);
        }
        return socket.end();
      };
      more();
    }),
  );
  const sink = await listen(
    createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('data', (bytes) => (got += bytes.length));
      socket.on('end', () => socket.end());
      socket.pause();
      wake = () => socket.resume();
    }),
  );
  const guest = await bootDebian([], { memory: 256, flags: ['--vif', '', ...furtherFlags] });
  const before = residentMiB(guest);
  const reading = timed(guest, `nc 10.0.2.2 ${source} </dev/null | (sleep 10; wc -c)`);
  await new Promise((resolve) => setTimeout(resolve, 8000));
  const inTheGuest = residentMiB(guest);
  const held = sent.bytes / 1e6;
  same('bytes that the guest read', Number(/\d+/.exec((await reading).text)?.[0]), megabytes * 1e6);
  const middle = residentMiB(guest);
  const writing = timed(guest, `head -c ${megabytes}000000 /dev/zero | nc 10.0.2.2 ${sink}`);
  await new Promise((resolve) => setTimeout(resolve, 8000));
  const onTheHost = residentMiB(guest);
  wake();
  await writing;
  same('bytes that the host read', got, megabytes * 1e6);
  await guest.powerOff();
  return [
    `while the guest did not read, ${held.toFixed(0)} of ${megabytes} MB left the server; the process grew by ${(inTheGuest - before).toFixed(1)} MiB`,
    `while the host did not read, the process grew by ${(onTheHost - middle).toFixed(1)} MiB`,
  ];
}

async function apt(listen) {
  const folder = mkdtempSync(join(tmpdir(), 'paravane-mirror-'));
  try {
    const packages = ['hello', 'tree'];
    const { status, stderr } = spawnSync('apt-get', ['download', '-qq', ...packages], {
      cwd: folder,
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`apt-get download ${packages.join(' ')}: ${stderr}`);
    const files = new Map(readdirSync(folder).map((name) => [`/${name}`, readFileSync(join(folder, name))]));
    const index = [...files]
      .map(([path, bytes]) => {
        const control = host('dpkg-deb', ['-f', join(folder, path.slice(1))]).trimEnd();
        const sum = createHash('sha256').update(bytes).digest('hex');
        return `${control}\nFilename: .${path}\nSize: ${bytes.length}\nSHA256: ${sum}\n`;
      })
      .join('\n');
    files.set('/./Packages', Buffer.from(index)).set('/Packages', Buffer.from(index));
    const asked = [];
    const port = await listen(
      createHttpServer((request, response) => {
        const path = decodeURIComponent(request.url ?? '').replace('/./', '/');
        asked.push(path);
        const content = files.get(path);
        response.writeHead(content ? 200 : 404, { 'content-length': content?.length ?? 0 }).end(content);
      }),
    );
    const disk = `${join(dataFolder(), 'debian/root.img')},raw,xvda,rw,snapshot`;
    const guest = await bootDebian([disk], { memory: 256, flags: ['--vif', '', ...furtherFlags] });
    const list = `echo 'deb [trusted=yes] http://10.0.2.2:${port} ./' >/mnt/etc/apt/sources.list`;
    await timed(guest, 'mount -t ext4 /dev/xvda /mnt && for d in dev proc sys; do mount --bind /$d /mnt/$d; done');
    await timed(guest, `rm -rf /mnt/etc/apt/sources.list.d; ${list}; cp /etc/resolv.conf /mnt/etc/resolv.conf`);
    const inSystem = 'DEBIAN_FRONTEND=noninteractive chroot /mnt /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin';
    const update = await timed(guest, `${inSystem} apt-get update`);
    console.error(update.text);
    const install = await timed(guest, `${inSystem} apt-get -y install ${packages.join(' ')}`);
    console.error(install.text);
    const { text } = await guest.run(`${inSystem} hello`);
    same('what an installed program says', /Hello, world!/.test(text), true);
    await guest.powerOff();
    return [
      `apt-get update ${update.seconds.toFixed(1)}, install of ${packages.join(' and ')} ${install.seconds.toFixed(1)} processor seconds; ${asked.length} requests to the mirror`,
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
