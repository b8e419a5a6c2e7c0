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
  /** Name of the processor's vendor, or `manual`. */
  judge: string;
  code: Uint8Array;
  mode: 64 | 32;
  /** 16-bit code. */
  small?: boolean;
  /** 0 of what is only held to the answers in another mode. */
  cases: number;
}

/** Cases of processors that judge an encoding without need of a reason why there are not more. */
export const ENOUGH = 1000;
/** What a program in user mode can't find out about an encoding, or not a thousand times, so that the manual judges it. */
const REASONS = {
  privileged: 'a program sees the fault alone; what happens at CPL 0 is the personality’s',
  'kernel entry': 'ends in the kernel of the asked machine',
  'kernel tables': 'shows or takes what the kernel keeps for itself, or lets programs see only emulated',
  selectors: 'needs descriptors of the kernel’s or the runner’s own',
  hypervisor: 'asks who runs the asked machine',
  'switched off': 'was not there, or not enabled, where it could have been asked',
  'time, chance': 'has results that no two processors share',
} as const;
export type ManualReason = keyof typeof REASONS;

const REASON_OF: ReadonlyMap<string, ManualReason> = new Map(
  Object.entries({
    privileged:
      'HLT CLI STI CLTS INVD WBINVD INVLPG RDMSR WRMSR RDPMC XSETBV LMSW LLDT LTR LGDT LIDT SWAPGS SYSRET SYSEXIT CLAC STAC MONITOR MWAIT MOV_FROM_CR MOV_TO_CR MOV_FROM_DR MOV_TO_DR IN OUT INS OUTS',
    'kernel entry': 'SYSCALL SYSENTER INT INT1 INT3 INTO',
    'kernel tables': 'SLDT STR SGDT SIDT SMSW',
    selectors: 'PUSH_SEG POP_SEG MOV_TO_SEG LDS LES LSS LFS LGS VERR VERW LAR LSL CALL_FAR JMP_FAR RET_FAR IRET',
    hypervisor: 'VMCALL VMMCALL',
    'switched off': 'RDFSBASE RDGSBASE WRFSBASE WRGSBASE RDSEED SERIALIZE',
    'time, chance': 'RDTSC RDTSCP CPUID RDRAND',
  }).flatMap(([reason, mnemonics]) =>
    mnemonics.split(' ').map((mnemonic): [string, ManualReason] => [mnemonic, reason as ManualReason]),
  ),
);
const MANUAL = 'manual';

export interface CoverageLine {
  /** As in the table. */
  line: string;
  mnemonic: string;
  definition: DefinitionKind;
  /** Cases whose instruction is of this line, by judge: the name of a vendor, or `manual`. */
  cases: Map<string, number>;
  /** In code of how many bits it is judged. */
  modes: Set<64 | 32 | 16>;
  /** Why the manual judges, where processors do not, or not all of it. */
  reason: ManualReason | undefined;
}

function definitionOf(mnemonic: string): DefinitionKind {
  const [generated, slow] = [DEFINITIONS.has(mnemonic), SLOW_DEFINITIONS.has(mnemonic)];
  return generated ? (slow ? 'both' : 'generated') : slow ? 'typescript' : 'missing';
}

export function coverage(judgements: Iterable<Judgement> = []): CoverageLine[] {
  const lines = new Map<string, CoverageLine>();
  for (const { line, mnemonic } of TABLE)
    lines.set(line, {
      line,
      mnemonic,
      definition: definitionOf(mnemonic),
      cases: new Map(),
      modes: new Set(),
      reason: REASON_OF.get(mnemonic),
    });
  for (const { judge, code, mode, small, cases } of judgements) {
    const insn = decode(code, 0, code.length, mode, small);
    if (insn === null || typeof insn === 'string') continue;
    const { cases: counts, modes } = lines.get(insn.entry.line)!;
    modes.add(small ? 16 : mode);
    if (cases > 0) counts.set(judge, (counts.get(judge) ?? 0) + cases);
  }
  return [...lines.values()];
}

/** Cases of a line that processors have answered. */
export const byProcessors = ({ cases }: CoverageLine): number =>
  [...cases].reduce((sum, [judge, count]) => sum + (judge === MANUAL ? 0 : count), 0);

/** The report as a text: sums, then what the reasons mean, then a line for each of the table. */
export function formatCoverage(lines: readonly CoverageLine[]): string {
  const count = (kind: DefinitionKind): number => lines.filter(({ definition }) => definition === kind).length;
  const judged = lines.filter((line) => byProcessors(line) > 0);
  const thousand = lines.filter((line) => byProcessors(line) >= ENOUGH).length;
  const kinds = (['generated', 'both', 'typescript', 'missing'] as const).map((kind) => `${count(kind)} ${kind}`);
  const rows = lines.map((one) => {
    const judges = [...one.cases].sort().map(([judge, cases]) => `${judge} ${cases}`);
    const modes = ([64, 32, 16] as const).map((mode) => (one.modes.has(mode) ? `${mode}` : '  ')).join(' ');
    return `${judges.join(', ').padEnd(28)}  ${modes}  ${(one.reason ?? '').padEnd(13)}  ${one.definition.padEnd(10)}  ${one.line}`;
  });
  return [
    `${lines.length} lines: ${kinds.join(', ')}`,
    `${judged.length} judged by ${judged.reduce((sum, line) => sum + byProcessors(line), 0)} cases of processors, ${thousand} of them by a thousand or more`,
    `${lines.length - judged.length} judged by the manual alone, for these reasons, which elsewhere say what processors were not asked:`,
    ...Object.entries(REASONS).map(([reason, meaning]) => `  ${reason.padEnd(13)} ${meaning}`),
    'bits: of the code that it is judged in; 32 and 16 mostly by being held to the answers in 64-bit code',
    '',
    `${'judge, cases'.padEnd(28)}  ${'bits'.padEnd(8)}  ${'reason'.padEnd(13)}  definition  line`,
    ...rows,
    '',
  ].join('\n');
}
