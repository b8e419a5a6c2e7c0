/** Runs a file's cases on an engine and sums up what differs. */

import type { CaseRunner, SiliconFile } from './case.js';
import { compare } from './compare.js';

export interface ReplayReport {
  group: string;
  cases: number;
  different: number;
  /** Number of differing cases by form, for the forms that have any. */
  byForm: Map<string, number>;
  /** The first differences of each form, at most `perForm`. */
  texts: string[];
}

export interface ReplayOptions {
  /** Forms to run, by name; all without it. */
  select?: (name: string) => boolean;
  /** Differences kept as text for each form; 2 without it. */
  perForm?: number;
}

export function replay(file: SiliconFile, runner: CaseRunner, options: ReplayOptions = {}): ReplayReport {
  const { select, perForm = 2 } = options;
  const report: ReplayReport = { group: file.group, cases: 0, different: 0, byForm: new Map(), texts: [] };
  for (const one of file.cases(select)) {
    report.cases++;
    const difference = compare(one, runner.run(one.code, one.initial, one.mode));
    if (difference === null) continue;
    report.different++;
    const before = report.byForm.get(one.name) ?? 0;
    report.byForm.set(one.name, before + 1);
    if (before < perForm) report.texts.push(difference);
  }
  return report;
}

/** A few lines: the sum, the forms that differ most, and the differences. */
export function formatReport(report: ReplayReport, limit = 20): string {
  const forms = [...report.byForm].sort((a, b) => b[1] - a[1]).slice(0, limit);
  const list = forms.map(([name, count]) => `  ${count} × ${name}`).join('\n');
  const head = `${report.group}: ${report.different} of ${report.cases} cases differ, in ${report.byForm.size} forms`;
  return [head, list, ...report.texts.slice(0, limit)].filter((text) => text !== '').join('\n');
}
