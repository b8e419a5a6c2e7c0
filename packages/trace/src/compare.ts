/**
 * What sets two profiles apart: kinds of requests that one of them lacks, results that one of them never saw, values
 * that differ, and kinds whose first use comes at another place in the order. Counts are not compared: they follow
 * from time, and time differs.
 */
import type { Profile, ProfileEntry } from './profile.js';

export type DifferenceKind = 'missing' | 'extra' | 'result' | 'value' | 'order';

export interface Difference {
  readonly kind: DifferenceKind;
  readonly key: string;
  /** The class of result that only one of the two saw. */
  readonly result?: string;
  /** For a reader. */
  readonly text: string;
}

/**
 * Differences of `ours` from `golden`. `orderIsFree` takes kinds out of the comparison of the order, so that one
 * which comes late does not look like many that come early.
 */
export function compareProfiles(
  golden: Profile,
  ours: Profile,
  orderIsFree: (key: string) => boolean = () => false,
): Difference[] {
  const goldenByKey = byKey(golden);
  const oursByKey = byKey(ours);
  const differences: Difference[] = [];
  for (const { key, count } of golden) {
    if (!oursByKey.has(key)) {
      differences.push({ kind: 'missing', key, text: `${key}: ${count} times in the golden trace, never in ours` });
    }
  }
  for (const entry of ours) {
    const { key, count } = entry;
    const model = goldenByKey.get(key);
    if (model) differences.push(...resultDifferences(model, entry), ...valueDifferences(model, entry));
    else differences.push({ kind: 'extra', key, text: `${key}: ${count} times in ours, never in the golden trace` });
  }
  const compared = (key: string): boolean => goldenByKey.has(key) && oursByKey.has(key) && !orderIsFree(key);
  const keysOf = (profile: Profile): string[] => profile.map(({ key }) => key).filter(compared);
  return [...differences, ...orderDifferences(keysOf(golden), keysOf(ours))];
}

const byKey = (profile: Profile): ReadonlyMap<string, ProfileEntry> =>
  new Map(profile.map((entry) => [entry.key, entry]));

function resultDifferences(model: ProfileEntry, entry: ProfileEntry): Difference[] {
  const { key } = entry;
  const golden = model.results ?? {};
  const ours = entry.results ?? {};
  const only = (of: Record<string, number>, other: Record<string, number>): string[] =>
    Object.keys(of).filter((result) => other[result] === undefined);
  const difference = (result: string, text: string): Difference => ({ kind: 'result', key, result, text });
  return [
    ...only(golden, ours).map((result) =>
      difference(result, `${key}: ${result} ${golden[result]} times in the golden trace, never in ours`),
    ),
    ...only(ours, golden).map((result) =>
      difference(result, `${key}: ${result} ${ours[result]} times in ours, never in the golden trace`),
    ),
  ];
}

function valueDifferences(model: ProfileEntry, entry: ProfileEntry): Difference[] {
  const golden = model.values?.join(', ');
  const ours = entry.values?.join(', ');
  if (golden === undefined || ours === undefined || golden === ours) return [];
  return [{ kind: 'value', key: entry.key, text: `${entry.key}: ${golden} in the golden trace, ${ours} in ours` }];
}

/** Kinds outside a longest sequence that both orders share. Both lists hold the same keys. */
function orderDifferences(golden: readonly string[], ours: readonly string[]): Difference[] {
  const place = new Map(golden.map((key, index) => [key, index]));
  const kept = longestIncreasing(ours.map((key) => place.get(key) ?? 0));
  const after = (list: readonly string[], index: number): string => (index > 0 ? `after ${list[index - 1]}` : 'first');
  return ours.flatMap((key, index): Difference[] => {
    if (kept.has(index)) return [];
    const text = `${key}: first used ${after(golden, place.get(key) ?? 0)} in the golden trace, ${after(ours, index)} in ours`;
    return [{ kind: 'order', key, text }];
  });
}

/** Indices of a longest increasing subsequence. */
function longestIncreasing(values: readonly number[]): ReadonlySet<number> {
  const lengths: number[] = [];
  const before: number[] = [];
  let last = -1;
  for (let index = 0; index < values.length; index++) {
    lengths[index] = 1;
    before[index] = -1;
    for (let earlier = 0; earlier < index; earlier++) {
      if (values[earlier] < values[index] && lengths[earlier] + 1 > lengths[index]) {
        lengths[index] = lengths[earlier] + 1;
        before[index] = earlier;
      }
    }
    if (last < 0 || lengths[index] > lengths[last]) last = index;
  }
  const kept = new Set<number>();
  for (let index = last; index >= 0; index = before[index]) kept.add(index);
  return kept;
}
