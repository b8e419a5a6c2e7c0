/**
 * A machine for the tests of the command line: its guest is a few lines of script. A kernel that begins with `fake` is
 * accepted; the guest shows its command line and obeys poweroff, reboot, crash, spin, throw and hang, typed at its console.
 */
import type { BootRequest, Machine, RunningDomain, StepResult } from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';

export const fakeMachine: Machine = {
  bootDomain(request) {
    if (!new TextDecoder().decode(request.kernel).startsWith('fake')) {
      return Promise.reject(
        new ParavaneError('kernel-invalid', `${request.config.kernel} is not a kernel: it begins with no known format`),
      );
    }
    return Promise.resolve(new FakeDomain(request));
  },
};

class FakeDomain implements RunningDomain {
  private readonly typed: number[] = [];
  private line = '';
  readonly guestMilliseconds = 1500;
  private steps = 0n;
  private spinning = false;
  private hanging = false;

  constructor(private readonly request: BootRequest) {
    const { config, ramdisk, seed, clock } = request;
    request.log?.('info', `built ${config.name}`);
    request.trace?.('0.0 0 boot');
    this.print(`cmdline: ${config.cmdline}\n`);
    this.print(
      `memory ${config.memory}, vcpus ${config.vcpus}, ramdisk ${ramdisk?.length ?? 'none'}, ${clock}, seed ${seed}\n$ `,
    );
  }

  input(bytes: Uint8Array): void {
    this.typed.push(...bytes);
  }

  step(): StepResult {
    this.steps += 1n;
    this.request.trace?.(`0.0 ${this.steps} step`);
    const byte = this.typed.shift();
    if (byte === undefined) return this.spinning ? { state: 'running' } : { state: 'waiting' };
    if (byte !== 10 && byte !== 13) {
      this.line += byte < 32 ? `<${byte}>` : String.fromCharCode(byte);
      return { state: 'running' };
    }
    const line = this.line;
    this.line = '';
    this.print(`got ${line}\n$ `);
    return this.obey(line);
  }

  stats() {
    return {
      instructions: this.steps,
      guestMilliseconds: this.guestMilliseconds,
      stateHash: 'cafe',
      counters: { 'exits.syscall': 7, tlbHitPercent: 99.5 },
    };
  }

  destroy(): void {
    this.request.trace?.('0.0 0 destroy');
  }

  /** A device that never lets go of the domain. */
  async settled(): Promise<void> {
    if (this.hanging) await new Promise((resolve) => setTimeout(resolve, 2 ** 30));
  }

  private obey(line: string): StepResult {
    switch (line) {
      case 'poweroff':
        return { state: 'ended', end: { kind: 'poweroff' } };
      case 'reboot':
        return { state: 'ended', end: { kind: 'reboot' } };
      case 'crash':
        return {
          state: 'ended',
          end: {
            kind: 'crash',
            report: {
              reason: 'the guest asked for it',
              bits: 64,
              registers: [['rip', 0xffffffff81000000n]],
              backtrace: [{ address: 0xffffffff81000123n, symbol: 'panic+0x23/0x100' }],
            },
          },
        };
      case 'spin':
        this.spinning = true;
        return { state: 'running' };
      case 'hang':
        this.hanging = true;
        return { state: 'ended', end: { kind: 'poweroff' } };
      case 'throw':
        throw new Error('the fake broke');
      default:
        return { state: 'running' };
    }
  }

  private print(text: string): void {
    this.request.onOutput(new TextEncoder().encode(text));
  }
}
