// Makes the page of apps/web: apps/web/dist/site holds all it needs, to be served from any folder of any server.
import { copyFileSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const web = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'apps/web');

/** The folder of the page, made anew from what the build has left in the packages. */
export async function buildSite() {
  const { build } = await import(pathToFileURL(createRequire(join(web, 'package.json')).resolve('rolldown')).href);
  const site = join(web, 'dist/site');
  mkdirSync(site, { recursive: true });
  for (const name of ['page', 'worker']) {
    await build({
      input: join(web, `dist/${name}.js`),
      platform: 'browser',
      output: { file: join(site, `${name}.js`), format: 'esm', minify: true },
      logLevel: 'warn',
    });
  }
  copyFileSync(join(web, 'index.html'), join(site, 'index.html'));
  return site;
}
