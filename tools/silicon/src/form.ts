/**
 * Reads the tables of encodings. A line is `MNEMONIC operands | encoding | options`, in the notation of the manual's
 * opcode maps (Intel SDM volume 2, appendix A):
 *
 * - operand letters: E general register or memory by ModRM.rm, R register only, M memory only, G register by ModRM.reg,
 *   Z register in the opcode, B register by VEX.vvvv, I immediate, J relative target, V/W/U and P/Q/N the same for XMM
 *   and MMX registers, S an x87 stack register by ModRM.rm, O memory at an
 *   address in the instruction; anything else is a fixed operand;
 * - sizes: b 1, w 2, d 4, q 8, o 16, t and st 10 bytes; v 2, 4 or 8; y 4 or 8; n 2 or 8 (8 without REX.W); z as v, at most 4;
 *   a number is that many bytes;
 *   with the option `code-32` v and n are 2 or 4, y is 4;
 * - encoding: hex bytes, `/r`, `/0` to `/7`, `+r`, `ib iw id iz iv`; 66, F2 or F3 before 0F is a mandatory prefix;
 *   `vex.MAP.PP.W` (W: 0, 1 or y) replaces the prefixes;
 * - options: words that `prepare` and `undefined` understand.
 */

export type OperandKind =
  | 'E'
  | 'R'
  | 'M'
  | 'G'
  | 'Z'
  | 'B'
  | 'I'
  | 'J'
  | 'V'
  | 'W'
  | 'U'
  | 'P'
  | 'Q'
  | 'N'
  | 'S'
  | 'O'
  | 'fixed';

export interface Operand {
  kind: OperandKind;
  /** Bytes; 0 for fixed operands. */
  size: number;
  text: string;
}

/** One mnemonic with one operand size and either a register or a memory operand. */
export interface Form {
  name: string;
  mnemonic: string;
  operands: Operand[];
  /** Operand size in bytes where the encoding has a choice, else that of the first sized operand. */
  width: number;
  /** Whether ModRM.rm is memory. */
  memory: boolean;
  opcode: number[];
  mandatory: number[];
  vex?: { map: number; pp: number; w: number };
  modrm: 'none' | 'register' | number;
  plusRegister: boolean;
  operandPrefix: boolean;
  rexW: boolean;
  /** 32 with the option `code-32`: flat code of compatibility mode. */
  mode: 64 | 32;
  options: Set<string>;
}

const FIXED_SIZES: Record<string, number> = { b: 1, w: 2, d: 4, q: 8, o: 16, t: 10 };
const CHOICES: Record<string, number[]> = { v: [2, 4, 8], y: [4, 8], n: [2, 8] };
const CHOICES32: Record<string, number[]> = { v: [2, 4], y: [4], n: [2, 4] };

function parseOperand(text: string, width: number): Operand {
  const match = /^([ERMGZBIJVWUPQNSO])([bwdqotvynz]|st|\d+)$/.exec(text);
  if (!match) return { kind: 'fixed', size: 0, text };
  const [, kind, letter] = match as unknown as [string, OperandKind, string];
  const size =
    letter === 'z'
      ? Math.min(width, 4)
      : (FIXED_SIZES[letter] ?? (letter in CHOICES ? width : letter === 'st' ? 10 : Number(letter)));
  return { kind, size, text };
}

function operandName(operand: Operand, memory: boolean, width: number): string {
  const bits = operand.size * 8;
  switch (operand.kind) {
    case 'E':
    case 'R':
    case 'M':
      return operand.size > 16 ? `m${operand.size}byte` : `${memory && operand.kind !== 'R' ? 'm' : 'r'}${bits}`;
    case 'G':
    case 'Z':
    case 'B':
      return `r${bits}`;
    case 'I':
      return `imm${bits}`;
    case 'J':
      return `rel${bits}`;
    case 'W':
    case 'U':
    case 'V':
      return operand.kind === 'W' && memory ? `m${bits}` : 'xmm';
    case 'P':
    case 'Q':
    case 'N':
      return operand.kind === 'Q' && memory ? `m${bits}` : 'mm';
    case 'O':
      return `moffs${bits}`;
    case 'S':
      return 'ST(i)';
    default:
      return operand.text === 'rAX' ? ({ 2: 'AX', 4: 'EAX', 8: 'RAX' }[width] ?? 'AL') : operand.text;
  }
}

