import { readFileSync } from 'node:fs';
import { describe, expect, it, vi } from 'vitest';

describe('the README', () => {
  it('runs', async () => {
    const example = readFileSync(new URL('./testing/readme-example.ts', import.meta.url), 'utf8');
    expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(`\`\`\`ts\n${example}\`\`\``);
    const said = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    await import('./testing/readme-example.js');
    expect(said.mock.calls).toEqual([['HLT', 5050n, 303]]);
    said.mockRestore();
  });
});
