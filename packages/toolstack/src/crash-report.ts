/** A crash report as text, for people. */
import type { CrashReport } from './machine.js';

/** Lines without a newline at their ends. `consoleTail` is what the console showed last. */
export function formatCrashReport(name: string, report: CrashReport, consoleTail: readonly string[]): string[] {
  const hex = (value: bigint): string =>
    BigInt.asUintN(64, value)
      .toString(16)
      .padStart(report.bits / 4, '0');
  return [
    `Domain "${name}" crashed: ${report.reason}`,
    ...section('Registers', formatRegisters(report.registers, hex)),
    ...section(
      'Return addresses on the stack',
      report.backtrace.map(({ address, symbol }) => `  ${hex(address)}${symbol === undefined ? '' : `  ${symbol}`}`),
    ),
    ...section(
      'Last console lines',
      consoleTail.map((line) => `  | ${line}`),
    ),
  ];
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', `${title}:`, ...lines];
}

function formatRegisters(registers: CrashReport['registers'], hex: (value: bigint) => string): string[] {
  const width = Math.max(0, ...registers.map(([name]) => name.length));
  const cells = registers.map(([name, value]) => `${name.padStart(width)} ${hex(value)}`);
  const rows: string[] = [];
  for (let first = 0; first < cells.length; first += 4) rows.push(`  ${cells.slice(first, first + 4).join('  ')}`);
  return rows;
}
