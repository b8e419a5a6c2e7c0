/** What Xen looks at in the bytes of an instruction that it carries out itself. */
import { Seg } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { readGuest } from '../guest-memory.js';

export interface InstructionBytes {
  /** With 0x0F00 for the second map. */
  opcode: number;
  modrm: number;
  bytes: Uint8Array;
  /** Of a prefix, -1 for none. */
  segment: number;
  /** 67: addresses are of the other size. */
  otherAddressSize: boolean;
}

const SEGMENT_PREFIXES: ReadonlyMap<number, number> = new Map([
  [0x26, Seg.es],
  [0x2e, Seg.cs],
  [0x36, Seg.ss],
  [0x3e, Seg.ds],
  [0x64, Seg.fs],
  [0x65, Seg.gs],
]);
const ADDRESS_SIZE = 0x67;
const OTHER_PREFIXES: ReadonlySet<number> = new Set([0x66, ADDRESS_SIZE, 0xf0, 0xf2, 0xf3]);

/** The instruction at RIP, of so many bytes; null where it can't be read any more. */
export function instructionAt(vcpu: XenVcpu, length: number): InstructionBytes | null {
  const { core } = vcpu;
  const bytes = readGuest(vcpu, core.codeAddress, length);
  if (!bytes) return null;
  const isPrefix = (byte: number): boolean =>
    SEGMENT_PREFIXES.has(byte) || OTHER_PREFIXES.has(byte) || (core.mode === 64 && (byte & 0xf0) === 0x40);
  let at = 0;
  let segment = -1;
  let otherAddressSize = false;
  for (; at < length - 1 && isPrefix(bytes[at]!); at++) {
    segment = SEGMENT_PREFIXES.get(bytes[at]!) ?? segment;
    otherAddressSize ||= bytes[at] === ADDRESS_SIZE;
  }
  let opcode = bytes[at]!;
  if (opcode === 0x0f) opcode = 0x0f00 | bytes[++at]!;
  return { opcode, modrm: bytes[at + 1] ?? 0, bytes, segment, otherAddressSize };
}
