/** Text of instructions for reports, from the same table as the decoder. */
import type { VcpuCore } from '@paravane/engine-api';
import type { Mmu } from '@paravane/mmu';
import { decode, type Instruction } from './decode.js';
import { codeBytes } from './memory-access.js';
import type { Operand } from './operands.js';

const NAMES64 = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
];
const NAMES8 = ['al', 'cl', 'dl', 'bl', 'spl', 'bpl', 'sil', 'dil'];
const HIGH8 = ['ah', 'ch', 'dh', 'bh'];
export const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'];

export const SIZE_NAMES: Partial<Record<number, string>> = {
  8: 'byte',
  16: 'word',
  32: 'dword',
  48: 'fword',
  64: 'qword',
  80: 'tword',
  128: 'oword',
};

/** Names of the manual, where the instruction table has one of its own. */
const SPOKEN: Partial<Record<string, string>> = {
  IMUL1: 'imul',
  MOV_FROM_SEG: 'mov',
  MOV_TO_SEG: 'mov',
  MOV_FROM_CR: 'mov',
  MOV_TO_CR: 'mov',
  MOV_FROM_DR: 'mov',
  MOV_TO_DR: 'mov',
  PUSH_SEG: 'push',
  POP_SEG: 'pop',
  CALL_FAR: 'call far',
  JMP_FAR: 'jmp far',
};
/** Names that tell the operand size (16, 32, 64 bits), as no operand does. */
const SIZED: Partial<Record<string, readonly [string, string, string]>> = {
  CBW: ['cbw', 'cwde', 'cdqe'],
  CWD: ['cwd', 'cdq', 'cqo'],
  IRET: ['iretw', 'iretd', 'iretq'],
  RET_FAR: ['retfw', 'retf', 'retfq'],
  PUSHF: ['pushfw', 'pushfd', 'pushfq'],
  POPF: ['popfw', 'popfd', 'popfq'],
  PUSHA: ['pushaw', 'pushad', ''],
  POPA: ['popaw', 'popad', ''],
  ENTER: ['enterw', 'enter', 'enter'],
  LEAVE: ['leavew', 'leave', 'leave'],
};
/** All names that the disassembler has for a mnemonic of the table. */
export const spokenNames = (mnemonic: string): readonly string[] =>
  SIZED[mnemonic] ?? [SPOKEN[mnemonic] ?? mnemonic.toLowerCase()];
export const spokenName = (insn: Instruction): string =>
  SIZED[insn.mnemonic]?.[insn.width === 64 ? 2 : insn.width === 32 ? 1 : 0] ?? spokenNames(insn.mnemonic)[0]!;

export function registerName(n: number, width: number, high = false): string {
  if (high) return HIGH8[n]!;
  if (n >= 8) return NAMES64[n]! + (width === 64 ? '' : width === 32 ? 'd' : width === 16 ? 'w' : 'b');
  if (width === 8) return NAMES8[n]!;
  const name = NAMES64[n]!;
  return width === 64 ? name : width === 32 ? `e${name.slice(1)}` : name.slice(1);
}

const hex = (value: number | bigint): string => (value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`);

function memoryText(insn: Instruction, width: number): string {
  const memory = insn.memory;
  const size = SIZE_NAMES[width] ? `${SIZE_NAMES[width]} ` : '';
  if (!memory) return size.trim();
  const parts: string[] = [];
  if (memory.base === -2) parts.push('rip');
  else if (memory.base >= 0) parts.push(registerName(memory.base, insn.addressWidth));
  if (memory.index >= 0)
    parts.push(registerName(memory.index, insn.addressWidth) + (memory.scale ? `*${1 << memory.scale}` : ''));
  const disp = memory.wide ?? BigInt(memory.disp);
  let text = parts.join('+');
  if (text === '') text = hex(memory.wide ?? BigInt.asUintN(insn.addressWidth, disp));
  else if (disp !== 0n) text += (disp < 0n ? '' : '+') + hex(disp);
  return `${size}${insn.segment >= 0 ? `${SEGMENTS[insn.segment]}:` : ''}[${text}]`;
}

/** Name of a segment, control or debug register, by the table's text of the operand. */
export const systemRegister = (text: string, n: number): string =>
  text === 'Cq' ? `cr${n}` : text === 'Dq' ? `dr${n}` : SEGMENTS[n]!;

function operandText(insn: Instruction, i: number, operand: Operand, address: bigint): string {
  switch (operand.kind) {
    case 'r':
      return registerName(operand.n, operand.width, operand.high);
    case 'x':
      return `xmm${operand.n}`;
    case 'p':
      return `mm${operand.n}`;
    case 'st':
      return `st${operand.n}`;
    case 's':
      return systemRegister(insn.entry.operands[i]!, operand.n);
    case 'm':
      return memoryText(insn, operand.width);
    case 'i':
      return hex(operand.wide ?? operand.value);
    case 'c':
      return 'cl';
    case 'j':
      return hex(BigInt.asUintN(insn.mode, address + BigInt(insn.length + operand.value)));
  }
}

/** Intel-syntax text of an instruction at `address`. */
export function disassemble(insn: Instruction, address: bigint): string {
  const prefix = (insn.lock ? 'lock ' : '') + (insn.rep === 0xf3 ? 'rep ' : insn.rep === 0xf2 ? 'repne ' : '');
  const operands = insn.operands.map((operand, i) => operandText(insn, i, operand, address));
  return `${prefix}${spokenName(insn)}${operands.length > 0 ? ` ${operands.join(', ')}` : ''}`;
}

export function disassembleAt(mmu: Mmu, vcpu: VcpuCore, address: bigint): { text: string; length: number } {
  const bytes = codeBytes(mmu, vcpu.space, address);
  if (!bytes) return { text: '??', length: 1 };
  const insn = decode(bytes, 0, bytes.length, vcpu.mode);
  if (insn === null || typeof insn === 'string') return { text: '(bad)', length: 1 };
  return { text: disassemble(insn, address), length: insn.length };
}
