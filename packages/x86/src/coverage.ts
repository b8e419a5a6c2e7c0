/**
 * The coverage report: for each line of the instruction table how its meaning is
 * defined, who judges it, and by how many answers.
 */
import { decode } from './decode.js';
import { TABLE } from './notation.js';
import { DEFINITIONS } from './semantics/definitions.js';
import { SLOW_DEFINITIONS } from './slow/definitions.js';

/** `generated`: inline code; `typescript`: done by the engine; `both`: inline, with cases left to the engine. */
export type DefinitionKind = 'generated' | 'typescript' | 'both' | 'missing';

/** Answers of a processor to one instruction, or to many cases of its encoding. */
export interface Judgement {
  /** Name of the processor's vendor. */
  judge: string;
  code: Uint8Array;
  mode: 64 | 32;
  /** 16-bit code. */
  small?: boolean;
  cases: number;
}

export interface CoverageLine {
  /** As in the table. */
  line: string;
  mnemonic: string;
  definition: DefinitionKind;
  /** Cases whose instruction is of this line, by judge. */
  cases: Map<string, number>;
}

function definitionOf(mnemonic: string): DefinitionKind {
  const [generated, slow] = [DEFINITIONS.has(mnemonic), SLOW_DEFINITIONS.has(mnemonic)];
  return generated ? (slow ? 'both' : 'generated') : slow ? 'typescript' : 'missing';
}

export function coverage(judgements: Iterable<Judgement> = []): CoverageLine[] {
  const lines = new Map<string, CoverageLine>();
  for (const { line, mnemonic } of TABLE)
    lines.set(line, { line, mnemonic, definition: definitionOf(mnemonic), cases: new Map() });
  for (const { judge, code, mode, small, cases } of judgements) {
    const insn = decode(code, 0, code.length, mode, small);
    if (insn === null || typeof insn === 'string') continue;
    const counts = lines.get(insn.entry.line)!.cases;
    counts.set(judge, (counts.get(judge) ?? 0) + cases);
  }
  return [...lines.values()];
}

const total = ({ cases }: CoverageLine): number => [...cases.values()].reduce((sum, count) => sum + count, 0);

/** The report as a text: sums first, then a line for each of the table. What no processor judges, the manual does. */
export function formatCoverage(lines: readonly CoverageLine[]): string {
  const count = (kind: DefinitionKind): number => lines.filter(({ definition }) => definition === kind).length;
  const judged = lines.filter((line) => total(line) > 0);
  const thousand = lines.filter((line) => total(line) >= 1000).length;
  const kinds = (['generated', 'both', 'typescript', 'missing'] as const).map((kind) => `${count(kind)} ${kind}`);
  const rows = lines.map((one) => {
    const judges = [...one.cases].sort().map(([judge, cases]) => `${judge} ${cases}`);
    const judge = judges.length > 0 ? judges.join(', ') : 'manual';
    return `${judge.padEnd(24)}  ${one.definition.padEnd(10)}  ${one.line}`;
  });
  return [
    `${lines.length} lines: ${kinds.join(', ')}`,
    `${judged.length} judged by ${judged.reduce((sum, line) => sum + total(line), 0)} cases of processors, ${thousand} of them by a thousand or more`,
    '',
    `${'judge, cases'.padEnd(24)}  definition  line`,
    ...rows,
    '',
  ].join('\n');
}
