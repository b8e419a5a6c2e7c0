/**
 * The processor state of a silicon case, and how the state a case starts from is derived from its seed.
 *
 * A stored case names only what differs from a seeded state, so the derivation below is part of the file format:
 * changing one value of it invalidates every stored file (bump `FORMAT_VERSION` and regenerate). It draws values that
 * lie on boundaries (zero, one, all ones, sign bits, powers of two, NaNs, denormals, infinities) about half of the time.
 */

/** Where everything lies while a case runs. Everything not listed is not present. */
export const LAYOUT = {
  /** Two adjacent pages, readable and writable: `CpuSnapshot.data`. */
  dataBase: 0x1000_0000,
  dataSize: 0x2000,
  /** A page that is not present, right after the data pages (so is the one right before them). */
  guardBase: 0x1000_2000,
  /** One page that may be read and not written; its byte i is `backgroundByte(i)`. */
  readOnlyBase: 0x1000_4000,
  readOnlySize: 0x1000,
  /** Two pages, executable, filled with INT3 (0xCC) except for the instruction. */
  codeBase: 0x2000_0000,
  codeSize: 0x2000,
  /** Where the one instruction starts. */
  instructionAt: 0x2000_0800,
  fsBase: 0x1000_0180,
  gsBase: 0x1000_1180,
} as const;

/** ES, CS, SS, DS, FS, GS while a case runs: those of Linux. */
export const SELECTORS: Readonly<Record<64 | 32, readonly number[]>> = {
  64: [0, 0x33, 0x2b, 0, 0, 0],
  32: [0x2b, 0x23, 0x2b, 0x2b, 0, 0],
};

export const RFLAGS = {
  CF: 0x1,
  PF: 0x4,
  AF: 0x10,
  ZF: 0x40,
  SF: 0x80,
  IF: 0x200,
  DF: 0x400,
  OF: 0x800,
  NT: 0x4000,
  AC: 0x4_0000,
  ID: 0x20_0000,
} as const;

/** CF, PF, AF, ZF, SF and OF. */
export const STATUS_FLAGS = 0x8d5;
/** The bits of RFLAGS that snapshots hold; IF and bit 1 are always set, IOPL is 0, RF and TF are always clear. */
export const SNAPSHOT_FLAGS = 0x24_4ed7;

export interface X87Snapshot {
  fcw: number;
  fsw: number;
  /** Abridged tag word of FXSAVE: bit i set means that *physical* register i is not empty. */
  ftw: number;
  fop: number;
  fip: bigint;
  fdp: bigint;
  /** ST(0) to ST(7), ten bytes each, in FXSAVE's order (relative to TOP). MMX registers are their low eight bytes. */
  st: Uint8Array;
}

export interface CpuSnapshot {
  /** RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15. */
  gpr: BigUint64Array;
  rip: bigint;
  rflags: number;
  /** XMM0 to XMM15, sixteen bytes each. */
  xmm: Uint8Array;
  mxcsr: number;
  x87: X87Snapshot;
  /** The `LAYOUT.dataSize` bytes at `LAYOUT.dataBase`. */
  data: Uint8Array;
}

/** Which kind of values vector and x87 registers start with. */
export const PROFILES = ['int', 'f32', 'f64', 'x87', 'mmx'] as const;
export type Profile = (typeof PROFILES)[number];

export interface Rng {
  /** 32 random bits, unsigned. */
  next(): number;
  /** An integer in [0, n). */
  below(n: number): number;
}

/** mulberry32: small, fast, and the same everywhere. */
export function createRng(seed: number): Rng {
  let state = seed | 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  return { next, below: (n) => next() % n };
}

/** The seed of the case with this ordinal in a file. */
export function caseSeed(fileSeed: number, ordinal: number): number {
  return (Math.imul(ordinal + 1, 0x9e3779b1) ^ fileSeed) >>> 0;
}

/** What memory holds where a case names nothing else; no two aligned words of a page are equal by design of the mix. */
export function backgroundByte(offset: number): number {
  const word = Math.imul((offset >>> 2) + 0x3c6ef372, 0x85ebca6b);
  return ((word ^ (word >>> 13)) >>> ((offset & 3) * 8)) & 0xff;
}

const background = Uint8Array.from({ length: LAYOUT.dataSize }, (_, offset) => backgroundByte(offset));

/** A fresh copy of the data window without overrides. */
export function backgroundData(): Uint8Array {
  return background.slice();
}

const NARROW_BOUNDARIES = [
  0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0xfffe, 0xff7f, 0xff80, 0x5555, 0xaaaa,
];
const LOW_BOUNDARIES = [
  0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff,
];

