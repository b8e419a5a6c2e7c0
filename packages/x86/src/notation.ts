/**
 * Reads the instruction table: lines in the manual's notation (see
 * `table/integer.ts`) to entries, and the entries of each opcode to the order in
 * which a decoder must try them.
 */
import { INTEGER } from './table/integer.js';
import { SSE } from './table/sse.js';
import { SYSTEM } from './table/system.js';
import { X87 } from './table/x87.js';

/** Opcode maps (Intel SDM vol. 2, A.3): one-byte, 0F, 0F 38, 0F 3A. */
export type OpcodeMap = 0 | 1 | 2 | 3;

export interface Entry {
  /** The line of the table. */
  readonly line: string;
  readonly mnemonic: string;
  /** Operands as written: `Ev`, `Gv`, `Ib`, `CL`, … */
  readonly operands: readonly string[];
  readonly map: OpcodeMap;
  readonly opcode: number;
  /** Mandatory prefix; `NP` forbids 66, F2 and F3; '' takes any as an ordinary prefix. */
  readonly prefix: '' | 'NP' | '66' | 'F2' | 'F3';
  readonly vex: boolean;
  /** VEX.vvvv names an operand; where it does not, its bits must be ones. */
  readonly vvvv: boolean;
  /** ModRM.reg that belongs to the opcode, or -1. */
  readonly digit: number;
  /** A whole ModRM byte that belongs to the opcode, or -1. */
  readonly modrmByte: number;
  readonly hasModrm: boolean;
  readonly lock: boolean;
  /** In 64-bit mode: '' both ways, i64 invalid, o64 only there. */
  readonly only: '' | 'i64' | 'o64';
  /** Operand size in 64-bit mode: '' by prefixes, d64 default 64, f64 always 64; n32: prefixes have no say, in any mode. */
  readonly size: '' | 'd64' | 'f64' | 'n32';
  readonly w: -1 | 0 | 1;
  /** ModRM must name a register, a memory operand, or either. */
  readonly form: '' | 'reg' | 'mem';
  /** Not with REX.B: 90 without it is NOP. */
  readonly noRexB: boolean;
  /** Undefined with F3. */
  readonly noF3: boolean;
}

/** Operands with a vector register among them and none whose size prefixes decide. */
const VECTORS_ONLY = /^(?!.*[EGRMB][vy])(.*,)?[VWUPQN]/;
const HEX = /^[0-9A-F]{2}$/;

function parseLine(line: string): Entry[] {
  const fields = line.split(/ {2,}/);
  const words: string[] = fields[0]!.split(' ');
  const [mnemonic = '', operandText = ''] = (fields[1] ?? '').split(' ');
  const attributes = (fields[2] ?? '').split(' ');
  let prefix: Entry['prefix'] = '';
  let vex = false;
  let map: OpcodeMap = 0;
  let w: Entry['w'] = attributes.includes('W0') ? 0 : attributes.includes('W1') ? 1 : -1;
  if (words[0]!.startsWith('VEX.')) {
    const [, pp, mm, ww] = words.shift()!.split('.');
    vex = true;
    prefix = pp as Entry['prefix'];
    map = mm === '0F' ? 1 : mm === '0F38' ? 2 : 3;
    w = ww === 'W0' ? 0 : ww === 'W1' ? 1 : -1;
  } else {
    if (words[0] === 'NP' || ((words[0] === '66' || words[0] === 'F2' || words[0] === 'F3') && words.length > 1)) {
      prefix = words.shift() as Entry['prefix'];
    }
    if (words[0] === '0F' && words.length > 1 && HEX.test(words[1]!.slice(0, 2))) {
      words.shift();
      map = 1;
      const escape: string = words[0]!;
      if ((escape === '38' || escape === '3A') && words.length > 1 && HEX.test(words[1]!.slice(0, 2))) {
        map = words.shift() === '38' ? 2 : 3;
      }
    }
  }
  let opcodeText = words.shift()!;
  const plusR = opcodeText.endsWith('+r');
  if (plusR) opcodeText = opcodeText.slice(0, 2);
  const tail = words.shift() ?? '';
  const opcode = parseInt(opcodeText, 16);
  const entry: Entry = {
    line,
    mnemonic,
    operands: operandText === '' ? [] : operandText.split(','),
    map,
    opcode,
    prefix,
    vex,
    vvvv: /\bB[a-z]/.test(operandText),
    digit: /^\/[0-7]$/.test(tail) ? Number(tail[1]) : -1,
    modrmByte: HEX.test(tail) ? parseInt(tail, 16) : -1,
    hasModrm: tail !== '',
    lock: attributes.includes('lock'),
    only: attributes.includes('i64') ? 'i64' : attributes.includes('o64') ? 'o64' : '',
    size: attributes.includes('d64')
      ? 'd64'
      : attributes.includes('f64')
        ? 'f64'
        : VECTORS_ONLY.test(operandText)
          ? 'n32'
          : '',
    w,
    form: attributes.includes('reg') ? 'reg' : attributes.includes('mem') ? 'mem' : '',
    noRexB: attributes.includes('np'),
    noF3: attributes.includes('noF3'),
  };
  return plusR ? Array.from({ length: 8 }, (_, r) => ({ ...entry, opcode: opcode + r })) : [entry];
}

export const TABLE: readonly Entry[] = [INTEGER, SYSTEM, SSE, X87]
  .flatMap((text) => text.split('\n'))
  .map((line) => line.trimEnd())
  .filter((line) => line !== '' && !line.startsWith('#'))
  .flatMap(parseLine);

/** The more an entry asks for, the earlier it is tried. */
const specificity = (e: Entry): number =>
  (e.prefix !== '' ? 8 : 0) +
  (e.modrmByte >= 0 ? 16 : 0) +
  (e.digit >= 0 ? 4 : 0) +
  (e.w >= 0 ? 2 : 0) +
  (e.noRexB ? 1 : 0);

/** Entries by `vex`, map and opcode, in the order to try them. */
export const BY_OPCODE: readonly (readonly Entry[])[] = (() => {
  const lists: Entry[][] = Array.from({ length: 2 * 4 * 256 }, () => []);
  for (const entry of TABLE) lists[opcodeIndex(entry.vex, entry.map, entry.opcode)]!.push(entry);
  for (const list of lists) list.sort((a, b) => specificity(b) - specificity(a));
  return lists;
})();

export function opcodeIndex(vex: boolean, map: OpcodeMap, opcode: number): number {
  return ((vex ? 4 : 0) + map) * 256 + opcode;
}
