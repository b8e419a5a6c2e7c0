import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { example } from './testing/readme-example.js';

it('the example of the README does what it says', async () => {
  const text = readFileSync(new URL('./testing/readme-example.ts', import.meta.url), 'utf8');
  expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(`\`\`\`ts\n${text}\`\`\``);
  expect(await example()).toEqual(['A', 'B']);
});