interface Encoding {
  opcode: number[];
  mandatory: number[];
  vex?: { map: number; pp: number; w: string };
  modrm: 'none' | 'register' | number;
  plusRegister: boolean;
}

const VEX_MAPS: Record<string, number> = { '0F': 1, '0F38': 2, '0F3A': 3 };
const VEX_PREFIXES: Record<string, number> = { NP: 0, '66': 1, F3: 2, F2: 3 };

function parseEncoding(text: string): Encoding {
  const encoding: Encoding = { opcode: [], mandatory: [], modrm: 'none', plusRegister: false };
  for (const token of text.trim().split(/\s+/)) {
    if (token === '/r') encoding.modrm = 'register';
    else if (/^\/[0-7]$/.test(token)) encoding.modrm = Number(token[1]);
    else if (token === '+r') encoding.plusRegister = true;
    else if (token.startsWith('vex.')) {
      const [, map = '', pp = '', w = ''] = token.split('.');
      encoding.vex = { map: VEX_MAPS[map] ?? 0, pp: VEX_PREFIXES[pp] ?? 0, w };
    } else if (/^[0-9A-F]{2}$/.test(token)) encoding.opcode.push(Number.parseInt(token, 16));
    else if (!/^(i[bwdzvo]|c[bd])$/.test(token)) throw new Error(`unknown token "${token}" in encoding "${text}"`);
  }
  while (encoding.opcode.length > 1 && [0x66, 0xf2, 0xf3].includes(encoding.opcode[0]) && encoding.opcode[1] === 0x0f) {
    encoding.mandatory.push(encoding.opcode.shift() ?? 0);
  }
  return encoding;
}

/** All forms of a line. */
export function parseLine(line: string): Form[] {
  const [head = '', encodingText = '', optionText = ''] = line.split('|').map((part) => part.trim());
  const space = head.indexOf(' ');
  const mnemonic = space < 0 ? head : head.slice(0, space);
  const texts = space < 0 ? [] : head.slice(space + 1).split(',');
  const encoding = parseEncoding(encodingText);
  const options = new Set(optionText.split(/\s+/).filter((word) => word !== ''));
  const mode = options.has('code-32') ? 32 : 64;
  const letter = texts.map((text) => /^[A-Z]([vyn])$/.exec(text)?.[1]).find((found) => found !== undefined);
  const fromOption = ['v', 'y', 'n'].find((choice) => options.has(`size-${choice}`));
  const choice = letter ?? fromOption ?? (texts.includes('rAX') ? 'v' : undefined);
  const forms: Form[] = [];
  const choices = mode === 32 ? CHOICES32 : CHOICES;
  for (const width of choice ? choices[choice] : [0]) {
    const operands = texts.map((text) => parseOperand(text, width));
    const own = width || (operands.find((operand) => operand.size > 0)?.size ?? 0);
    const either = operands.some((operand) => 'EWQ'.includes(operand.kind));
    const modes = either ? [false, true] : [operands.some((operand) => operand.kind === 'M' || operand.kind === 'O')];
    for (const memory of modes) {
      const names = operands.map((operand) => operandName(operand, memory, width)).join(',');
      const suffix = names === '' && width ? `/${width * 8}` : '';
      forms.push({
        name: `${mnemonic}${suffix}${names ? ` ${names}` : ''}`,
        mnemonic,
        operands,
        width: own,
        memory,
        opcode: encoding.opcode,
        mandatory: encoding.mandatory,
        ...(encoding.vex
          ? { vex: { ...encoding.vex, w: encoding.vex.w === 'y' ? (own === 8 ? 1 : 0) : Number(encoding.vex.w) } }
          : {}),
        modrm: encoding.modrm,
        plusRegister: encoding.plusRegister,
        operandPrefix: (width === 2 && !encoding.vex) || options.has('operand-16'),
        rexW: (width === 8 && choice !== 'n' && !encoding.vex) || options.has('W'),
        mode,
        options,
      });
    }
  }
  return forms;
}
