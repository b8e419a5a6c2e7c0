import { Flag } from '@paravane/engine-api';
import { describe, expect, it } from 'vitest';
import { assembleProgram } from './assemble.js';
import { CODE, createCore, DATA } from './testing/core.js';

const BS = 0x4000;

const core = createCore();

function load(text: string, mode: 64 | 32 = 64) {
  const vcpu = core.createVcpu();
  const bytes = assembleProgram(text, CODE, mode).bytes;
  core.writeCode(bytes);
  vcpu.mode = mode;
  vcpu.regs[3] = DATA;
  return { vcpu };
}
/** Where each #DB left RIP, relative to the code, until something else stops the run. */
function traps(vcpu: ReturnType<typeof load>['vcpu'], limit = 50): number[] {
  const found: number[] = [];
  while (found.length < limit) {
    const exit = vcpu.run(1000);
    if (exit.reason !== 'exception' || exit.vector !== 1) break;
    expect(exit.dr6).toBe(BS);
    found.push(Number(vcpu.rip - CODE));
  }
  return found;
}

describe('single-step', () => {
  it('traps behind each instruction, and counts it', () => {
    const { vcpu } = load('xor eax, eax\n inc eax\n jmp over\n nop\nover: mov [rbx], rax\n hlt');
    vcpu.rflags = Flag.TF | 2;
    expect(traps(vcpu)).toEqual([2, 4, 7, 10]);
    expect(vcpu.count).toBe(5);
    expect(vcpu.regs[0]).toBe(1n);
  });
  it('traps behind each iteration of a repetition, with RF set until the last', () => {
    const { vcpu } = load('db 0xf3, 0xaa\n hlt');
    vcpu.regs[1] = 3n;
    vcpu.regs[7] = DATA;
    vcpu.rflags = Flag.TF | 2;
    const seen: [number, boolean][] = [];
    while (vcpu.run(100).reason === 'exception') {
      seen.push([Number(vcpu.rip - CODE), (vcpu.rflags & Flag.RF) !== 0]);
    }
    expect(seen).toEqual([
      [0, true],
      [0, true],
      [2, false],
    ]);
    expect(vcpu.regs[1]).toBe(0n);
  });
  it('begins behind the instruction that follows a POPF which sets TF, and ends behind one that clears it', () => {
    const { vcpu } = load('push 0x102\n db 0x9d\n nop\n push 2\n db 0x9d\n nop\n hlt');
    expect(vcpu.run(2).reason).toBe('budget');
    const at = Number(vcpu.rip - CODE);
    expect(traps(vcpu)).toEqual([at + 1, at + 3, at + 4]);
    expect(vcpu.rflags & Flag.TF).toBe(0);
  });
  it('leaves compiled and interpreted code at once when POPF sets TF within it', () => {
    const { vcpu } = load('mov ecx, 5\nagain: dec ecx\n jnz again\n push 0x102\n db 0x9d\n nop\n hlt');
    expect(traps(vcpu).length).toBe(1);
  });
  it('does not trap behind what stops for another reason', () => {
    const { vcpu } = load('int3');
    vcpu.rflags = Flag.TF | 2;
    expect(vcpu.run(10)).toMatchObject({ reason: 'interrupt', vector: 3 });
    const fault = load('mov rax, [0x10]').vcpu;
    fault.rflags = Flag.TF | 2;
    expect(fault.run(10)).toMatchObject({ reason: 'exception', vector: 14 });
    expect(fault.debugTrap()).toBe(BS);
  });
  it('stops at the end of its budget', () => {
    const { vcpu } = load('nop\n nop\n nop\n hlt');
    vcpu.rflags = Flag.TF | 2;
    expect(vcpu.run(1).reason).toBe('exception');
    vcpu.rflags = 2;
    vcpu.debug[7] = 0x402n;
    vcpu.debug[0] = 0x1000n;
    expect(vcpu.run(1).reason).toBe('budget');
    expect(vcpu.count).toBe(2);
    expect(vcpu.rip).toBe(CODE + 2n);
  });
  it('is due once an instruction was carried out outside, but held back by a load of SS', () => {
    const { vcpu } = load('mov ss, ax\n nop\n nop\n hlt');
    vcpu.rflags = Flag.TF | 2;
    expect(vcpu.run(10)).toMatchObject({ reason: 'privileged' });
    expect(vcpu.debugTrap(true)).toBe(0);
    vcpu.rip += 2n;
    expect(traps(vcpu)).toEqual([3, 4]);
  });
});