function pick(rng: Rng, values: readonly number[]): number {
  return values[rng.below(values.length)] ?? 0;
}

/** A 64-bit value as [low, high], biased to boundaries of all widths. */
export function biasedPair(rng: Rng): [number, number] {
  const kind = rng.below(32);
  const a = rng.next();
  const b = rng.next();
  if (kind < 8) return [pick(rng, LOW_BOUNDARIES), 0];
  if (kind < 11) return [~pick(rng, LOW_BOUNDARIES) >>> 0, 0xffff_ffff];
  if (kind === 11) return [0xffff_ffff, 0x7fff_ffff];
  if (kind === 12) return [0, 0x8000_0000];
  if (kind === 13) return (a & 32) === 0 ? [(1 << a) >>> 0, 0] : [0, (1 << a) >>> 0];
  if (kind === 14) return (a & 32) === 0 ? [((1 << a) - 1) >>> 0, 0] : [0xffff_ffff, ((1 << a) - 1) >>> 0];
  if (kind === 15) return [a, 0];
  if (kind === 16) return [(a | 0x8000_0000) >>> 0, 0xffff_ffff];
  // Narrow boundaries below random upper bits: what an operation of 8, 16 or 32 bits must not look at.
  if (kind < 20) return [((a & 0xffff_0000) | pick(rng, NARROW_BOUNDARIES)) >>> 0, b];
  if (kind < 23) return [pick(rng, LOW_BOUNDARIES), b];
  return [a, b];
}

export function biased64(rng: Rng): bigint {
  const [low, high] = biasedPair(rng);
  return (BigInt(high) << 32n) | BigInt(low);
}

const SINGLES = [
  0, 0x8000_0000, 0x3f80_0000, 0xbf80_0000, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffc0_0000, 0x7fd2_3456,
  0x7f80_0001, 0x7fa0_0000, 0xff92_3456, 0x0000_0001, 0x807f_ffff, 0x007f_ffff, 0x0080_0000, 0x8080_0001, 0x7f7f_ffff,
  0xff7f_ffff, 0x3f00_0000, 0x3fc0_0000, 0x4020_0000, 0xbf00_0000, 0xc020_0000, 0x4eff_ffff, 0x4f00_0000, 0xcf00_0000,
  0xcf00_0001, 0x5f00_0000, 0xdf00_0000, 0x5eff_ffff, 0x4b00_0001, 0x3f80_0001, 0x3eff_ffff, 0x1f80_0000, 0x2000_0000,
  0x6000_0000,
];

/** The bits of a single-precision value. */
export function biasedSingle(rng: Rng): number {
  const kind = rng.below(16);
  const a = rng.next();
  if (kind < 6) return pick(rng, SINGLES);
  if (kind < 10) return ((a & 0x807f_ffff) | ((0x78 + (a % 17)) << 23)) >>> 0;
  if (kind < 12)
    return ((a & 0x8000_0000) | ((0x7f + (a % 33)) << 23) | (((rng.next() & 0xf) << 19) & 0x7f_ffff)) >>> 0;
  if (kind === 12) return (a & 0x807f_ffff) >>> 0;
  return a;
}

const DOUBLES: readonly (readonly [number, number])[] = [
  [0, 0],
  [0, 0x8000_0000],
  [0, 0x3ff0_0000],
  [0, 0xbff0_0000],
  [0, 0x7ff0_0000],
  [0, 0xfff0_0000],
  [0, 0x7ff8_0000],
  [0, 0xfff8_0000],
  [0x89ab_cdef, 0x7ffa_4567],
  [1, 0x7ff0_0000],
  [0, 0x7ff4_0000],
  [0x1234_5678, 0xfff2_3456],
  [1, 0],
  [0xffff_ffff, 0x800f_ffff],
  [0xffff_ffff, 0x000f_ffff],
  [0, 0x0010_0000],
  [1, 0x8010_0000],
  [0xffff_ffff, 0x7fef_ffff],
  [0xffff_ffff, 0xffef_ffff],
  [0, 0x3fe0_0000],
  [0, 0x3ff8_0000],
  [0, 0x4004_0000],
  [0, 0xbfe0_0000],
  [0, 0xc004_0000],
  [0xffc0_0000, 0x41df_ffff],
  [0, 0x41e0_0000],
  [0, 0xc1e0_0000],
  [0x0020_0000, 0xc1e0_0000],
  [0xffe0_0000, 0x41df_ffff],
  [0, 0x43e0_0000],
  [0, 0xc3e0_0000],
  [0xffff_ffff, 0x43df_ffff],
  [1, 0x3ff0_0000],
  [0xffff_ffff, 0x3fdf_ffff],
  [0, 0x47f0_0000],
  [0xe000_0000, 0x47ef_ffff],
  [0xf000_0000, 0x47ef_ffff],
  [0, 0x3810_0000],
  [0, 0x36a0_0000],
  [0, 0x3690_0000],
  [1, 0x3690_0000],
  [0x1000_0000, 0x3ff0_0000],
  [0x3000_0000, 0x3ff0_0000],
  [0, 0x1ff0_0000],
];

