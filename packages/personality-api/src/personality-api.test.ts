import { readFileSync } from 'node:fs';
import type { Exit } from '@paravane/engine-api';
import { expect, it } from 'vitest';
import type { ShutdownRecord, Vcpu } from './index.js';
import { impatient } from './testing/readme-example.js';

it('the example of the README stops its domain at the first exit', () => {
  const example = readFileSync(new URL('./testing/readme-example.ts', import.meta.url), 'utf8');
  expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(`\`\`\`ts\n${example}\`\`\``);
  const records: ShutdownRecord[] = [];
  const domain = { shutdown: (record: ShutdownRecord) => void records.push(record) };
  impatient.handleExit({ id: 0, domain } as unknown as Vcpu, { reason: 'syscall' } as Exit);
  expect(records.map(({ reason, detail }) => [reason, detail])).toEqual([['crash', 'syscall']]);
});
