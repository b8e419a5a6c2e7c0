import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { createManualClock } from './testing/manual-clock.js';
import { createMemoryHost } from './testing/memory-host.js';
import { connect, user } from './testing/readme-example.js';

it('the example of the README makes a network with a forward and a capture', async () => {
  const example = readFileSync(new URL('./testing/readme-example.ts', import.meta.url), 'utf8');
  expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(`\`\`\`ts\n${example}\`\`\``);
  const clock = createManualClock();
  const host = createMemoryHost(clock);
  let bytes = 0;
  const link = await connect(clock, host, (part) => (bytes += part.length));
  link.attach(user);
  clock.advance(700_000);
  expect([...host.listening.keys()]).toEqual(['127.0.0.1 2222']);
  // The section, the interface, and an advertisement of the router.
  expect(bytes).toBeGreaterThan(250);
});
