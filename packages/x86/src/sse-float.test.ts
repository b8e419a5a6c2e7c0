/** The inline floating point of generated code must be the exact definitions' in values and flags. */
import { createMmu, Pte } from '@paravane/mmu';
import type { DomId, Mfn } from '@paravane/types';
import { describe, expect, it } from 'vitest';
import { CORE_BYTES, createX86Engine } from './index.js';
import {
  add,
  type Binary,
  convert,
  DOUBLE,
  div,
  FloatContext,
  type Format,
  fromInteger,
  max,
  min,
  mul,
  Rounding,
  SINGLE,
  sqrt,
  sub,
  toInteger,
} from './softfloat.js';

const GUEST = 1 as DomId;
const CODE = 0x400000n;
const MXCSR = 24;
const XMM = 160;

function createCore() {
  const mmu = createMmu({ frames: 64, coreBytes: CORE_BYTES });
  const vcpu = createX86Engine({ mmu }).createVcpu();
  const take = (): Mfn => mmu.frames.allocate(GUEST) as Mfn;
  const tables = [take(), take(), take(), take(), take()];
  const flags = BigInt(Pte.present | Pte.rw | Pte.user);
  for (const [level, table] of tables.slice(0, 4).entries()) {
    const index = Number((CODE >> BigInt(39 - 9 * level)) & 511n);
    mmu.writeU64((table * 4096 + index * 8) as never, (BigInt(tables[level + 1]!) << 12n) | flags);
  }
  vcpu.space = { root: tables[0]!, domid: GUEST, paging: 'long', user: true, wp: true, nxe: true, physical: null };
  vcpu.cr4 = 0x600;
  const fx = new DataView(new ArrayBuffer(512));
  let at = 0;
  return {
    vcpu,
    /** Code for an instruction, once; then run it from a state of XMM0, XMM1, RAX and MXCSR. */
    place(code: number[]): bigint {
      mmu.write(tables[4]!, at, Uint8Array.from(code));
      at += 16;
      return CODE + BigInt(at - 16);
    },
    run(rip: bigint, a: readonly bigint[], b: readonly bigint[], rax: bigint, mxcsr: number) {
      for (const [i, half] of [...a, ...b].entries()) fx.setBigUint64(XMM + i * 8, half, true);
      fx.setUint32(MXCSR, mxcsr, true);
      vcpu.writeFxState(new Uint8Array(fx.buffer));
      vcpu.regs[0] = rax;
      vcpu.rip = rip;
      vcpu.cr0 = 0;
      const fault = vcpu.run(1).reason === 'exception';
      const after = new DataView(vcpu.readFxState().buffer);
      const result = [after.getBigUint64(XMM, true), after.getBigUint64(XMM + 8, true)];
      return { result, rax: vcpu.regs[0]!, mxcsr: after.getUint32(MXCSR, true), fault };
    },
  };
}
const core = createCore();

/** Values of everyday programs and the edges of the formats, half and half. */
function createValues(f: Format): () => bigint {
  let state = 99n;
  const next = (): bigint => {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
    return state >> 11n;
  };
  const sign = 1n << BigInt(f.bits - 1);
  const one = f.infinity >> 1n;
  const unit = 1n << BigInt(f.precision - 1);
  const edges = [
    0n,
    1n,
    unit - 1n,
    unit,
    unit + 1n,
    f.infinity - 1n,
    f.infinity,
    f.infinity | 1n,
    f.defaultNan,
    one & ~(unit - 1n),
  ];
  const context = new FloatContext(0x1f80);
  return () => {
    const kind = Number(next() % 8n);
    const negative = next() % 2n === 0n ? sign : 0n;
    if (kind < 2) return edges[Number(next() % BigInt(edges.length))]! | negative;
    if (kind < 4) return fromInteger(context, f, (next() % 4000n) - 2000n);
    const exponent = BigInt(2 ** (f.exponentBits - 1) - 1) + (next() % 60n) - 30n;
    return (exponent << BigInt(f.precision - 1)) | (next() % unit) | negative;
  };
}
const split = (v: readonly bigint[], f: Format): bigint[] =>
  f === DOUBLE ? [...v] : v.flatMap((half) => [half & 0xffffffffn, half >> 32n]);
