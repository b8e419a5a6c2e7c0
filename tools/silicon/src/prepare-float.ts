/** Sets up vector and x87 instructions: control words, pending exceptions, and operands of special shapes. */

import { LAYOUT } from '../../../packages/x86/silicon/state.js';
import {
  biasedBytes,
  chance,
  type Draft,
  pick,
  placeAddress,
  placeFor,
  RAX,
  RCX,
  RDI,
  RDX,
  setMemory,
  setRegister,
} from './draft.js';
import { littleEndian } from './encode.js';

/** FSW.ES and FSW.B say that an unmasked exception is pending. */
const PENDING = 0x8080;

function prepareX87(draft: Draft): void {
  const { rng, initial } = draft;
  const { x87 } = initial;
  const precision = pick(rng, [3, 3, 3, 2, 0]);
  const masks = chance(rng, 75) ? 0x3f : rng.below(64);
  x87.fcw = 0x40 | (rng.below(4) << 10) | (precision << 8) | masks;
  const sticky = chance(rng, 65) ? 0 : rng.below(64) | (chance(rng, 20) ? 0x40 : 0);
  x87.fsw |= sticky;
  if ((sticky & 0x3f & ~masks) === 0) return;
  // Mostly an exception that is pending would hide what the instruction does.
  if (chance(rng, draft.form.operands.length === 0 ? 40 : 75)) x87.fsw &= ~0x3f;
  else x87.fsw |= PENDING;
}

/** Rounding, flush and denormal modes, masked and unmasked exceptions. */
export function prepareFloat(draft: Draft): void {
  const { rng, initial, profile } = draft;
  if (chance(rng, 30)) return;
  if (profile === 'x87') {
    prepareX87(draft);
    return;
  }
  const masks = chance(rng, 75) ? 0x3f : rng.below(64);
  const sticky = chance(rng, 60) ? 0 : rng.below(64);
  const modes = (chance(rng, 20) ? 0x40 : 0) | (chance(rng, 20) ? 0x8000 : 0);
  initial.mxcsr = (rng.below(4) << 13) | (masks << 7) | sticky | modes;
}

/** Packed decimal for FBLD: eighteen digits and a sign. */
export function prepareDecimal(draft: Draft): void {
  const { rng } = draft;
  const digits = Array.from({ length: 9 }, () => (rng.below(10) << 4) | rng.below(10));
  for (let i = rng.below(12); i < 9; i++) digits[i] = pick(rng, [0, 0, 0x99]);
  setMemory(draft, draft.target, [...digits, pick(rng, [0, 0x80])]);
}

/** LDMXCSR: now and then with reserved bits, which is #GP. FLDCW: any bits. */
export function prepareControlWord(draft: Draft): void {
  const { rng, form } = draft;
  const reserved = chance(rng, 15) ? 1 << (16 + rng.below(16)) : 0;
  const word = form.mnemonic === 'LDMXCSR' ? ((rng.next() & 0xffff) | reserved) >>> 0 : rng.next() & 0xffff;
  setMemory(draft, draft.target, littleEndian(word, form.operands[0].size));
}

/** The 28-byte environment (and eight registers after it) that FLDENV and FRSTOR read. */
export function prepareEnvironment(draft: Draft): void {
  const { rng, form } = draft;
  const control = chance(rng, 70) ? 0x37f | (rng.below(4) << 10) : rng.next() & 0xffff;
  const fields = [control, rng.next() & 0xffff, rng.next() & 0xffff, 0, 0, 0, 0];
  const bytes = fields.flatMap((field) => littleEndian(field, 4));
  if (form.operands[0].size > 28) for (let i = 0; i < 8; i++) bytes.push(...biasedBytes(rng, 'x87', 10));
  setMemory(draft, draft.target, bytes);
}

/** The 512-byte area of FXRSTOR. */
export function prepareArea(draft: Draft, always = false): void {
  const { rng, form } = draft;
  if (form.mnemonic !== 'FXRSTOR' && !always) return;
  const control = [
    ...littleEndian(0x37f | (rng.below(4) << 10), 2),
    ...littleEndian(rng.below(8) << 11, 2),
    rng.below(256),
    0,
  ];
  const mxcsr = (rng.next() & 0xffbf) | (chance(rng, 15) ? 0x1_0000 : 0);
  const head = [...control, ...Array.from({ length: 18 }, () => 0), ...littleEndian(mxcsr, 4), 0, 0, 0, 0];
  const registers = Array.from({ length: 8 }, () => [...biasedBytes(rng, 'x87', 10), 0, 0, 0, 0, 0, 0]).flat();
  setMemory(draft, draft.target, [...head, ...registers, ...biasedBytes(rng, 'int', 256)]);
}

