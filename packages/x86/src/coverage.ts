/**
 * The coverage report: for each line of the instruction table how its meaning is
 * defined, and how many stored answers of a real processor judge it.
 */
import { decode } from './decode.js';
import { TABLE } from './notation.js';
import { DEFINITIONS } from './semantics/definitions.js';
import { SLOW_DEFINITIONS } from './slow/definitions.js';

/** `generated`: inline code; `typescript`: done by the engine; `both`: inline, with cases left to the engine. */
export type DefinitionKind = 'generated' | 'typescript' | 'both' | 'missing';

export interface CoverageLine {
  /** As in the table. */
  line: string;
  mnemonic: string;
  definition: DefinitionKind;
  /** Cases whose instruction is of this line. */
  cases: number;
}

function definitionOf(mnemonic: string): DefinitionKind {
  const [generated, slow] = [DEFINITIONS.has(mnemonic), SLOW_DEFINITIONS.has(mnemonic)];
  return generated ? (slow ? 'both' : 'generated') : slow ? 'typescript' : 'missing';
}

/** @param codes the instructions of the cases that judge the core, in 64-bit mode */
export function coverage(codes: Iterable<Uint8Array> = []): CoverageLine[] {
  const lines = new Map<string, CoverageLine>();
  for (const { line, mnemonic } of TABLE)
    lines.set(line, { line, mnemonic, definition: definitionOf(mnemonic), cases: 0 });
  for (const code of codes) {
    const insn = decode(code, 0, code.length, 64);
    if (insn !== null && typeof insn !== 'string') lines.get(insn.entry.line)!.cases++;
  }
  return [...lines.values()];
}

/** The report as a text: sums first, then a line for each of the table. */
export function formatCoverage(lines: readonly CoverageLine[]): string {
  const count = (kind: DefinitionKind): number => lines.filter(({ definition }) => definition === kind).length;
  const judged = lines.filter(({ cases }) => cases > 0).length;
  const total = lines.reduce((sum, { cases }) => sum + cases, 0);
  const kinds = (['generated', 'both', 'typescript', 'missing'] as const).map((kind) => `${count(kind)} ${kind}`);
  const rows = lines.map(
    ({ line, definition, cases }) => `${String(cases).padStart(6)}  ${definition.padEnd(10)}  ${line}`,
  );
  return [
    `${lines.length} lines: ${kinds.join(', ')}`,
    `${judged} judged by ${total} cases`,
    '',
    ' cases  definition  line',
    ...rows,
    '',
  ].join('\n');
}
