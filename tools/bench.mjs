// Runs the benchmarks: the built `*.bench.js` files of all packages, or those whose path contains a given word.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const wanted = process.argv[2] ?? '';
let failed = false;

for (const group of ['packages', 'apps']) {
  for (const name of existsSync(join(root, group)) ? readdirSync(join(root, group)) : []) {
    const dist = join(root, group, name, 'dist');
    const files = existsSync(dist) ? readdirSync(dist, { recursive: true }) : [];
    for (const file of files.filter((path) => path.endsWith('.bench.js') && `${name}/${path}`.includes(wanted))) {
      console.log(`# ${group}/${name}: ${file}`);
      failed = spawnSync(process.execPath, [join(dist, file)], { stdio: 'inherit' }).status !== 0 || failed;
    }
  }
}
process.exit(failed ? 1 : 0);
