// Makes the interpreter's WebAssembly module once, at build time, and puts it into the built x86 package (see
// packages/x86/src/prebuilt.ts). Does nothing while the image is newer than everything it is made from.
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const packages = join(dirname(dirname(fileURLToPath(import.meta.url))), 'packages');
const target = join(packages, 'x86/dist/prebuilt-image.js');

function newest(dir) {
  return readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter(
      (entry) =>
        entry.isFile() && entry.name.endsWith('.js') && join(entry.parentPath ?? entry.path, entry.name) !== target,
    )
    .reduce((time, entry) => Math.max(time, statSync(join(entry.parentPath ?? entry.path, entry.name)).mtimeMs), 0);
}

const sources = ['x86', 'mmu', 'wasm-emit'].map((name) => join(packages, name, 'dist'));
const made = statSync(target);
// tsc writes a small file without an image; it must be replaced whatever its age.
if (made.size < 100_000 || made.mtimeMs < Math.max(...sources.map(newest))) {
  const { createMmu } = await import(join(sources[1], 'index.js'));
  const { CORE_BYTES } = await import(join(sources[0], 'engine.js'));
  const { reserveCodeAreas } = await import(join(sources[0], 'code-cache.js'));
  const { buildInterpreter } = await import(join(sources[0], 'interpreter.js'));
  const mmu = createMmu({ frames: 2, coreBytes: CORE_BYTES });
  const options = { shared: false, tlbBase: mmu.tlb.base, ...reserveCodeAreas(mmu.machine) };
  const { bytes, handlers, fused, tableSlots } = buildInterpreter(options);
  const module = Buffer.from(bytes).toString('base64');
  const image = { options, module, handlers: [...handlers], fused: [...fused], tableSlots };
  writeFileSync(target, `export const PREBUILT = ${JSON.stringify(image)};\n`);
}
