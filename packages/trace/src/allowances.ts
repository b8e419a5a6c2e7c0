/** Differences that are known and meant, each with its reason. */
import { compareProfiles, type Difference, type DifferenceKind } from './compare.js';
import type { Profile } from './profile.js';

export interface Allowance {
  readonly kind: DifferenceKind;
  /** The key of a profile entry; `*` at its end stands for any rest. */
  readonly key: string;
  /** For kind `result`: the class. Without it any. */
  readonly result?: string;
  readonly why: string;
}

export interface Verdict {
  /** Differences that nothing allows. */
  readonly faults: readonly Difference[];
  readonly allowed: readonly { readonly difference: Difference; readonly why: string }[];
  /** Allowances that no difference needed. */
  readonly unused: readonly Allowance[];
}

/** Holds `ours` against `golden`, differences of `allowances` aside. */
export function judge(golden: Profile, ours: Profile, allowances: readonly Allowance[]): Verdict {
  const orderIsFree = (key: string): boolean =>
    allowances.some((allowance) => allowance.kind === 'order' && matches(allowance.key, key));
  const faults: Difference[] = [];
  const allowed: { difference: Difference; why: string }[] = [];
  const used = new Set<Allowance>();
  for (const difference of compareProfiles(golden, ours, orderIsFree)) {
    const allowance = allowances.find((candidate) => allows(candidate, difference));
    if (!allowance) {
      faults.push(difference);
      continue;
    }
    used.add(allowance);
    allowed.push({ difference, why: allowance.why });
  }
  // What frees the order of a kind hides its difference, so none of those is known to be needless.
  const unused = allowances.filter((allowance) => !used.has(allowance) && allowance.kind !== 'order');
  return { faults, allowed, unused };
}

function allows(allowance: Allowance, difference: Difference): boolean {
  return (
    allowance.kind === difference.kind &&
    matches(allowance.key, difference.key) &&
    (allowance.result === undefined || allowance.result === difference.result)
  );
}

const matches = (pattern: string, key: string): boolean =>
  pattern.endsWith('*') ? key.startsWith(pattern.slice(0, -1)) : key === pattern;
