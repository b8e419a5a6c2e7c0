// Tries the network of real guests: Debian, by way of the built command line, with servers on the host's loopback.
// The guest is the one that `paravane pull debian --rootfs` made; `apt` needs apt and dpkg as well.
//
//   gigabyte   --size megabytes to the guest, which compares each byte, and back, with an MD5 on the host
//   parallel   200 connections at once, 100 KB each way, with checksums
//   slow       readers that stop for ten seconds, on either side: what the process holds meanwhile
//   apt        apt-get update and apt-get install of packages that the host serves
//   sizes      UDP of every kind of size, in fragments where it must be, against an echo on the host
//   names      DNS answers over 512 bytes, with and without EDNS0, and over TCP, as drill asks for them
//   capture    --capture of all kinds of traffic, and what tshark says of it
//   rebind     the interface's front end taken away by sysfs, in use, and given back
//   channels   two further consoles, at a socket and at a pseudo-terminal, 100 KB each way
//
// node tools/network/trials.mjs [--size MB] [--flags FLAGS] [NAME...]
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { constants, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ReadStream as Terminal } from 'node:tty';
import { bootDebian, dataFolder, host } from '../disks/guest.mjs';
import { readOptions } from '../options.mjs';
import { startNameServer, textOf } from './name-server.mjs';

const { values, positionals } = readOptions({
  options: { size: { type: 'string', default: '1000' }, flags: { type: 'string' } },
  allowPositionals: true,
});
const size = Number(values.size);
/** Datagrams of these sizes go to an echo on the host and back; the guest compares them. */
const datagramSizes = [0, 1, 512, 1471, 1472, 1473, 2952, 2953, 9000, 32768, 65000, 65507];

const trials = { gigabyte, parallel, slow, apt, sizes, names, capture, rebind, channels };
/** Further flags of the command line, such as --engine interpreter. */
const furtherFlags = (values.flags ?? '').split(' ').filter(Boolean);

