import { readFileSync } from 'node:fs';
import { guestKernel, helloKernel } from '@paravane/guest-stubs';
import { isParavaneError } from '@paravane/types';
import { describe, expect, it, vi } from 'vitest';
import { startGuest } from './index.js';

/** The commands of our own kernel that check the machine: page tables, traps, user mode, all of its memory. */
const checks = 'cmd=info;map;traps;user;memtest;poweroff';

describe('startGuest', () => {
  it('runs the example of the README', async () => {
    const example = readFileSync(new URL('./testing/readme-example.ts', import.meta.url), 'utf8');
    expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(`\`\`\`ts\n${example}\`\`\``);
    const said = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    await import('./testing/readme-example.js');
    expect(said.mock.calls).toEqual([['echo hello\r\nhello'], ['poweroff']]);
    said.mockRestore();
  });

  it('boots the smallest kernel', async () => {
    const guest = await startGuest({ kernel: helloKernel(), memory: 8 });
    expect(guest.waitFor('ns after boot.')).toMatch(/^Hello from xen-3.0-x86_64, 8 MiB, \d+ ns after boot\.$/);
    expect(guest.waitForEnd()).toEqual({ kind: 'poweroff' });
  });

  it('passes every check of our own kernel, the same way each time', async () => {
    const run = async () => {
      const guest = await startGuest({ kernel: guestKernel(), memory: 32, cmdline: checks, epoch: 1e12 });
      const end = guest.waitForEnd();
      return { end, output: guest.output, stats: guest.stats() };
    };
    const first = await run();
    expect(first.end).toEqual({ kind: 'poweroff' });
    expect(first.output).not.toContain('WRONG');
    for (const what of ['map: 28', 'traps: 10', 'user: 6', 'memtest: 2']) {
      expect(first.output).toContain(`${what} passed, 0 failed`);
    }
    expect(await run()).toEqual(first);
  });

  it('says which file is no kernel', async () => {
    const boot = startGuest({ kernel: new Uint8Array(64), name: 'vmlinuz' });
    await expect(boot).rejects.toMatchObject({ code: 'kernel-invalid', message: /^vmlinuz: not a kernel: / });
  });

  it('reports a crash with registers and a backtrace', async () => {
    const guest = await startGuest({ kernel: guestKernel(), memory: 32, cmdline: 'cmd=crash' });
    const end = guest.waitForEnd();
    if (end.kind !== 'crash') throw new Error(`the guest ended by ${end.kind}`);
    expect(end.report.reason).toContain('crash');
    expect(end.report.registers.find(([name]) => name === 'rip')?.[1]).toBeGreaterThan(0xffffffff80000000n);
    expect(end.report.backtrace.length).toBeGreaterThan(1);
  });

  it('says what the console showed when the text does not come', async () => {
    const guest = await startGuest({ kernel: guestKernel(), memory: 32 });
    const failure = await Promise.resolve()
      .then(() => guest.waitFor('no such text'))
      .catch((error: unknown) => error);
    expect(isParavaneError(failure, 'guest-wait')).toBe(true);
    expect(String(failure)).toContain('paravane> ');
  });

  it('takes more typing than the console holds', async () => {
    const guest = await startGuest({ kernel: guestKernel(), memory: 32 });
    guest.waitFor('paravane> ');
    const lines = Array.from({ length: 1500 }, (_, line) => `line ${line} ${'x'.repeat(40)}`);
    for (const line of lines) guest.type(`echo ${line}\r`);
    guest.type('poweroff\r');
    expect(guest.waitForEnd()).toEqual({ kind: 'poweroff' });
    expect(guest.output.match(/(?<=\r\n)line.*/g)).toEqual(lines);
  });

  it('traces what the guest asks of the hypervisor', async () => {
    const lines: string[] = [];
    const guest = await startGuest({ kernel: helloKernel(), memory: 8, trace: (line) => lines.push(line) });
    guest.waitForEnd();
    expect(lines.some((line) => /^1\.0 \d+ H 29 /.test(line))).toBe(true);
  });
});
