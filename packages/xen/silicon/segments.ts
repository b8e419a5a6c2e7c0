/**
 * Cases on segments and single-step: one instruction (or what TF lets pass for one) in 64-, 32- or 16-bit code, with
 * selectors of the descriptors below, as a real processor answered it. Kept as JSON, one object a line after a first
 * line that names the processor.
 */

/** Where everything lies: as in `LAYOUT` of `packages/x86/silicon`, whose native runner answers these cases too. */
export const LAYOUT = {
  /** Two pages, readable and writable, with nothing around them. */
  dataBase: 0x1000_0000,
  dataSize: 0x2000,
  /** Two pages of INT3 around the instruction. */
  codeBase: 0x2000_0000,
  codeSize: 0x2000,
  instructionAt: 0x2000_0800,
} as const;
/** What of RFLAGS is compared: the arithmetic flags, IF, DF, NT, AC and ID. */
export const COMPARED_FLAGS = 0x24_4ed7;

/** ES, CS, SS, DS, FS, GS. */
export type Selectors = readonly number[];

export interface SegmentCase {
  /** What is asked. */
  name: string;
  /** Bytes at `LAYOUT.instructionAt`; INT3 around them. */
  code: string;
  selectors: Selectors;
  /** An offset in CS. */
  rip: number;
  rflags: number;
  /** Registers that do not start as `startRegister` says, by number. */
  gpr: Record<number, string>;
  /** Bytes of the data window that are not the background, by offset. */
  data: Record<number, string>;
  after: {
    rip: number;
    rflags: number;
    /** What changed. */
    gpr: Record<number, string>;
    selectors?: Selectors;
    data: Record<number, string>;
    exception?: { vector: number; errorCode: number; address: number };
  };
}

export interface SegmentState {
  rip: bigint;
  rflags: number;
  gpr: BigUint64Array;
  selectors: number[];
  data: Uint8Array;
  exception?: { vector: number; errorCode: number; address: bigint };
}

export const startRegister = (n: number): bigint => BigInt(0x1111_1111 * (n < 8 ? n + 1 : 15));

const CODE = LAYOUT.codeBase;
const DATA = LAYOUT.dataBase;
/** Type, S, DPL 3 and P of a descriptor, its D/B and G in bits 14 and 15, as `Segment.rights` of the engine API. */
const [DATA_RW, DATA_RO, DOWN_RW, CODE_XR, CODE_X, CONFORMING_XR] = [0xf3, 0xf1, 0xf7, 0xfb, 0xf9, 0xff];
const [BIG, PAGES, ABSENT] = [0x4000, 0x8000, 0x80];

/** Entries of the LDT, selected by 8 × index + 7. The native runner has the same. */
export const SEGMENTS: readonly { base: number; limit: number; rights: number }[] = [
  { base: DATA, limit: 0x1fff, rights: BIG | DATA_RW },
  { base: DATA, limit: 0xff, rights: BIG | DATA_RW },
  { base: DATA, limit: 0x1fff, rights: BIG | DATA_RO },
  { base: DATA, limit: 0xfff, rights: BIG | DOWN_RW },
  { base: DATA - 0xe000, limit: 0xefff, rights: DOWN_RW },
  { base: DATA, limit: 0x1fff, rights: DATA_RW },
  { base: CODE, limit: 0x1fff, rights: BIG | CODE_XR },
  { base: CODE, limit: 0x1fff, rights: CODE_XR },
  { base: CODE, limit: 0x81f, rights: BIG | CODE_X },
  { base: CODE, limit: 0x1fff, rights: (BIG | CONFORMING_XR) & ~ABSENT },
  { base: DATA, limit: 0x1fff, rights: (BIG | DATA_RW) & ~ABSENT },
  { base: CODE, limit: 0x1fff, rights: (BIG | CODE_XR) & ~ABSENT },
  { base: DATA, limit: 1, rights: PAGES | BIG | DATA_RW },
  { base: CODE, limit: 0x81f, rights: CODE_XR },
];
/** Linux's flat segments in the GDT. */
export const FLAT = { code32: 0x23, data: 0x2b, code64: 0x33 } as const;
export const FLAT_DESCRIPTORS: Readonly<Record<number, bigint>> = {
  [FLAT.code32]: 0x00cffb000000ffffn,
  [FLAT.data]: 0x00cff3000000ffffn,
  [FLAT.code64]: 0x00affb000000ffffn,
};