/** The bits of a double-precision value as [low, high]. */
export function biasedDouble(rng: Rng): [number, number] {
  const kind = rng.below(16);
  const a = rng.next();
  const b = rng.next();
  if (kind < 6) {
    const [low, high] = DOUBLES[rng.below(DOUBLES.length)] ?? [0, 0];
    return [low, high];
  }
  if (kind < 10) return [b, ((a & 0x800f_ffff) | ((0x3f8 + (a % 17)) << 20)) >>> 0];
  if (kind < 12) return [0, ((a & 0x8000_0000) | ((0x3ff + (a % 66)) << 20) | ((b & 0xf) << 16)) >>> 0];
  if (kind === 12) return [b, (a & 0x800f_ffff) >>> 0];
  if (kind === 13) return [b, ((a & 0x800f_ffff) | ((0x36a + (b % 320)) << 20)) >>> 0];
  return [b, a];
}

/** Sign and exponent, then the two halves of the significand. */
const EXTENDED: readonly (readonly [number, number, number])[] = [
  [0, 0, 0],
  [0x8000, 0, 0],
  [0x3fff, 0x8000_0000, 0],
  [0xbfff, 0x8000_0000, 0],
  [0x7fff, 0x8000_0000, 0],
  [0xffff, 0x8000_0000, 0],
  [0x7fff, 0xc000_0000, 0],
  [0xffff, 0xc000_0000, 0],
  [0x7fff, 0xc123_4567, 0x89ab_cdef],
  [0x7fff, 0x8000_0000, 1],
  [0xffff, 0xa000_0000, 0],
  [0, 0, 1],
  [0x8000, 0x7fff_ffff, 0xffff_ffff],
  [1, 0x8000_0000, 0],
  [0x7ffe, 0xffff_ffff, 0xffff_ffff],
  [0xfffe, 0xffff_ffff, 0xffff_ffff],
  [0x3ffe, 0x8000_0000, 0],
  [0x3fff, 0xc000_0000, 0],
  [0x4000, 0xa000_0000, 0],
  [0xc000, 0xa000_0000, 0],
  [0x401d, 0xffff_fffe, 0],
  [0x401e, 0x8000_0000, 0],
  [0xc01e, 0x8000_0000, 0],
  [0x403e, 0x8000_0000, 0],
  [0xc03e, 0x8000_0000, 0],
  [0x403d, 0xffff_ffff, 0xffff_fffe],
  [0x403e, 0xffff_ffff, 0xffff_ffff],
  [0x400d, 0xfffe_0000, 0],
  [0x400e, 0x8000_0000, 0],
  [0xc00e, 0x8000_0000, 0],
  [0xc00e, 0x8000_8000, 0],
  [0x43fe, 0xffff_ffff, 0xffff_f800],
  [0x43fe, 0xffff_ffff, 0xffff_fc00],
  [0x3c01, 0x8000_0000, 0],
  [0x3bcd, 0x8000_0000, 0],
  [0x3bcc, 0x8000_0000, 0],
  [0x3f81, 0x8000_0000, 0],
  [0x3f6a, 0x8000_0000, 0],
  [0x407f, 0x8000_0000, 0],
  [0x407e, 0xffff_ff80, 0],
  [0x3fff, 0x8000_0000, 1],
  [0x3fff, 0x8000_0080, 0],
  [0x3fff, 0x8000_0000, 0x400],
  [0x4039, 0xde0b_6b3a, 0x763f_ffff],
  [0x403a, 0xde0b_6b3a, 0x7640_0000],
  // Encodings that the 80387 and later treat as invalid or special: pseudo-denormal, unnormal, pseudo-NaN, pseudo-infinity.
  [0, 0x8000_0000, 0],
  [0, 0x8000_0001, 5],
  [0x3fff, 0x4000_0000, 0],
  [0x7fff, 0x4000_0000, 1],
  [0x7fff, 0, 0],
];

