import { describe, expect, it } from 'vitest';
import { profileOf } from './profile.js';

const trace = (...lines: string[]): string => lines.map((line, at) => `1.0 ${1000 + at} ${line}`).join('\n');

describe('a profile', () => {
  it('names calls with their sub-operations, in the order of first use, with classes of results', () => {
    expect(
      profileOf(
        trace(
          'H 18 0 5 ffff 0 0 @ffffffff81000000',
          'R ffffffffffffffff',
          'H 21 0 2 0 0 0 @1',
          'R 0',
          'H 18 0 5 ffff 0 0 @1',
          'R ffffffff',
          'H 24 3 7 0 0 0 @1',
          'R fffffffffffffffe',
          'H 17 0 0 0 0 0 @1',
          'R 40011',
        ),
      ),
    ).toEqual([
      { key: 'console_io.write', count: 2, results: { EPERM: 2 } },
      { key: 'vm_assist.enable(writable_pagetables)', count: 1, results: { ok: 1 } },
      { key: 'vcpu_op.is_up', count: 1, results: { ENOENT: 1 } },
      { key: 'xen_version.version', count: 1, results: { ok: 1 } },
    ]);
  });

  it('names what is inside batches', () => {
    expect(
      profileOf(trace('H 13 ffff 2 0 0 0 @1', 'M 14 ffff 0 0 0', 'M 26 ffff 1 0 7ff0', 'X 3 ccb3 0', 'R d P')),
    ).toEqual([
      { key: 'multicall', count: 1, results: { preempted: 1 } },
      { key: 'mc:update_va_mapping', count: 1 },
      { key: 'mc:mmuext_op', count: 1 },
      { key: 'mmuext_op:pin_l4_table', count: 1 },
    ]);
  });

  it('keeps calls of vCPUs apart', () => {
    const lines = ['1.0 1 H 29 1 0 0 0 0 @1', '1.1 2 H 32 4 ffff 0 0 0 @1', '1.1 3 R 0', '1.0 4 R ffffffffffffffea'];
    expect(profileOf(lines.join('\n'))).toEqual([
      { key: 'sched_op.block', count: 1, results: { EINVAL: 1 } },
      { key: 'event_channel_op.send', count: 1, results: { ok: 1 } },
    ]);
  });

  it('ignores the progress that continuations keep in the sub-operation', () => {
    expect(profileOf(trace('H 12 146 0 0 0 0 @1', 'H 20 3005 0 0 0 0 @1')).map(({ key }) => key)).toEqual([
      'memory_op.populate_physmap',
      'grant_table_op.copy',
    ]);
  });

  it('names privileged accesses and keeps what they read', () => {
    expect(
      profileOf(
        trace(
          'MSRw c0000101 ffff8880 rc0',
          'MSRr 277 50100070406 rc0',
          'MSRr c0010055 ffff8300 rc1',
          'CRr 4 660 rc0',
          'CRw 4 10660 rc0',
          'IOw cf8 4 80000000 rc0',
          'IOr cfc 2 rc0',
          'CPUID 1 5 = 60fb1 0 0 0',
          'CPUID 7 1 = 0 0 0 0',
          'CPUID 40000000 0 = 0 0 0 0',
          'CPUID 40000100 0 = 0 0 0 0',
          'CPUID 4000ff00 0 = 0 0 0 0',
          'I',
          'T 14 2 cr2 7f00 @1',
          'W ffff8880 0 8',
        ),
      ),
    ).toEqual([
      { key: 'MSRw c0000101', count: 1, results: { ok: 1 } },
      { key: 'MSRr 277', count: 1, results: { ok: 1 }, values: ['50100070406'] },
      { key: 'MSRr c0010055', count: 1, results: { fault: 1 } },
      { key: 'CRr 4', count: 1, results: { ok: 1 }, values: ['660'] },
      { key: 'CRw 4', count: 1, results: { ok: 1 }, values: ['10660'] },
      { key: 'IOw cf8', count: 1, results: { ok: 1 } },
      { key: 'IOr cfc', count: 1, results: { ok: 1 } },
      { key: 'CPUID 1', count: 1 },
      { key: 'CPUID 7.1', count: 1 },
      { key: 'CPUID 40000000', count: 1 },
      { key: 'CPUID 40xxxx00', count: 2 },
      { key: 'iret', count: 1 },
      { key: 'trap 14', count: 1 },
      { key: 'ptwr', count: 1 },
    ]);
  });

  it('refuses what is no trace, and says where', () => {
    expect(() => profileOf('1.0 5 I\nxs_debug')).toThrow(/^line 2 is not a line of a trace: "xs_debug"/);
    expect(() => profileOf('1.0 5 Z 1')).toThrow(/line 1/);
  });
});
