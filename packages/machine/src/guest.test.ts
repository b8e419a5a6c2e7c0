import { readFileSync } from 'node:fs';
import { readKernelImage } from '@paravane/domain-builder';
import { guestKernel, helloKernel } from '@paravane/guest-stubs';
import { isParavaneError } from '@paravane/types';
import { CORE_FEATURES } from '@paravane/x86';
import { narrowFeatures } from '@paravane/xen';
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

  it.each([
    [64, 'xen-3.0-x86_64'],
    [32, 'xen-3.0-x86_32p'],
  ] as const)('boots the smallest kernel in %d bits', async (bits, magic) => {
    const guest = await startGuest({ kernel: helloKernel(bits), memory: 8 });
    expect(guest.waitFor('ns after boot.')).toMatch(new RegExp(`^Hello from ${magic}, 8 MiB, \\d+ ns after boot\\.$`));
    expect(guest.waitForEnd()).toEqual({ kind: 'poweroff' });
  });

  it.each([
    [64, ['map: 28', 'traps: 10', 'user: 7', 'memtest: 2']],
    [32, ['map: 28', 'traps: 10', 'user: 5', 'memtest: 2']],
  ] as const)('passes every check of our own kernel in %d bits, the same way each time', async (bits, counts) => {
    const run = async () => {
      const guest = await startGuest({ kernel: guestKernel(bits), memory: 32, cmdline: checks, epoch: 1e12 });
      const end = guest.waitForEnd();
      return { end, output: guest.output, stats: guest.stats() };
    };
    const first = await run();
    expect(first.end).toEqual({ kind: 'poweroff' });
    expect(first.output).not.toContain('WRONG');
    for (const what of counts) {
      expect(first.output).toContain(`${what} passed, 0 failed`);
    }
    expect(await run()).toEqual(first);
  });

  it('boots our own kernel on the least processor that 64-bit kernels take', async () => {
    // All that CORE_FEATURES has beyond fpu de tsc msr pae mce cx8 apic mca cmov pat clflush mmx fxsr sse sse2, syscall nx lm.
    const hiddenFeatures =
      'sse3 pclmulqdq cmpxchg16 movbe popcnt aes xsave rdrand fsgsbase bmi1 bmi2 rdseed adx sha serialize rdtscp lahfsahf abm'.split(
        ' ',
      );
    expect(narrowFeatures(CORE_FEATURES, hiddenFeatures)).toEqual({
      ...CORE_FEATURES,
      leaf1Ecx: 0,
      leaf7Ebx: 0,
      leaf7Edx: 0,
      extendedEdx: 0x20100800,
      extendedEcx: 0,
      xcr0: 0,
      leafD1Eax: 0,
    });
    const guest = await startGuest({ kernel: guestKernel(), memory: 32, cmdline: checks, hiddenFeatures });
    expect(guest.waitForEnd()).toEqual({ kind: 'poweroff' });
    expect(guest.output).not.toContain('WRONG');
    expect(guest.output).toContain('user: 7 passed, 0 failed');
  });

  it('says which file is no kernel', async () => {
    const boot = startGuest({ kernel: new Uint8Array(64), name: 'vmlinuz' });
    await expect(boot).rejects.toMatchObject({ code: 'kernel-invalid', message: /^vmlinuz: not a kernel: / });
  });

  it.each([
    [64, 0xffffffff80000000n],
    [32, 0xc0000000n],
  ] as const)('reports a crash in %d bits with registers and a backtrace', async (bits, base) => {
    const guest = await startGuest({ kernel: guestKernel(bits), memory: 32, cmdline: 'cmd=crash' });
    const end = guest.waitForEnd();
    if (end.kind !== 'crash') throw new Error(`the guest ended by ${end.kind}`);
    expect(end.report.reason).toContain('crash');
    expect(end.report.registers.find(([name]) => name === (bits === 64 ? 'rip' : 'eip'))?.[1]).toBeGreaterThan(base);
    expect(end.report.registers.some(([name]) => name === 'r15')).toBe(bits === 64);
    const names = end.report.backtrace.map(({ symbol }) => symbol?.replace(/\+.*/, ''));
    expect(names).toEqual(expect.arrayContaining(['command_crash', 'run_commands', 'kernel_main']));
    // Addresses of strings lie on the stack, too.
    const { addr, size } = readKernelImage(guestKernel(bits))
      .elf.sections()
      .find(({ name }) => name === '.text')!;
    expect(end.report.backtrace.filter(({ address }) => address < addr || address >= addr + size)).toEqual([]);
  });

  it('talks to the 32-bit kernel at its prompt', async () => {
    const guest = await startGuest({ kernel: guestKernel(32), memory: 32 });
    guest.waitFor('paravane> ');
    guest.type('sleep 20\r');
    expect(guest.waitFor('asked for 20')).toContain('slept 20 ms');
    guest.type('panic on purpose\r');
    const end = guest.waitForEnd();
    expect(end.kind).toBe('crash');
    expect(guest.output).toMatch(/PANIC: on purpose\r\neip c00[0-9a-f]{5} {2}cs e019 {2}eflags [0-9a-f]{8} {2}kernel/);
    expect(guest.output).toMatch(/backtrace: c00[0-9a-f]{5}( c00[0-9a-f]{5}){3,}\r\n$/);
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