/** Ten bytes of an extended-precision value into `out`. */
export function biasedExtended(rng: Rng, out: Uint8Array, at: number): void {
  const kind = rng.below(16);
  let exponent = rng.next() & 0xffff;
  let high = (rng.next() | 0x8000_0000) >>> 0;
  let low = rng.next();
  if (kind < 6) {
    [exponent, high, low] = EXTENDED[rng.below(EXTENDED.length)] ?? [0, 0, 0];
  } else if (kind < 11) {
    exponent = (exponent & 0x8000) | (0x3ff8 + (low % 17));
    if (kind > 8) low = 0;
  } else if (kind < 14) {
    exponent = (exponent & 0x8000) | (0x3fff + (high % 70));
    high = (0x8000_0000 | (high & 0x7ff0_0000)) >>> 0;
    low = 0;
  }
  const view = new DataView(out.buffer, out.byteOffset + at, 10);
  view.setUint32(0, low, true);
  view.setUint32(4, high, true);
  view.setUint16(8, exponent, true);
}

function fillVectors(rng: Rng, profile: Profile, view: DataView): void {
  for (let at = 0; at < 256; at += 8) {
    if (profile === 'f32') {
      view.setUint32(at, biasedSingle(rng), true);
      view.setUint32(at + 4, biasedSingle(rng), true);
    } else {
      const [low, high] = profile === 'f64' ? biasedDouble(rng) : biasedLanes(rng);
      view.setUint32(at, low, true);
      view.setUint32(at + 4, high, true);
    }
  }
}

const LANE_BYTES = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff];
const LANE_WORDS = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff, 0xff80, 0xff7f, 0xff00];

/** 64 bits whose bytes, words, doublewords or whole lie on boundaries. */
export function biasedLanes(rng: Rng): [number, number] {
  const kind = rng.below(8);
  const bytes = (): number => pick(rng, LANE_BYTES) | (pick(rng, LANE_BYTES) << 8);
  const word = (): number => pick(rng, LANE_WORDS);
  if (kind < 2) return [(bytes() | (bytes() << 16)) >>> 0, (bytes() | (bytes() << 16)) >>> 0];
  if (kind < 4) return [(word() | (word() << 16)) >>> 0, (word() | (word() << 16)) >>> 0];
  if (kind === 4) return [pick(rng, LOW_BOUNDARIES), pick(rng, LOW_BOUNDARIES)];
  return biasedPair(rng);
}

/** A pattern of FXSAVE's state after FNINIT, or filled registers with any TOP. */
function seededX87(rng: Rng, profile: Profile): X87Snapshot {
  const st = new Uint8Array(80);
  if (profile !== 'x87' && profile !== 'mmx') return { fcw: 0x37f, fsw: 0, ftw: 0, fop: 0, fip: 0n, fdp: 0n, st };
  const top = rng.below(8);
  const depth = rng.below(4) === 0 ? rng.below(9) : 4 + rng.below(4);
  let ftw = 0;
  for (let i = 0; i < 8; i++) {
    if (i < depth) ftw |= 1 << ((top + i) & 7);
    if (profile === 'x87') biasedExtended(rng, st, i * 10);
    else {
      const [low, high] = biasedLanes(rng);
      const view = new DataView(st.buffer, i * 10, 10);
      view.setUint32(0, low, true);
      view.setUint32(4, high, true);
      view.setUint16(8, rng.below(3) === 0 ? 0xffff : rng.next() & 0xffff, true);
    }
  }
  const conditionCodes = rng.next() & 0x4700;
  return { fcw: 0x37f, fsw: (top << 11) | conditionCodes, ftw, fop: 0, fip: 0n, fdp: 0n, st };
}

/** The state that a seed stands for, before a case's own overrides. */
export function seededState(seed: number, profile: Profile): CpuSnapshot {
  const rng = createRng(seed);
  const gpr = new BigUint64Array(16);
  const halves = new DataView(gpr.buffer);
  for (let i = 0; i < 16; i++) {
    const [low, high] = biasedPair(rng);
    halves.setUint32(i * 8, low, true);
    halves.setUint32(i * 8 + 4, high, true);
  }
  const rflags = (rng.next() & STATUS_FLAGS) | 0x202;
  const xmm = new Uint8Array(256);
  fillVectors(rng, profile, new DataView(xmm.buffer));
  const x87 = seededX87(rng, profile);
  return { gpr, rip: BigInt(LAYOUT.instructionAt), rflags, xmm, mxcsr: 0x1f80, x87, data: backgroundData() };
}

/** A deep copy. */
export function copySnapshot(from: CpuSnapshot): CpuSnapshot {
  return {
    gpr: from.gpr.slice(),
    rip: from.rip,
    rflags: from.rflags,
    xmm: from.xmm.slice(),
    mxcsr: from.mxcsr,
    x87: { ...from.x87, st: from.x87.st.slice() },
    data: from.data.slice(),
  };
}
