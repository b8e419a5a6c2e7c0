/**
 * `cpuid`, as xl.cfg(5) has it: "host", and then `feature=value` pairs separated by commas. 0 hides a feature; 1, x, k and
 * s show it where the machine has it. A later pair takes the place of an earlier one.
 */
import { CPU_FEATURES } from '@paravane/abi-xen';

/** Keys of whole numbers. */
const NUMBERS: ReadonlySet<string> = new Set(
  'maxleaf stepping model family brandid clflush proccount localapicid procpkg nc apicidsize maxhvleaf'.split(' '),
);

export interface ReadCpuid {
  /** Names of features, as `CPU_FEATURES` has them. */
  readonly hidden: readonly string[];
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
}

export function readCpuid(text: string): ReadCpuid {
  const errors: string[] = [];
  const warnings: string[] = [];
  const hidden = new Set<string>();
  const [base, ...pairs] = text.split(',').map((piece) => piece.trim());
  if (base !== 'host') errors.push(`it begins with "host", such as "host,aes=0", not with "${base}"`);
  for (const pair of pairs) {
    const [, key, value] = /^([^=\s]+)\s*=\s*(\S+)$/.exec(pair) ?? [];
    if (key === undefined || value === undefined) {
      if (pair !== '') errors.push(`"${pair}" is no pair: write feature=value, such as aes=0`);
    } else if (NUMBERS.has(key)) warnings.push(`"${key}" is not supported yet and has no effect`);
    else if (!CPU_FEATURES.has(key)) errors.push(`unknown feature "${key}"`);
    else if (value === '0') hidden.add(key);
    else if (/^[1xks]$/.test(value)) hidden.delete(key);
    else errors.push(`${key} takes 0, 1, x, k or s, not "${value}"`);
  }
  return { hidden: [...hidden], errors, warnings };
}
