// Makes the interpreter's WebAssembly module once, at build time, and puts it into the built x86 package (see
// packages/x86/src/prebuilt.ts). Does nothing while the image is newer than everything it is made from.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const packages = join(dirname(dirname(fileURLToPath(import.meta.url))), 'packages');
const target = join(packages, 'x86/dist/prebuilt-image.js');

const sources = ['x86', 'mmu', 'wasm-emit'].map((name) => join(packages, name, 'dist'));
const files = sources.flatMap((dir) =>
  readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.js'))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((file) => file !== target)
    .sort(),
);

/** Of all that makes code: two builds with the same may use each other's. */
function digest() {
  const hash = createHash('sha256');
  for (const file of files) hash.update(`${relative(packages, file)}\n`).update(readFileSync(file));
  return hash.digest('hex').slice(0, 32);
}

const made = statSync(target);
// tsc writes a small file without an image; it must be replaced whatever its age.
if (made.size < 100_000 || made.mtimeMs < Math.max(...files.map((file) => statSync(file).mtimeMs))) {
  const { createMmu } = await import(join(sources[1], 'index.js'));
  const { CORE_BYTES } = await import(join(sources[0], 'engine.js'));
  const { reserveCodeAreas } = await import(join(sources[0], 'code-cache.js'));
  const { buildInterpreter } = await import(join(sources[0], 'interpreter.js'));
  const mmu = createMmu({ frames: 2, coreBytes: CORE_BYTES });
  const options = { shared: false, tlbBase: mmu.tlb.base, ...reserveCodeAreas(mmu.machine) };
  const { bytes, handlers, fused, tableSlots } = buildInterpreter(options);
  const module = Buffer.from(bytes).toString('base64');
  const image = { build: digest(), options, module, handlers: [...handlers], fused: [...fused], tableSlots };
  writeFileSync(target, `export const PREBUILT = ${JSON.stringify(image)};\n`);
}
