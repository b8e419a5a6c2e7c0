import { readFileSync } from 'node:fs';
import { expect, it, vi } from 'vitest';

it('the example of the README does what it says', async () => {
  const example = readFileSync(new URL('./testing/readme-example.ts', import.meta.url), 'utf8');
  expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(`\`\`\`ts\n${example}\`\`\``);
  const said = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  await import('./testing/readme-example.js');
  expect(said.mock.calls).toEqual([['/local/domain/1/control'], ['/local/domain/1/control/shutdown']]);
  said.mockRestore();
});
