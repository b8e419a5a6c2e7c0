// Builds every package: writes the project references that `tsc -b` needs from the packages' own dependency lists
// (so nobody keeps them by hand), then runs `tsc -b`, and makes what is made of its results.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

export function workspacePackages() {
  return ['packages/', 'apps/', ''].flatMap((group) =>
    (group === '' ? ['benchmarks'] : existsSync(join(root, group)) ? readdirSync(join(root, group)) : [])
      .map((name) => join(root, group, name))
      .filter((dir) => existsSync(join(dir, 'package.json')) && existsSync(join(dir, 'tsconfig.json')))
      .sort()
      .map((dir) => ({ dir, manifest: JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')) })),
  );
}

function writeIfChanged(file, value) {
  const text = `${JSON.stringify(value, null, 2)}\n`;
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text);
}

function writeReferences(packages) {
  const dirOf = new Map(packages.map(({ dir, manifest }) => [manifest.name, dir]));
  for (const { dir, manifest } of packages) {
    const names = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies });
    const references = names
      .filter((name) => dirOf.has(name))
      .sort()
      .map((name) => ({ path: `${relative(dir, dirOf.get(name))}/tsconfig.build.json` }));
    writeIfChanged(join(dir, 'tsconfig.build.json'), {
      extends: './tsconfig.json',
      compilerOptions: {
        composite: true,
        noEmit: false,
        rootDir: 'src',
        outDir: 'dist',
        tsBuildInfoFile: 'dist/.tsbuildinfo',
      },
      references,
    });
  }
  writeIfChanged(join(root, 'tsconfig.json'), {
    files: [],
    references: packages.map(({ dir }) => ({ path: `${relative(root, dir)}/tsconfig.build.json` })),
  });
}

writeReferences(workspacePackages());
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
const built = spawnSync(process.execPath, [tsc, '-b'], { cwd: root, stdio: 'inherit' }).status ?? 1;
if (built !== 0) process.exit(built);
await import('./prebuild-interpreter.mjs');
await import('./bundle-cli.mjs');
