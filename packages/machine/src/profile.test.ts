import { guestKernel } from '@paravane/guest-stubs';
import type { BootRequest, DomainStats } from '@paravane/toolstack';
import { describe, expect, it } from 'vitest';
import { createMachine } from './machine.js';
import { accessesMemory } from './profile.js';

const cmdline = 'cmd=bench integer 40;bench hypercalls 2;user;poweroff';

async function statsOf(profile: boolean): Promise<DomainStats> {
  const request: BootRequest = {
    config: {
      name: 'guest',
      type: 'pv',
      kernel: 'guest',
      cmdline,
      memory: 32,
      maxmem: 32,
      vcpus: 1,
      onPoweroff: 'destroy',
      onReboot: 'destroy',
      onCrash: 'destroy',
    },
    kernel: guestKernel(),
    onOutput: () => undefined,
    clock: 'virtual',
    seed: 0n,
    epoch: 0,
    now: () => 0,
    profile,
  };
  const domain = await createMachine().bootDomain(request);
  for (let steps = 0; domain.step().state !== 'ended'; steps++) expect(steps).toBeLessThan(10_000);
  return domain.stats();
}

describe('a profile of a guest', () => {
  it('tells where its instructions are, and changes nothing for it', async () => {
    const [plain, profiled] = [await statsOf(false), await statsOf(true)];
    expect(profiled.instructions).toBe(plain.instructions);
    expect(profiled.stateHash).toBe(plain.stateHash);
    expect(plain.hottest).toBeUndefined();
    expect(plain.counters.tlbHitPercent).toBeUndefined();
    expect(profiled.hottest?.[0]?.where).toBe('run_integer');
    expect(profiled.hottest?.[0]?.share).toBeGreaterThan(0.5);
    const all = profiled.hottest?.reduce((sum, { share }) => sum + share, 0);
    expect(all).toBeLessThanOrEqual(1.000001);
  });

  it('knows what accesses memory', () => {
    const accessing = ['mov rax, qword [rbx]', 'push rax', 'ret', 'rep movsb', 'lock add dword [rcx], 1', 'call 0x10'];
    const others = [
      'lea rax, [rbx+8]',
      'nop dword [rax]',
      'add rax, rbx',
      'prefetchw [rax]',
      'jmp 0x10',
      'movsx eax, bl',
    ];
    expect(accessing.map(accessesMemory)).toEqual(accessing.map(() => true));
    expect(others.map(accessesMemory)).toEqual(others.map(() => false));
  });
});
