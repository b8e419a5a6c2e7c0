// Makes an ext4 image that holds fio with what it needs, and the modules by which the pulled kernel sees QEMU's disks.
// Debian's packages come by apt-get, for the suite of the host. Needs apt, dpkg and e2fsprogs.
//
// node tools/disks/tools-image.mjs [FILE]    (.cache/disks/tools.img if not given; made once)
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { dataFolder, host } from './guest.mjs';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
/** In the order in which they have to be loaded. */
const modules = [
  'virtio_ring',
  'virtio',
  'virtio_pci_legacy_dev',
  'virtio_pci_modern_dev',
  'virtio_pci',
  'virtio_blk',
  'failover',
  'net_failover',
  'virtio_net',
];

export function makeToolsImage(file = join(root, '.cache/disks/tools.img')) {
  if (existsSync(file)) return file;
  const folder = mkdtempSync(join(tmpdir(), 'paravane-tools-'));
  try {
    const [debs, tree] = [join(folder, 'debs'), join(folder, 'tree')];
    mkdirSync(debs);
    mkdirSync(tree);
    const depends = host('apt-cache', [
      ...['depends', '--recurse', '--no-recommends', '--no-suggests', '--no-conflicts', '--no-breaks'],
      ...['--no-replaces', '--no-enhances', 'fio'],
    ]);
    // What programs are written in that nobody runs here is left out.
    const wanted = /^(?:fio|(?!libpython|libperl|libdebian|libpam)lib[a-z0-9.+-]+|zlib1g)$/;
    const packages = new Set(depends.split('\n').filter((name) => wanted.test(name) && !name.endsWith('-perl')));
    download(debs, [...packages]);
    for (const deb of readdirSync(debs)) host('dpkg-deb', ['-x', join(debs, deb), tree]);
    addModules(join(folder, 'kernel'), join(tree, 'modules'));
    for (const name of ['dev', 'proc', 'sys', 'tmp']) mkdirSync(join(tree, name), { recursive: true });
    mkdirSync(dirname(file), { recursive: true });
    rmSync(`${file}.part`, { force: true });
    host('mke2fs', ['-q', '-F', '-t', 'ext4', '-O', '^has_journal', '-d', tree, `${file}.part`, '300M']);
    renameSync(`${file}.part`, file);
    return file;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function download(folder, packages) {
  const { status, stderr } = spawnSync('apt-get', ['download', '-qq', ...packages], { cwd: folder, encoding: 'utf8' });
  if (status !== 0) throw new Error(`apt-get download ${packages.join(' ')}: ${stderr}`);
}

/** Those of the kernel that `paravane pull debian` took; none where it cannot be had any more. */
function addModules(work, into) {
  mkdirSync(work);
  mkdirSync(into);
  const lock = readFileSync(join(dataFolder(), 'debian/lock.json'), 'utf8');
  const [, name, version] = /"(linux-image-\d[^"]*)"[^}]*?"version": "([^"]+)"/.exec(lock) ?? [];
  if (name === undefined) throw new Error('the lock file of the pulled guest names no kernel');
  download(work, [`${name}=${version}`]);
  for (const deb of readdirSync(work)) host('dpkg-deb', ['-x', join(work, deb), join(work, 'tree')]);
  const files = readdirSync(join(work, 'tree'), { recursive: true });
  for (const [index, module] of modules.entries()) {
    const found = files.find((path) => path.endsWith(`/${module}.ko`));
    if (found) copyFileSync(join(work, 'tree', found), join(into, `${index}-${module}.ko`));
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  console.log(makeToolsImage(...process.argv.slice(2, 3).map((file) => resolve(file))));
}
