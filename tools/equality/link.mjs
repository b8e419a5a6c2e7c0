// Bytes of a program's lines. Lines without a label are assembled once and remembered, for there are few different
// ones; those that name a label have an encoding each, given here (Intel SDM vol. 2).
import { assemble } from '../../packages/x86/dist/index.js';

export const CONDITIONS = ['o', 'no', 'b', 'ae', 'z', 'nz', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'];
const MOST_KNOWN = 200_000;
const known = { 64: new Map(), 32: new Map() };

/** Kinds of lines with a label: bytes of the opcode, and whether 32 bits of address or of distance follow. */
const kinds = [
  { pattern: /^call (\w+)$/, opcode: () => [0xe8] },
  { pattern: /^jmp (start)$/, opcode: () => [0xe9], short: () => [0xeb] },
  {
    pattern: /^j(?!mp)(\w+) (\w+)$/,
    opcode: ([, condition]) => [0x0f, 0x80 + CONDITIONS.indexOf(condition)],
    short: ([, condition]) => [0x70 + CONDITIONS.indexOf(condition)],
  },
  { pattern: /^lea r12, \[rel (\w+)\]$/, opcode: () => [0x4c, 0x8d, 0x25] },
  { pattern: /^mov \[rel (\w+)\+1\], ecx$/, opcode: () => [0x89, 0x0d], plus: 1 },
  { pattern: /^mov \[(p\d+)\+1\], ecx$/, opcode: () => [0x89, 0x0d], plus: 1, absolute: true },
  { pattern: /^mov edx, (b\d+)$/, opcode: () => [0xba], absolute: true },
];

export function link(text, base, mode) {
  const bytes = [];
  const labels = new Map();
  const fixups = [];
  for (const line of text.split('\n')) {
    if (line.endsWith(':')) {
      labels.set(line.slice(0, -1), bytes.length);
      continue;
    }
    const kind = kinds.find(({ pattern }) => pattern.test(line));
    if (kind === undefined) {
      for (const byte of plain(line, mode)) bytes.push(byte);
      continue;
    }
    const match = kind.pattern.exec(line);
    const label = match.at(-1);
    const back = (labels.get(label) ?? Number.NEGATIVE_INFINITY) - (bytes.length + 2);
    if (kind.short !== undefined && back >= -128) {
      bytes.push(...kind.short(match), back & 0xff);
      continue;
    }
    bytes.push(...kind.opcode(match));
    fixups.push({ at: bytes.length, label, plus: kind.plus ?? 0, absolute: kind.absolute === true });
    bytes.push(0, 0, 0, 0);
  }
  const out = Uint8Array.from(bytes);
  const view = new DataView(out.buffer);
  for (const { at, label, plus, absolute } of fixups) {
    if (!labels.has(label)) throw new Error(`no label ${label}`);
    const target = labels.get(label) + plus;
    view.setInt32(at, absolute ? base + target : target - (at + 4), true);
  }
  return out;
}

function plain(line, mode) {
  const lines = known[mode];
  let bytes = lines.get(line);
  if (bytes === undefined) {
    if (lines.size >= MOST_KNOWN) lines.clear();
    bytes = assemble(line, { mode });
    lines.set(line, bytes);
  }
  return bytes;
}