const join = (lanes: readonly bigint[], f: Format): bigint[] =>
  f === DOUBLE ? [...lanes] : [lanes[0]! | (lanes[1]! << 32n), lanes[2]! | (lanes[3]! << 32n)];

/** MXCSR as at reset, with PE raised before, with another rounding mode, DAZ and FTZ, and unmasked. */
const MODES = [0x1f80, 0x1fa0, 0x7fa0, 0x3f80, 0x9fe0, 0x0fa0, 0x1e20];
const ROUNDS = 300;
const FORMS: [string, Format, number, number[]][] = [
  ['SS', SINGLE, 1, [0xf3]],
  ['SD', DOUBLE, 1, [0xf2]],
  ['PS', SINGLE, 4, []],
  ['PD', DOUBLE, 2, [0x66]],
];
const OPERATIONS: [string, number, Binary][] = [
  ['ADD', 0x58, add],
  ['MUL', 0x59, mul],
  ['SUB', 0x5c, sub],
  ['MIN', 0x5d, min],
  ['DIV', 0x5e, div],
  ['MAX', 0x5f, max],
  ['SQRT', 0x51, (c, f, _a, b) => sqrt(c, f, b)],
];

describe.each(FORMS)('%s', (_suffix, f, lanes, prefix) => {
  it.each(OPERATIONS)('%s is exact', (_name, opcode, operation) => {
    const value = createValues(f);
    const rip = core.place([...prefix, 0x0f, opcode, 0xc1]);
    const vector = (): bigint[] => join(Array.from({ length: f === DOUBLE ? 2 : 4 }, value), f);
    for (const mxcsr of MODES) {
      for (let round = 0; round < ROUNDS; round++) {
        const [a, b] = [vector(), vector()];
        const context = new FloatContext(mxcsr);
        const [x, y] = [split(a, f), split(b, f)];
        const expected = x.map((lane, i) => (i < lanes ? operation(context, f, lane, y[i]!) : lane));
        const state = context.finish();
        const got = core.run(rip, a, b, 0n, mxcsr);
        expect({ ...got, a, b }).toEqual({ a, b, rax: 0n, ...state, result: state.fault ? a : join(expected, f) });
      }
    }
  });
});