for (const name of positionals.length > 0 ? positionals : Object.keys(trials)) {
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

/** The MD5 in what a guest says; its prompt may stand before it. */
function sumIn(text) {
  return /[0-9a-f]{32}/.exec(text)?.[0];
}

function same(what, one, other) {
  if (one !== other) throw new Error(`${what}: ${one} is not ${other}`);
}

/** The pulled system, at /mnt. */
async function bootWithSystem({ disks = [], flags = [], env } = {}) {
  const system = `${join(dataFolder(), 'debian/root.img')},raw,xvda,r`;
  const guest = await bootDebian([system, ...disks], {
    ...{ memory: 256, env },
    flags: ['--vif', '', ...flags, ...furtherFlags],
  });
  await timed(guest, 'mount -t ext4 -o ro,noload /dev/xvda /mnt && mount --bind /dev /mnt/dev');
  return guest;
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
  const guest = await bootWithSystem();
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
  // Under load the shell has been seen to come back from its `wait` before the last of the sums was written.
  await guest.run(`for i in $(seq 60); do [ $(cat /tmp/sum* | wc -l) = ${count} ] && break; sleep 1; done`);
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

async function udpEcho() {
  const echo = createSocket({ type: 'udp4', recvBufferSize: 1 << 20, sendBufferSize: 1 << 20 });
  const seen = [];
  echo.on('message', (bytes, from) => {
    seen.push(bytes.length);
    echo.send(bytes, from.port, from.address);
  });
  await new Promise((resolve) => echo.bind(0, '127.0.0.1', resolve));
  return { port: echo.address().port, seen, close: () => echo.close() };
}

function datagrams(port, sizes) {
  return [
    `chroot /mnt perl -e 'use Socket; socket(my $s, PF_INET, SOCK_DGRAM, 0); $SIG{ALRM} = sub { die "no answer" };`,
    `for my $n (${sizes.join(', ')}) { my $t = join("", map { chr(33 + ($_ * 7 + $n) % 90) } 0 .. 999) x 66; $t = substr $t, 0, $n;`,
    `defined send($s, $t, 0, sockaddr_in(${port}, inet_aton("10.0.2.2"))) or die "$n: $!"; alarm 20;`,
    `defined recv($s, my $b, 65536, 0) or die; die "differs at $n" if $b ne $t; alarm 0 } print "same\\n"'`,
  ].join(' ');
}

async function sizes() {
  const echo = await udpEcho();
  try {
    const guest = await bootWithSystem();
    const { text, seconds } = await timed(guest, datagrams(echo.port, datagramSizes));
    same('what the guest says of its datagrams', /same/.exec(text)?.[0], 'same');
    same('sizes that came to the host', echo.seen.join(), datagramSizes.join());
    await guest.powerOff();
    return [`UDP of ${datagramSizes.join(', ')} bytes and back: the same, ${seconds.toFixed(1)} processor seconds`];
  } finally {
    echo.close();
  }
}

/** An image with Debian's packages, unpacked; what they need besides is in the pulled system. */
function packagesImage(folder, packages) {
  const tree = join(folder, 'tree');
  mkdirSync(tree);
  const { status, stderr } = spawnSync('apt-get', ['download', '-qq', ...packages], { cwd: folder, encoding: 'utf8' });
  if (status !== 0) throw new Error(`apt-get download ${packages.join(' ')}: ${stderr}`);
  for (const deb of readdirSync(folder).filter((name) => name.endsWith('.deb'))) {
    host('dpkg-deb', ['-x', join(folder, deb), tree]);
  }
  host('mke2fs', ['-q', '-F', '-t', 'ext4', '-O', '^has_journal', '-d', tree, join(folder, 'packages.img'), '32M']);
  return join(folder, 'packages.img');
}

async function names() {
  const folder = mkdtempSync(join(tmpdir(), 'paravane-names-'));
  const server = await startNameServer();
  try {
    // The name servers of the process are ours alone.
    const preload = `import dns from 'node:dns'; dns.setServers(['127.0.0.1:${server.port}']);`;
    const guest = await bootWithSystem({
      disks: [`${packagesImage(folder, ['ldnsutils', 'libldns3'])},raw,xvdb,r`],
      env: { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(preload)}` },
    });
    await timed(guest, 'mount -t ext4 -o ro /dev/xvdb /mnt/mnt');
    const lines = [];
    const ask = async (count, flags, wanted, asked) => {
      server.seen.length = 0;
      const library = 'LD_LIBRARY_PATH=/mnt/usr/lib/x86_64-linux-gnu';
      const { text } = await timed(
        guest,
        `chroot /mnt /usr/bin/env ${library} /mnt/usr/bin/drill ${flags} t${count}.test TXT @10.0.2.3`,
      );
      const got = [...text.matchAll(/"([a-z]+)"/g)].map(([, piece]) => piece).join('');
      const outcome = got === textOf(count) ? 'whole' : got === '' && /flags: qr tc/.test(text) ? 'cut' : text;
      same(`drill ${flags} of ${count} bytes`, outcome, wanted);
      same(`what the name server was asked for drill ${flags} of ${count} bytes`, server.seen.join('; '), asked);
      lines.push(`drill ${flags} of ${count} bytes: ${wanted} (the server answered by ${asked})`);
    };
    await ask(400, '-b 512', 'whole', 'UDP');
    await ask(900, '-b 512', 'cut', 'UDP, cut; TCP');
    await ask(900, '-b 4096', 'whole', 'UDP');
    await ask(3900, '-b 4096', 'whole', 'UDP');
    await ask(9000, '-b 4096', 'cut', 'UDP, cut; TCP');
    await ask(900, '-t', 'whole', 'UDP, cut; TCP');
    await ask(60_000, '-t', 'whole', 'UDP, cut; TCP');
    // It asks without EDNS, then with it, then over TCP.
    await ask(9000, '-a', 'whole', 'UDP, cut; TCP; UDP, cut; TCP; UDP, cut; TCP');
    await guest.powerOff();
    return lines;
  } finally {
    server.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function capture(listen) {
  const folder = mkdtempSync(join(tmpdir(), 'paravane-capture-'));
  const echo = await udpEcho();
  try {
    const megabytes = 20;
    const piece = pattern(1e6);
    const source = await listen(
      createServer({ allowHalfOpen: true }, (socket) => {
        for (let count = 0; count < megabytes; count++) socket.write(piece);
        socket.end();
      }),
    );
    const sink = await listen(
      createServer({ allowHalfOpen: true }, (socket) => socket.resume().on('end', () => socket.end())),
    );
    const file = join(folder, 'all.pcapng');
    const guest = await bootWithSystem({ flags: ['--capture', file] });
    await timed(guest, `nc 10.0.2.2 ${source} </dev/null | wc -c`);
    await timed(guest, `head -c ${megabytes}000000 /dev/zero | nc 10.0.2.2 ${sink}`);
    await timed(
      guest,
      datagrams(
        echo.port,
        datagramSizes.filter((size) => size > 0),
      ),
    );
    await timed(
      guest,
      'ping -c 2 10.0.2.2; ping -c 2 -s 4000 10.0.2.2; ping6 -c 2 fec0::2; nslookup localhost 10.0.2.3; true',
    );
    await guest.powerOff();
    const check = ['ip', 'tcp', 'udp'].flatMap((name) => ['-o', `${name}.check_checksum:TRUE`]);
    // Ports are any, and bytes are any: no protocol is to be guessed above these.
    for (const port of [source, sink]) check.push('-d', `tcp.port==${port},data`);
    check.push('-d', `udp.port==${echo.port},data`);
    const tshark = (filter, field) =>
      host('tshark', ['-r', file, ...check, '-Y', filter, '-T', 'fields', '-e', field])
        .split('\n')
        .filter(Boolean);
    const wrong = tshark(
      '_ws.malformed || ip.checksum.status == "Bad" || tcp.checksum.status == "Bad" || udp.checksum.status == "Bad" || icmp.checksum.status == "Bad" || icmpv6.checksum.status == "Bad" || tcp.analysis.lost_segment',
      '_ws.col.Info',
    );
    same('what tshark calls wrong', wrong.slice(0, 9).join('; '), '');
    const resent = tshark('tcp.analysis.retransmission', 'frame.number').length;
    const count = new Map();
    for (const name of tshark('frame', '_ws.col.Protocol')) count.set(name, (count.get(name) ?? 0) + 1);
    const all = [...count].map(([name, frames]) => `${name} ${frames}`).join(', ');
    return [`${all}: none malformed, all checksums right, ${resent} segments sent again`];
  } finally {
    echo.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function rebind(listen) {
  const content = pattern(1e6);
  const source = await listen(
    createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => socket.destroy());
      socket.end(content);
    }),
  );
  const guest = await bootDebian([], { memory: 256, flags: ['--vif', '', ...furtherFlags] });
  const driver = '/sys/bus/xen/drivers/vif';
  const rounds = 5;
  for (let round = 0; round < rounds; round++) {
    // In use: what is being received is cut off.
    await timed(
      guest,
      `(nc 10.0.2.2 ${source} </dev/null >/dev/null &); echo vif-0 >${driver}/unbind && echo vif-0 >${driver}/bind`,
    );
    await timed(guest, 'for t in $(seq 50); do [ -e /sys/class/net/eth0 ] && break; sleep 0.2; done; killall nc; true');
    await timed(guest, 'ifconfig eth0 up && udhcpc -i eth0 -n -t 4 -T 1 -s /etc/udhcpc.script');
    const { text } = await timed(guest, `nc 10.0.2.2 ${source} </dev/null | md5sum`);
    same(`a megabyte after round ${round}`, sumIn(text), md5([content]));
  }
  await guest.powerOff();
  return [
    `an interface unbound in use and bound again, ${rounds} times: an address and a megabyte with its MD5 each time`,
  ];
}

async function channels() {
  const folder = mkdtempSync(join(tmpdir(), 'paravane-channels-'));
  try {
    const path = join(folder, 'console');
    const config = join(folder, 'guest.cfg');
    const wanted = [`connection=socket,name=one,path=${path}`, 'connection=pty,name=two'];
    writeFileSync(config, `name = "guest"\nchannel = ${JSON.stringify(wanted)}\n`);
    const guest = await bootDebian([], { memory: 256, flags: [config, ...furtherFlags] });
    const [, tty] = /two of "guest" is (\S+)/.exec(guest.told) ?? [];
    if (!tty) throw new Error(`no pseudo-terminal was told of: ${guest.told}`);
    const terminal = openSync(tty, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
    const ends = { hvc1: connect(path), hvc2: new Terminal(terminal) };
    const sent = randomBytes(100_000);
    const lines = [];
    for (const [device, end] of Object.entries(ends)) {
      const pieces = [];
      end.on('data', (bytes) => pieces.push(bytes));
      await timed(
        guest,
        `exec 3<>/dev/${device}; stty -F /dev/${device} raw -echo; (head -c ${sent.length} /dev/${device} >/tmp/${device} &)`,
      );
      end.write(sent);
      const { text } = await timed(
        guest,
        `for t in $(seq 50); do [ $(wc -c </tmp/${device}) = ${sent.length} ] && break; sleep 0.2; done; md5sum /tmp/${device}`,
      );
      same(`what came to ${device}`, sumIn(text), md5([sent]));
      // Linux forgets what stty said at the last close.
      await timed(guest, `cat /tmp/${device} >/dev/${device}; exec 3>&-`);
      for (let turn = 0; turn < 200 && Buffer.concat(pieces).length < sent.length; turn++) await sleep(100);
      same(`what ${device} sent`, md5(pieces), md5([sent]));
      end.destroy();
      lines.push(`${sent.length} bytes to ${device} and back: the same`);
    }
    await guest.powerOff();
    return lines;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
