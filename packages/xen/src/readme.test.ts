import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { answer } from './testing/readme-example.js';

it('the example of the README boots a kernel', () => {
  const example = readFileSync(new URL('./testing/readme-example.ts', import.meta.url), 'utf8');
  expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(`\`\`\`ts\n${example}\`\`\``);
  expect(answer.said).toMatch(/^Hello from xen-3\.0-x86_64, 16 MiB, \d+ ns after boot\./);
  expect(answer.reason).toBe('poweroff');
});