describe('conversions', () => {
  const toIntegers: [string, Format, number[], number, boolean][] = [
    ['CVTTSD2SI r64', DOUBLE, [0xf2, 0x48, 0x0f, 0x2c, 0xc1], 64, true],
    ['CVTTSD2SI r32', DOUBLE, [0xf2, 0x0f, 0x2c, 0xc1], 32, true],
    ['CVTSD2SI r32', DOUBLE, [0xf2, 0x0f, 0x2d, 0xc1], 32, false],
    ['CVTSS2SI r64', SINGLE, [0xf3, 0x48, 0x0f, 0x2d, 0xc1], 64, false],
    ['CVTTSS2SI r32', SINGLE, [0xf3, 0x0f, 0x2c, 0xc1], 32, true],
  ];
  it.each(toIntegers)('%s is exact', (_name, f, code, width, truncate) => {
    const value = createValues(f);
    const rip = core.place(code);
    for (const mxcsr of MODES) {
      for (let round = 0; round < ROUNDS; round++) {
        const a = value();
        const context = new FloatContext(mxcsr);
        const integer = toInteger(context, f, a, width, truncate ? Rounding.zero : context.rounding);
        const state = context.finish();
        const { rax, mxcsr: after, fault } = core.run(rip, [0n, 0n], [a, 0n], 7n, mxcsr);
        expect({ a, rax, mxcsr: after, fault }).toEqual({ a, ...state, rax: state.fault ? 7n : integer });
      }
    }
  });
  const betweenFormats: [string, Format, Format, number, number[]][] = [
    ['CVTSD2SS', DOUBLE, SINGLE, 1, [0xf2, 0x0f, 0x5a, 0xc1]],
    ['CVTSS2SD', SINGLE, DOUBLE, 1, [0xf3, 0x0f, 0x5a, 0xc1]],
    ['CVTPD2PS', DOUBLE, SINGLE, 2, [0x66, 0x0f, 0x5a, 0xc1]],
    ['CVTPS2PD', SINGLE, DOUBLE, 2, [0x0f, 0x5a, 0xc1]],
  ];
  it.each(betweenFormats)('%s is exact', (_name, from, to, lanes, code) => {
    const value = createValues(from);
    const rip = core.place(code);
    for (const mxcsr of MODES) {
      for (let round = 0; round < ROUNDS; round++) {
        const source = [value(), value()];
        const b = from === DOUBLE ? source : [source[0]! | (source[1]! << 32n), 0n];
        const context = new FloatContext(mxcsr);
        const converted = source.slice(0, lanes).map((lane) => convert(context, from, to, lane));
        const state = context.finish();
        const [low, high] =
          to === DOUBLE ? [converted[0]!, converted[1] ?? 0n] : [converted[0]! | ((converted[1] ?? 0n) << 32n), 0n];
        const got = core.run(rip, [0n, 0n], b, 0n, mxcsr);
        expect({ ...got, b }).toEqual({ b, rax: 0n, ...state, result: state.fault ? [0n, 0n] : [low, high] });
      }
    }
  });
  const fromIntegers: [string, Format, number[], number][] = [
    ['CVTSI2SD r64', DOUBLE, [0xf2, 0x48, 0x0f, 0x2a, 0xc0], 64],
    ['CVTSI2SD r32', DOUBLE, [0xf2, 0x0f, 0x2a, 0xc0], 32],
    ['CVTSI2SS r64', SINGLE, [0xf3, 0x48, 0x0f, 0x2a, 0xc0], 64],
    ['CVTSI2SS r32', SINGLE, [0xf3, 0x0f, 0x2a, 0xc0], 32],
  ];
  it.each(fromIntegers)('%s is exact', (_name, f, code, width) => {
    const rip = core.place(code);
    const value = createValues(DOUBLE);
    for (const mxcsr of MODES) {
      for (let round = 0; round < ROUNDS; round++) {
        const integer = round % 2 === 0 ? value() : value() >> BigInt(round % 64);
        const context = new FloatContext(mxcsr);
        const converted = fromInteger(context, f, BigInt.asIntN(width, integer));
        const state = context.finish();
        const got = core.run(rip, [0n, 0n], [0n, 0n], integer, mxcsr);
        expect({ ...got }).toEqual({ rax: integer, ...state, result: state.fault ? [0n, 0n] : [converted, 0n] });
      }
    }
  });
});

describe('where SSE is not to be used', () => {
  const CODES: [string, number[]][] = [
    ['MOVAPS', [0x0f, 0x28, 0xc1]],
    ['ADDPS from memory', [0x0f, 0x58, 0x00]],
    ['DPPS', [0x66, 0x0f, 0x3a, 0x40, 0xc1, 0xff]],
  ];
  it.each(CODES)('%s raises #NM under CR0.TS and #UD under CR0.EM', (_name, code) => {
    const rip = core.place(code);
    for (const [cr0, vector] of [
      [8, 7],
      [4, 6],
      [12, 6],
    ] as const) {
      core.vcpu.cr0 = cr0;
      core.vcpu.rip = rip;
      expect(core.vcpu.run(1)).toMatchObject({ reason: 'exception', vector, errorCode: -1 });
      expect(core.vcpu.rip).toBe(rip);
    }
    core.vcpu.cr0 = 0;
  });
  it('a memory operand that is not aligned raises #GP, before its page is looked at', () => {
    for (const code of [
      [0x0f, 0x28, 0x00],
      [0x0f, 0x58, 0x00],
      [0x66, 0x0f, 0x3a, 0x40, 0x00, 0xff],
    ]) {
      core.vcpu.rip = core.place(code);
      core.vcpu.regs[0] = 0x700008n;
      expect(core.vcpu.run(1)).toMatchObject({ reason: 'exception', vector: 13, errorCode: 0 });
    }
  });
});
