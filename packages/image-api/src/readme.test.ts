import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { diskImageCases, testCrashes } from './conformance.js';
import type { ImageFile } from './index.js';
import { growingFile } from './testing/growing-file.js';
import { createSparse, sparseDriver } from './testing/readme-example.js';

describe('the driver of the README', () => {
  it('is the one that is tested, in 60 lines', () => {
    const example = readFileSync(new URL('./testing/readme-example.ts', import.meta.url), 'utf8');
    expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(`\`\`\`ts\n${example}\`\`\``);
    const code = example.split('\n').filter((line) => line.trim() !== '' && !/^\s*(\/\/|\/\*\*)/.test(line));
    expect(code.length).toBeLessThanOrEqual(60);
  });

  let file: ImageFile;
  const cases = diskImageCases({
    async create(size) {
      file = growingFile();
      await createSparse(file, size);
      return sparseDriver.open(file);
    },
    reopen: (options) => sparseDriver.open(file, options),
  });
  for (const { name, run } of cases) it(`${name}`, () => expect(run()).resolves.toBeUndefined());

  it('keeps what was flushed when the host crashes', async () => {
    const made = growingFile();
    await createSparse(made, 2 ** 20);
    const content = new Uint8Array(made.size);
    await made.read(0, content);
    const report = await testCrashes({ content, open: sparseDriver.open }, { seed: 1, cuts: 50 });
    expect(report.cuts).toBe(50);
  });

  it('knows its images, and believes no table longer than the file', async () => {
    expect(sparseDriver.probe?.(new Uint8Array(512))).toBe(false);
    const lying = growingFile();
    await createSparse(lying, 65536);
    await lying.write(8, new Uint8Array(4).fill(0xff));
    await expect(sparseDriver.open(lying)).rejects.toMatchObject({ code: 'image-invalid' });
  });
});
