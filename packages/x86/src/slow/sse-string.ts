/** PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (Intel SDM vol. 2, 4.1). */
import { Flag } from '@paravane/engine-api';
import type { SlowCpu, SlowDefinition, SlowDefinitions } from './slow-cpu.js';
import { bytesOf, immediate, source, xmm } from './sse-access.js';

const ARITHMETIC = Flag.CF | Flag.PF | Flag.AF | Flag.ZF | Flag.SF | Flag.OF;
const Aggregation = { equalAny: 0, ranges: 1, equalEach: 2, equalOrdered: 3 } as const;

interface Text {
  elements: number[];
  /** Valid elements. */
  length: number;
}

function elementsOf(v: DataView, control: number): number[] {
  const at = (i: number): number => {
    if (control & 1) return control & 2 ? v.getInt16(i * 2, true) : v.getUint16(i * 2, true);
    return control & 2 ? v.getInt8(i) : v.getUint8(i);
  };
  return Array.from({ length: control & 1 ? 8 : 16 }, (_, i) => at(i));
}
/** A length in a register: its magnitude, at most all elements. */
function explicitLength(value: bigint, width: number, count: number): number {
  const signed = BigInt.asIntN(width, value);
  const magnitude = signed < 0n ? -signed : signed;
  return magnitude > BigInt(count) ? count : Number(magnitude);
}
const implicitLength = (elements: number[]): number => {
  const end = elements.indexOf(0);
  return end < 0 ? elements.length : end;
};

/** Whether position `j` of the text passes (IntRes1). */
function passes(set: Text, text: Text, j: number, aggregation: number): boolean {
  const element = text.elements[j]!;
  const members = set.elements.slice(0, set.length);
  switch (aggregation) {
    case Aggregation.equalAny:
      return j < text.length && members.includes(element);
    case Aggregation.ranges:
      return (
        j < text.length &&
        members.some((low, i) => i % 2 === 0 && i + 1 < set.length && low <= element && element <= members[i + 1]!)
      );
    case Aggregation.equalEach:
      return j < text.length && j < set.length ? element === set.elements[j] : j >= text.length && j >= set.length;
    default:
      return members.every(
        (member, i) => i + j >= text.elements.length || (i + j < text.length && member === text.elements[i + j]),
      );
  }
}
function compareStrings(set: Text, text: Text, control: number): number {
  let result = 0;
  for (let j = 0; j < text.elements.length; j++) {
    const negated = (control & 0x10) !== 0 && (!(control & 0x20) || j < text.length);
    if (passes(set, text, j, (control >> 2) & 3) !== negated) result |= 1 << j;
  }
  return result;
}
/** The lowest bit set, or the highest; `count` if there is none. */
function indexOf(bits: number, highest: boolean, count: number): number {
  if (bits === 0) return count;
  return highest ? 31 - Math.clz32(bits) : 31 - Math.clz32(bits & -bits);
}
function writeMask(c: SlowCpu, bits: number, asElements: boolean, count: number): void {
  const destination = bytesOf(xmm(c, 0));
  destination.fill(0);
  const size = 16 / count;
  if (!asElements) {
    destination[0] = bits;
    destination[1] = bits >> 8;
  } else for (let i = 0; i < 16; i++) destination[i] = (bits >> Math.floor(i / size)) & 1 ? 0xff : 0;
}

/** `lengthWidth` 0: strings end at a zero element. */
const stringCompare =
  (lengthWidth: 0 | 32 | 64, output: 'index' | 'mask'): SlowDefinition =>
  (c) => {
    const control = immediate(c, 2);
    const [setElements, textElements] = [elementsOf(source(c, 0), control), elementsOf(source(c, 1, 'any'), control)];
    const count = textElements.length;
    const lengthOf = (elements: number[], gpr: number): number =>
      lengthWidth === 0 ? implicitLength(elements) : explicitLength(c.regs[gpr]!, lengthWidth, count);
    const set: Text = { elements: setElements, length: lengthOf(setElements, 0) };
    const text: Text = { elements: textElements, length: lengthOf(textElements, 2) };
    const bits = compareStrings(set, text, control);
    const selected = (control & 0x40) !== 0;
    if (output === 'index') c.setGpr(1, BigInt(indexOf(bits, selected, count)), 32);
    else writeMask(c, bits, selected, count);
    c.eflags =
      (c.eflags & ~ARITHMETIC) |
      (bits !== 0 ? Flag.CF : 0) |
      (text.length < count ? Flag.ZF : 0) |
      (set.length < count ? Flag.SF : 0) |
      (bits & 1 ? Flag.OF : 0);
  };

export const sseString: SlowDefinitions = {
  PCMPESTRI: stringCompare(32, 'index'),
  PCMPESTRI64: stringCompare(64, 'index'),
  PCMPESTRM: stringCompare(32, 'mask'),
  PCMPESTRM64: stringCompare(64, 'mask'),
  PCMPISTRI: stringCompare(0, 'index'),
  PCMPISTRM: stringCompare(0, 'mask'),
};