export function descriptorOf({ base, limit, rights }: (typeof SEGMENTS)[number]): bigint {
  const low = BigInt(limit & 0xffff) | (BigInt(base & 0xffffff) << 16n) | (BigInt(rights & 0xff) << 40n);
  return low | (BigInt((limit >> 16) & 0xf) << 48n) | (BigInt(rights >> 12) << 52n) | (BigInt(base >>> 24) << 56n);
}

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
export const hexOf = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
export const codeOf = ({ code }: Pick<SegmentCase, 'code'>): Uint8Array => bytesOf(code);

const BACKGROUND = Uint8Array.from({ length: LAYOUT.dataSize }, (_, i) => (i * 167) ^ (i >> 7));

/** The state that a case starts in. */
export function startOf({ selectors, rip, rflags, gpr, data }: Omit<SegmentCase, 'after'>): SegmentState {
  const registers = new BigUint64Array(16);
  for (let n = 0; n < 16; n++) registers[n] = gpr[n] === undefined ? startRegister(n) : BigInt(gpr[n]!);
  const window = BACKGROUND.slice();
  for (const [offset, bytes] of Object.entries(data)) window.set(bytesOf(bytes), Number(offset));
  return { rip: BigInt(rip), rflags, gpr: registers, selectors: [...selectors], data: window };
}

/** The state that the processor left. */
export function endOf(one: SegmentCase): SegmentState {
  const { after } = one;
  const state = startOf(one);
  state.rip = BigInt(after.rip);
  state.rflags = after.rflags;
  for (const [n, value] of Object.entries(after.gpr)) state.gpr[Number(n)] = BigInt(value);
  if (after.selectors) state.selectors = [...after.selectors];
  for (const [offset, bytes] of Object.entries(after.data)) state.data.set(bytesOf(bytes), Number(offset));
  if (after.exception) state.exception = { ...after.exception, address: BigInt(after.exception.address) };
  return state;
}

/** How an engine's answer differs from the processor's; null if it does not. */
export function compareSegmentCase(one: SegmentCase, actual: SegmentState): string | null {
  const expected = endOf(one);
  const text = (state: SegmentState): string[] => [
    `rip ${state.rip.toString(16)}`,
    `rflags ${state.rflags.toString(16)}`,
    ...Array.from(state.gpr, (value, n) => `r${n} ${value.toString(16)}`),
    `selectors ${state.selectors.map((selector) => selector.toString(16)).join(' ')}`,
    state.exception
      ? `vector ${state.exception.vector} error ${state.exception.errorCode} at ${state.exception.address.toString(16)}`
      : 'no exception',
  ];
  const [want, got] = [text(expected), text(actual)];
  const lines = want.flatMap((line, i) => (line === got[i] ? [] : [`  expected ${line}, actual ${got[i]}`]));
  let at = 0;
  while (at < LAYOUT.dataSize && expected.data[at] === actual.data[at]) at++;
  if (at < LAYOUT.dataSize) {
    const piece = (data: Uint8Array): string => hexOf(data.subarray(at, at + 16));
    lines.push(`  at ${at.toString(16)} expected ${piece(expected.data)}, actual ${piece(actual.data)}`);
  }
  return lines.length === 0 ? null : [`${one.name}: ${one.code}`, ...lines].join('\n');
}

export interface SegmentFile {
  vendor: string;
  model: string;
  cases: SegmentCase[];
}

/** Opens a file's text, already gunzipped. */
export function readSegmentCases(text: string): SegmentFile {
  const [head, ...lines] = text.trimEnd().split('\n');
  return { ...(JSON.parse(head!) as Omit<SegmentFile, 'cases'>), cases: lines.map((line) => JSON.parse(line)) };
}