describe('breakpoints', () => {
  const DR7 = { execute: 0, write: 1, access: 3 } as const;
  const arm = (vcpu: ReturnType<typeof load>['vcpu'], i: number, at: bigint, type: number, len: number): void => {
    vcpu.debug[i] = at;
    vcpu.debug[7] = vcpu.debug[7]! | BigInt((2 << (2 * i)) | (type << (16 + 4 * i)) | (len << (18 + 4 * i)));
  };
  it('of execution stop before the instruction, and RF lets it pass once', () => {
    const { vcpu } = load('nop\n inc eax\n db 0xeb, 0xfc\n');
    vcpu.regs[0] = 0n;
    arm(vcpu, 2, CODE + 1n, DR7.execute, 0);
    for (let round = 0n; round < 3n; round++) {
      expect(vcpu.run(100)).toMatchObject({ reason: 'exception', vector: 1, dr6: 4 });
      expect(vcpu.rip).toBe(CODE + 1n);
      expect(vcpu.regs[0]).toBe(round);
      vcpu.rflags |= Flag.RF;
    }
    expect(vcpu.rflags & Flag.RF).toBe(Flag.RF);
    vcpu.run(1);
    expect(vcpu.rflags & Flag.RF).toBe(0);
  });
  it('of data trap behind the access', () => {
    const { vcpu } = load('mov rax, [rbx]\n mov [rbx+8], al\n mov [rbx+7], ax\n mov [rbx+12], eax\n hlt');
    arm(vcpu, 0, DATA + 8n, DR7.write, 3);
    const hits: number[] = [];
    for (;;) {
      const exit = vcpu.run(100);
      if (exit.reason !== 'exception') break;
      expect(exit.dr6).toBe(1);
      hits.push(Number(vcpu.rip - CODE));
    }
    expect(hits).toEqual([6, 10]);
  });
  it('of reads and writes see both, in stacks and strings, after lines of the TLB are filled', () => {
    const { vcpu } = load('mov rax, [rbx]\n mov rax, [rbx+4]\n push rax\n pop rcx\n db 0xac\n hlt');
    vcpu.regs[6] = DATA + 3n;
    expect(vcpu.run(5).reason).toBe('budget');
    vcpu.rip = CODE;
    vcpu.regs[6] = DATA + 3n;
    arm(vcpu, 1, DATA + 3n, DR7.access, 0);
    arm(vcpu, 3, vcpu.regs[4]! - 8n, DR7.access, 2);
    const hits: number[] = [];
    for (;;) {
      const exit = vcpu.run(100);
      if (exit.reason !== 'exception') break;
      hits.push(exit.dr6);
    }
    expect(hits).toEqual([2, 8, 8, 2]);
  });
  it('of data stop a repetition behind the iteration that hit', () => {
    const { vcpu } = load('db 0xf3, 0xab\n hlt');
    vcpu.regs[1] = 4n;
    vcpu.regs[7] = DATA;
    arm(vcpu, 0, DATA + 4n, DR7.write, 3);
    expect(vcpu.run(100)).toMatchObject({ reason: 'exception', vector: 1, dr6: 1 });
    expect(vcpu.regs[1]).toBe(2n);
    expect(vcpu.rip).toBe(CODE);
    expect(vcpu.run(100).reason).toBe('privileged');
  });
  it('that DR7 does not enable cost nothing and do nothing', () => {
    const { vcpu } = load('mov [rbx], rax\n hlt');
    vcpu.debug[0] = DATA;
    vcpu.debug[7] = 0x10400n;
    expect(vcpu.run(100).reason).toBe('privileged');
  });
});
