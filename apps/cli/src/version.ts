/** The version of this command line, and of the packages that come with it. */
import { readFileSync } from 'node:fs';

export function ownVersion(): string {
  const manifest = new URL('../package.json', import.meta.url);
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}
