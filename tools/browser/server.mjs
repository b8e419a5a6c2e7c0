// Serves the page of apps/web, and a pulled Debian guest beside it: `node tools/browser/server.mjs [PORT]`, on this
// host alone. With `isolated`, by the headers that isolate a page from other origins.
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { homedir } from 'node:os';
import { extname, join, normalize, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSite } from './site.mjs';

const types = { '.html': 'text/html', '.js': 'text/javascript' };

/** Where `paravane pull` puts guests. */
export const guestFolder = () =>
  process.env.PARAVANE_HOME ?? join(process.env.XDG_DATA_HOME ?? join(homedir(), '.local/share'), 'paravane');

/** Resolves to the address and a function that ends it. */
export function serveSite({ site, guests, isolated = false, port = 0 }) {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname));
    const wanted = path.endsWith(sep) ? join(path, 'index.html') : path;
    const file = wanted.startsWith('/guests/') ? join(guests, wanted.slice('/guests'.length)) : join(site, wanted);
    if (!existsSync(file) || !statSync(file).isFile()) {
      response.writeHead(404).end('there is no such file\n');
      return;
    }
    const { size } = statSync(file);
    // Images are read by ranges.
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    const range = first === undefined ? undefined : { start: Number(first), end: Math.min(Number(last), size - 1) };
    if (range && range.start > range.end) {
      response.writeHead(416, { 'content-range': `bytes */${size}` }).end();
      return;
    }
    response.writeHead(range ? 206 : 200, {
      'content-type': types[extname(file)] ?? 'application/octet-stream',
      'content-length': range ? range.end - range.start + 1 : size,
      ...(range ? { 'content-range': `bytes ${range.start}-${range.end}/${size}` } : {}),
      ...(isolated
        ? { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' }
        : {}),
    });
    if (request.method === 'HEAD') response.end();
    else createReadStream(file, range).pipe(response);
  });
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(port, '127.0.0.1', () => {
      const close = () => {
        server.close();
        server.closeAllConnections();
      };
      resolve({ url: `http://127.0.0.1:${server.address().port}/`, close });
    });
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await serveSite({
    site: await buildSite(),
    guests: guestFolder(),
    isolated: true,
    port: Number(process.argv[2] ?? 8080),
  });
  console.log(`${url} (Ctrl-C ends)`);
}
