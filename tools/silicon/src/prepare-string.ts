/** Sets up string instructions: pointers, counts, direction, repeat and segment prefixes. */

import { LAYOUT, RFLAGS } from '../../../packages/x86/silicon/state.js';
import { biasedBytes, chance, type Draft, pick, RCX, RDI, RSI, setMemory, setRegister } from './draft.js';
import { littleEndian } from './encode.js';

/** Where a run of `bytes` from `at` in either direction ends up, so that both ends are chosen on purpose. */
function startFor(draft: Draft, place: number, bytes: number, width: number, down: boolean): number {
  const { rng } = draft;
  const { dataBase, guardBase, readOnlyBase } = LAYOUT;
  const inside = dataBase + 0x300 + rng.below(0xa00);
  switch (place) {
    case 0: // Over the boundary between the two pages.
      return dataBase + 0x1000 + (down ? 1 : -1) * rng.below(bytes + 1) - (down ? width : 0);
    case 1: // Into a page that is not present.
      return down ? dataBase + rng.below(bytes + 1) : guardBase - rng.below(bytes + 1);
    case 2:
      return readOnlyBase + 0x800 - (down ? width : 0) + rng.below(0x100);
    default:
      return inside + (chance(rng, 50) ? 0 : 0xd00);
  }
}

export function prepareString(draft: Draft): void {
  const { form, rng, parts, initial, index } = draft;
  const width = form.width || 1;
  const compares = /^(CMPS|SCAS)/.test(form.mnemonic);
  const repeat = chance(rng, 75);
  if (repeat) parts.prefixes.push(compares ? pick(rng, [0xf2, 0xf3]) : 0xf3);
  const down = chance(rng, 40);
  initial.rflags = down ? initial.rflags | RFLAGS.DF : initial.rflags & ~RFLAGS.DF;
  const count = repeat ? pick(rng, [0, 1, 2, 3, 5, 8, 17, 33, rng.below(100)]) : 1;
  const bytes = count * width;
  const narrow = form.mode === 32;
  const short = chance(rng, 12) && !narrow;
  const segment =
    chance(rng, 12) && !narrow && /^(MOVS|LODS|CMPS)/.test(form.mnemonic) ? pick(rng, [0x64, 0x65]) : undefined;
  if (short) parts.prefixes.push(0x67);
  if (segment !== undefined) parts.prefixes.push(segment);
  const base = segment === 0x64 ? LAYOUT.fsBase : segment === 0x65 ? LAYOUT.gsBase : 0;
  const source = startFor(draft, index % 7 === 2 ? rng.below(3) : 9, bytes, width, down);
  // Sometimes the two overlap, at distances smaller and larger than an element.
  const overlaps = form.mnemonic.startsWith('MOVS') && chance(rng, 25);
  const away = pick(rng, [1, -1, width, -width, 2 * width, 7, -16]);
  const destination = overlaps
    ? source + away
    : startFor(draft, index % 7 === 5 ? rng.below(3) : 9, bytes, width, down);
  const upper = (value: number): bigint =>
    (BigInt.asUintN(64, BigInt(value)) & (short ? 0xffff_ffffn : ~0n)) | (short ? BigInt(rng.next()) << 32n : 0n);
  if (/^(MOVS|LODS|CMPS)/.test(form.mnemonic)) setRegister(draft, RSI, upper(source - base));
  if (!form.mnemonic.startsWith('LODS')) setRegister(draft, RDI, upper(destination));
  if (repeat) setRegister(draft, RCX, upper(count));
  if (!compares) return;
  // Equal (or unequal, for REPNE) up to some element.
  const value = biasedBytes(rng, 'int', width);
  const step = down ? -width : width;
  const stop = rng.below(count + 2);
  const equal = !parts.prefixes.includes(0xf2);
  const scan = form.mnemonic.startsWith('SCAS');
  if (scan)
    setRegister(
      draft,
      0,
      value.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n),
      width,
    );
  for (let i = 0; i < count; i++) {
    const same = i < stop ? equal : !equal;
    const other = [...value];
    if (!same) other[rng.below(width)] ^= 1 << rng.below(8);
    if (!scan) setMemory(draft, BigInt(source + i * step), value);
    setMemory(draft, BigInt(destination + i * step), other);
  }
  if (chance(rng, 10)) setMemory(draft, BigInt(destination), littleEndian(rng.next(), Math.min(width, 4)));
}
