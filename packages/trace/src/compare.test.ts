import { describe, expect, it } from 'vitest';
import { judge } from './allowances.js';
import { compareProfiles } from './compare.js';
import type { Profile } from './profile.js';

const of = (...keys: string[]): Profile => keys.map((key) => ({ key, count: 1 }));
const brief = (golden: Profile, ours: Profile): string[] =>
  compareProfiles(golden, ours).map(({ kind, key, result }) => [kind, key, result].filter(Boolean).join(' '));

describe('two profiles', () => {
  it('that are equal but for counts have no difference', () => {
    expect(brief([{ key: 'iret', count: 5000 }], [{ key: 'iret', count: 1 }])).toEqual([]);
  });

  it('differ in kinds that one lacks', () => {
    expect(brief(of('a', 'b'), of('b', 'c'))).toEqual(['missing a', 'extra c']);
  });

  it('differ in classes of results, on either side', () => {
    const golden: Profile = [{ key: 'a', count: 2, results: { ok: 1, preempted: 1 } }];
    const ours: Profile = [{ key: 'a', count: 2, results: { ok: 1, EINVAL: 1 } }];
    expect(brief(golden, ours)).toEqual(['result a preempted', 'result a EINVAL']);
  });

  it('differ in values, where both have them', () => {
    const entry = (...values: string[]): Profile => [{ key: 'MSRr 277', count: 1, results: { ok: 1 }, values }];
    expect(brief(entry('50100070406'), entry('7040600070406'))).toEqual(['value MSRr 277']);
    expect(brief(entry('0'), [{ key: 'MSRr 277', count: 9, results: { ok: 9 } }])).toEqual([]);
  });

  it('differ in order by the kinds that moved, not by those they passed', () => {
    const [difference, ...others] = compareProfiles(of('a', 'b', 'c', 'd', 'e'), of('b', 'c', 'a', 'd', 'e'));
    expect(others).toEqual([]);
    expect(difference?.text).toBe('a: first used first in the golden trace, after c in ours');
  });

  it('agree in order where only kinds that one lacks are between', () => {
    expect(brief(of('a', 'x', 'b'), of('a', 'b', 'y')).filter((text) => text.startsWith('order'))).toEqual([]);
  });
});

describe('a verdict', () => {
  const golden: Profile = [
    { key: 'a', count: 1 },
    { key: 'xvda 1', count: 1 },
    { key: 'xvda 2', count: 1 },
    { key: 'b', count: 2, results: { ok: 1, preempted: 1 } },
  ];

  it('sets aside what is allowed, with its reason', () => {
    const ours: Profile = [
      { key: 'a', count: 1 },
      { key: 'b', count: 1, results: { ok: 1 } },
    ];
    const verdict = judge(golden, ours, [
      { kind: 'missing', key: 'xvda*', why: 'no disk' },
      { kind: 'result', key: 'b', result: 'preempted', why: 'timing' },
      { kind: 'extra', key: 'c', why: 'never needed' },
    ]);
    expect(verdict.faults).toEqual([]);
    expect(verdict.allowed.map(({ why }) => why)).toEqual(['no disk', 'no disk', 'timing']);
    expect(verdict.unused.map(({ key }) => key)).toEqual(['c']);
  });

  it('finds a fault in another result, or another kind of difference, than the allowed one', () => {
    const ours: Profile = [...golden.slice(0, 3), { key: 'b', count: 1, results: { EPERM: 1 } }];
    const verdict = judge(golden, ours, [
      { kind: 'result', key: 'b', result: 'preempted', why: 'timing' },
      { kind: 'missing', key: 'b', why: 'another kind' },
    ]);
    expect(verdict.faults.map(({ result }) => result)).toEqual(['ok', 'EPERM']);
  });

  it('compares the order of what is not free of it', () => {
    const ours = of('b', 'a', 'd', 'c');
    const verdict = judge(of('a', 'b', 'c', 'd'), ours, [{ kind: 'order', key: 'b', why: 'follows a timer' }]);
    expect(verdict.faults.map(({ key }) => key)).toHaveLength(1);
    expect(['c', 'd']).toContain(verdict.faults[0]?.key);
  });
});
