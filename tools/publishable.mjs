// Runs publint over every package that would be published, and checks that each declares its license, files and types.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const headings = ['Purpose', 'Install', 'Example', 'Extension points', 'Guarantees', 'Limits'];
const complaints = [];

for (const group of ['packages', 'apps']) {
  for (const name of existsSync(join(root, group)) ? readdirSync(join(root, group)) : []) {
    const dir = join(root, group, name);
    if (!existsSync(join(dir, 'package.json'))) continue;
    const manifest = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'));
    if (manifest.private) continue;
    const say = (text) => complaints.push(`${group}/${name}: ${text}`);
    if (manifest.license !== 'Apache-2.0') say('package.json lacks "license": "Apache-2.0"');
    if (!manifest.files?.includes('dist')) say('package.json "files" must list "dist"');
    const readme = existsSync(join(dir, 'README.md')) ? readFileSync(join(dir, 'README.md'), 'utf8') : '';
    for (const heading of headings)
      if (!readme.includes(`\n## ${heading}`)) say(`README.md lacks the heading "${heading}"`);
    const { messages, pkg } = await publint({ pkgDir: dir, level: 'warning', pack: false });
    for (const message of messages) say(formatMessage(message, pkg, { color: false }) ?? message.code);
  }
}

for (const complaint of complaints) console.error(complaint);
console.log(complaints.length === 0 ? 'Every package is publishable.' : `${complaints.length} complaints`);
process.exit(complaints.length === 0 ? 0 : 1);