/** The area of XSAVE and XRSTOR, and the components asked for: x87 and SSE at most, as cores without AVX have no others. */
export function prepareXsave(draft: Draft): void {
  const { rng, form } = draft;
  setRegister(draft, RAX, BigInt(pick(rng, [0, 1, 2, 3, 3, 3])) | (BigInt(rng.next()) << 32n));
  setRegister(draft, RDX, chance(rng, 80) ? 0n : 1n << 31n);
  if (form.mnemonic === 'XGETBV') return setRegister(draft, RCX, BigInt(2 + rng.below(5)));
  prepareArea(draft, true);
  const compacted = form.mnemonic === 'XRSTOR' && chance(rng, 35);
  // A compacted area with bits reserved in MXCSR faults when part of it is loaded already, which is a processor's own way.
  if (compacted) setMemory(draft, draft.target + 24n, littleEndian(0x1f80 | rng.below(64), 4));
  const present = BigInt(rng.below(4)) | (chance(rng, 6) ? 1n << 40n : 0n);
  const layout = compacted ? (1n << 63n) | BigInt(rng.below(4)) : chance(rng, 8) ? BigInt(rng.below(4)) : 0n;
  const header = [...littleEndian(present, 8), ...littleEndian(layout, 8)];
  header.push(...Array.from({ length: 48 }, (_, i) => (i === rng.below(700) ? 1 : 0)));
  setMemory(draft, draft.target + 512n, header);
}

/** Counts of packed shifts: small and around the element sizes; anything larger gives zeros or signs. */
export function prepareVectorShift(draft: Draft): void {
  const { rng, form, initial, registers } = draft;
  if (chance(rng, 20)) return;
  const count = littleEndian(BigInt(pick(rng, [0, 1, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, rng.below(70)])), 8);
  if (form.memory) setMemory(draft, draft.target, count);
  else if (form.operands[1].kind === 'W') initial.xmm.set(count, registers[1] * 16);
  else initial.x87.st.set(count, ((registers[1] - (initial.x87.fsw >> 11)) & 7) * 10);
}

/** Lengths for PCMPESTRx and operands that are alike for all four. */
export function prepareText(draft: Draft): void {
  const { rng, initial, form, registers } = draft;
  const length = (): bigint =>
    BigInt.asUintN(64, BigInt(pick(rng, [0, 1, 3, 8, 15, 16, 17, 100, -1, -5, -16, rng.below(18)])));
  const mixed = (): bigint => (chance(rng, 25) ? length() | (BigInt(rng.next()) << 32n) : length());
  if (form.mnemonic.startsWith('PCMPE')) {
    setRegister(draft, RAX, mixed());
    setRegister(draft, RDX, mixed());
  }
  if (chance(rng, 25)) return;
  const alphabet = [0x41, 0x42, 0x43, 0x61, 0x7a, 0xff, 0x80];
  const text = (): number[] => {
    const bytes = Array.from({ length: 16 }, () => pick(rng, alphabet));
    if (chance(rng, 60)) bytes[rng.below(16)] = 0;
    if (chance(rng, 40)) bytes.fill(0, rng.below(8) * 2);
    return bytes;
  };
  initial.xmm.set(text(), registers[0] * 16);
  if (form.memory) setMemory(draft, draft.target, text());
  else if (registers[1] !== registers[0]) initial.xmm.set(text(), registers[1] * 16);
}

/** MASKMOVDQU and MASKMOVQ store at DS:RDI. */
export function prepareStore(draft: Draft): void {
  const { rng, form, index, parts } = draft;
  const { size } = form.operands[0];
  const segment = chance(rng, 15) ? pick(rng, [0x64, 0x65]) : undefined;
  if (segment !== undefined) parts.prefixes.unshift(segment);
  const base = segment === 0x64 ? LAYOUT.fsBase : segment === 0x65 ? LAYOUT.gsBase : 0;
  // A store whose mask is zero near a page that is not present may fault or not, by processor: keep away from that.
  const place = placeFor(index, size);
  const at = placeAddress(
    rng,
    place === 'guard' || place === 'crossing-guard' || place === 'read-only' ? 'inside' : place,
    size,
    1,
  );
  setRegister(draft, RDI, BigInt.asUintN(64, at - BigInt(base)));
}
