/** The built command line, started as a shell would: with the settings of Node.js in the first line of its program. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../../apps/cli/dist/main.js', import.meta.url));

export function paravane(): string[] {
  const [, settings = ''] = /^#!.* node(.*)$/m.exec(readFileSync(program, 'utf8')) ?? [];
  return [process.execPath, ...settings.split(' ').filter((word) => word !== ''), program];
}
