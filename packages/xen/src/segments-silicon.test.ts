/**
 * The stored answers of a real processor on segments, 16-bit code, far transfers and single-step, asked of a program
 * of a 64-bit guest: the core, its stepper, and Xen's part in segment loads and transfers.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { hypercall, MMUEXT } from '@paravane/abi-xen';
import { Flag, Gpr } from '@paravane/engine-api';
import { createMmu, Pte } from '@paravane/mmu';
import type { Maddr } from '@paravane/types';
import { CORE_BYTES, createX86Engine } from '@paravane/x86';
import { expect, it } from 'vitest';
import {
  COMPARED_FLAGS,
  codeOf,
  compareSegmentCase,
  descriptorOf,
  FLAT_DESCRIPTORS,
  LAYOUT,
  readSegmentCases,
  SEGMENTS,
  type SegmentCase,
  type SegmentState,
  startOf,
} from '../silicon/segments.js';
import { createTestGuest, createTestHypervisor } from './testing/test-machine.js';
import { loadSegment, setCodeSegment } from './traps/segments.js';

const mmu = createMmu({ frames: 4096, coreBytes: CORE_BYTES });
const guest = createTestGuest({}, createTestHypervisor({ mmu, engine: createX86Engine({ mmu }) }));
const { core, vcpu, personality } = guest;
const handlers = guest.page().address;
const stack = guest.page().address + 4096n;
const window: number[] = [];
const code: number[] = [];

/** Maps pages for the program by hand: validation is not what is asked about here. */
function map(address: number, size: number): number[] {
  const table = (parent: number, index: number): number => {
    const at = (parent * 4096 + index * 8) as Maddr;
    const entry = mmu.readU64(at);
    if (entry & 1n) return Number((entry >> 12n) & 0xfffffn);
    const { frame } = guest.page();
    mmu.writeU64(at, (BigInt(frame) << 12n) | BigInt(Pte.present | Pte.rw | Pte.user));
    return frame;
  };
  return Array.from({ length: size / 4096 }, (_, i) => {
    const va = address + i * 4096;
    const l2 = table(table(vcpu.kernelRoot, 0), va >>> 30);
    return table(table(l2, (va >>> 21) & 511), (va >>> 12) & 511);
  });
}

function prepare(): void {
  window.push(...map(LAYOUT.dataBase, LAYOUT.dataSize));
  code.push(...map(LAYOUT.codeBase, LAYOUT.codeSize));
  for (const frame of code) mmu.write(frame as never, 0, new Uint8Array(4096).fill(0xcc));
  vcpu.userRoot = vcpu.kernelRoot;
  const readOnly = (page: { address: bigint; frame: number }): void =>
    expect(guest.call(hypercall.update_va_mapping, page.address, (page.frame << 12) | 5, 0, 2)).toBe(0n) as never;
  const gdt = guest.page();
  for (const [selector, descriptor] of Object.entries(FLAT_DESCRIPTORS))
    mmu.writeU64((gdt.frame * 4096 + (Number(selector) & ~7)) as Maddr, descriptor);
  readOnly(gdt);
  expect(guest.call(hypercall.set_gdt, guest.put(gdt.frame), 512)).toBe(0n);
  const ldt = guest.page();
  SEGMENTS.forEach((segment, i) => mmu.writeU64((ldt.frame * 4096 + i * 8) as Maddr, descriptorOf(segment)));
  readOnly(ldt);
  const setLdt = guest.put(BigInt(MMUEXT.SET_LDT), ldt.address, SEGMENTS.length);
  expect(guest.call(hypercall.mmuext_op, setLdt, 1, 0, 0x7ff0)).toBe(0n);
  const traps = Array.from({ length: 20 }, (_, vector) => [
    BigInt(vector) | (3n << 8n) | (0xe033n << 16n),
    handlers + BigInt(vector * 16),
  ]).flat();
  expect(guest.call(hypercall.set_trap_table, guest.put(...traps, 0, 0))).toBe(0n);
  expect(guest.call(hypercall.stack_switch, 0xe02b, stack)).toBe(0n);
}

