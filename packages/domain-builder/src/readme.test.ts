import { readFileSync } from 'node:fs';
import { type Maddr, mfn, type Port } from '@paravane/types';
import { expect, it, vi } from 'vitest';
import { build } from './testing/readme-example.js';
import { testKernel } from './testing.js';

it('the example of the README builds a domain', async () => {
  const example = readFileSync(new URL('./testing/readme-example.ts', import.meta.url), 'utf8');
  expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(`\`\`\`ts\n${example}\`\`\``);
  const written = new Set<number>();
  const memory = {
    write: (frame: number) => void written.add(frame),
    clear: (frame: number) => void written.add(frame),
  };
  const p2m = Array.from({ length: 64 * 256 }, (_, pfn) => mfn(0x1000 + pfn));
  const said = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  const kernel = testKernel({ symbols: [{ name: 'startup_xen', value: 0xffffffff81000040n, type: 2 }] });
  const name = await build(kernel, memory, {
    p2m,
    sharedInfo: 0x7777000 as Maddr,
    storePort: 1 as Port,
    consolePort: 2 as Port,
  });
  expect(name).toBe('startup_xen');
  const [rip, , , cr3] = said.mock.calls[0]!;
  said.mockRestore();
  expect(rip).toBe(0xffffffff81000040n);
  expect(written).toContain(cr3);
});
