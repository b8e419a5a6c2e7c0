import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { makeDeb } from './testing/packages.js';
import { pullGrub } from './testing/readme-example.js';

it('the example of the README pulls GRUB', async () => {
  const example = readFileSync(new URL('./testing/readme-example.ts', import.meta.url), 'utf8');
  expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(`\`\`\`ts\n${example}\`\`\``);
  const folder = mkdtempSync(join(tmpdir(), 'paravane-readme-'));
  try {
    const files = {
      'usr/lib/grub-xen/grub-x86_64-xen.bin': 'kernel',
      'usr/lib/grub-xen/grub-i386-xen_pvh.bin': 'another',
      'usr/lib/grub-xen/grub-i386-xen.bin': 'kernel of 32 bits',
    };
    writeFileSync(join(folder, 'grub-xen-host_1_amd64.deb'), makeDeb({ name: 'grub-xen-host', version: '1', files }));
    const home = join(folder, 'home');
    expect(await pullGrub(folder, home)).toBe(join(home, 'grub/grub.cfg'));
    expect(readFileSync(join(home, 'grub/grub.bin'), 'utf8')).toBe('kernel');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