const INITIAL_FX = new Uint8Array(512);
new DataView(INITIAL_FX.buffer).setUint16(0, 0x37f, true);
new DataView(INITIAL_FX.buffer).setUint32(24, 0x1f80, true);

const HAS_CODE = new Set([8, 10, 11, 12, 13, 14, 17]);

function run(one: SegmentCase): SegmentState {
  const start = startOf(one);
  const page = new Uint8Array(4096).fill(0xcc);
  page.set(codeOf(one), LAYOUT.instructionAt - LAYOUT.codeBase);
  mmu.write(code[0] as never, 0, page);
  window.forEach((frame, i) => mmu.write(frame as never, 0, start.data.subarray(i * 4096, i * 4096 + 4096)));
  core.spaces[1] = core.spaces[0]!;
  vcpu.guestKernel = false;
  core.mode = 64;
  core.selectors[1] = 0xe033;
  for (const register of [0, 2, 3, 4, 5]) expect(loadSegment(vcpu, register, start.selectors[register]!)).toBeNull();
  setCodeSegment(vcpu, start.selectors[1]!);
  core.regs.set(start.gpr);
  core.writeFxState(INITIAL_FX);
  core.rip = start.rip;
  core.rflags = start.rflags;
  core.debug[6] = 0xffff0ff0n;
  for (let turn = 0; turn < 20; turn++) {
    const exit = core.run(1);
    if (exit.reason !== 'budget') personality.handleExit(vcpu.hv, exit);
    if (vcpu.guestKernel) break;
  }
  expect(vcpu.guestKernel).toBe(true);
  const vector = Number((core.rip - handlers) / 16n);
  const withCode = HAS_CODE.has(vector);
  const frame = Array.from({ length: withCode ? 8 : 7 }, (_, i) => guest.peek(core.regs[Gpr.rsp]! + BigInt(i * 8)));
  const errorCode = withCode ? Number(frame.splice(2, 1)[0]) : 0;
  const [rcx, r11, rip, cs, flags, rsp, ss] = frame as [bigint, bigint, bigint, bigint, bigint, bigint, bigint];
  const gpr = core.regs.slice();
  gpr[1] = rcx;
  gpr[11] = r11;
  gpr[4] = rsp;
  const selectors = [...core.selectors];
  selectors[1] = Number(cs & 0xffffn);
  selectors[2] = Number(ss & 0xffffn);
  // The way back from the processor's kernel clears the RPL of null selectors.
  const shown = selectors.map((selector) => (selector < 4 ? 0 : selector));
  const data = new Uint8Array(LAYOUT.dataSize);
  window.forEach((mfn, i) => data.set(mmu.read(mfn as never, 0, 4096), i * 4096));
  const rflags = (Number(flags) & COMPARED_FLAGS) | Flag.IF | 2;
  const state: SegmentState = { rip, rflags, gpr, selectors: shown, data };
  // A trap behind INT3 or by TF is how a case that went well ends.
  if (vector === 1) return state;
  if (vector === 3) return { ...state, rip: rip - 1n };
  return { ...state, exception: { vector, errorCode, address: vector === 14 ? vcpu.cr2 : 0n } };
}

it('gives the answers of the real processor', () => {
  prepare();
  const text = gunzipSync(readFileSync(new URL('../silicon/segments.json.gz', import.meta.url))).toString();
  const { cases } = readSegmentCases(text);
  expect(cases.length).toBeGreaterThan(4000);
  const differences = cases.flatMap((one) => compareSegmentCase(one, run(one)) ?? []);
  expect(core.rflags & Flag.TF).toBe(0);
  expect(`${differences.length} differ\n${differences.slice(0, 20).join('\n')}`).toBe('0 differ\n');
});
