/** Runs silicon cases on an engine: the memory layout of the cases, and exits told as the exceptions a processor raises. */
import { type Exit, Seg, type Segment, type VcpuCore } from '@paravane/engine-api';
import { createMmu, type Mmu, Pte } from '@paravane/mmu';
import type { DomId, Maddr, Mfn } from '@paravane/types';
import {
  backgroundByte,
  type CaseResult,
  type CaseRunner,
  type CpuSnapshot,
  LAYOUT,
  SELECTORS,
} from '../../silicon/format.js';
import { CORE_BYTES, createX86Engine } from '../index.js';

const GUEST = 1 as DomId;
const RFLAGS_MASK = 0x244ed7;
const CR4 = 0x50660;
/** All of the address space, so that nothing but operand and address sizes is another. */
const CODE16: Segment = { base: 0n, limit: 0xffffffff, rights: 0x80fb };

/**
 * @param oneByOne run just the one instruction, as at the end of a budget; otherwise on into the INT3 behind it
 * @param before may do the instruction some other way; the engine then goes on from where it leaves the vCPU
 * @param small 32-bit code is 16-bit code: its segment's D bit is clear
 */
export function createCaseRunner(
  oneByOne = false,
  before: (mmu: Mmu, vcpu: VcpuCore, code: Uint8Array) => void = () => undefined,
  small = false,
): CaseRunner {
  const mmu = createMmu({ frames: 64, coreBytes: CORE_BYTES });
  const engine = createX86Engine({ mmu });
  const vcpu = engine.createVcpu();
  const take = (): Mfn => mmu.frames.allocate(GUEST) as Mfn;
  const [root, l3, l2] = [take(), take(), take()];
  const tables = BigInt(Pte.present | Pte.rw | Pte.user);
  const entry = (table: Mfn, index: number): Maddr => (table * 4096 + index * 8) as Maddr;
  mmu.writeU64(entry(root, 0), (BigInt(l3) << 12n) | tables);
  mmu.writeU64(entry(l3, 0), (BigInt(l2) << 12n) | tables);
  const map = (address: number, size: number, writable: boolean): Mfn[] =>
    Array.from({ length: size / 4096 }, (_, i) => {
      const va = address + i * 4096;
      let l1 = Number(mmu.readU64(entry(l2, va >>> 21)) >> 12n) as Mfn;
      if (l1 === 0) mmu.writeU64(entry(l2, va >>> 21), (BigInt((l1 = take())) << 12n) | tables);
      const mfn = take();
      mmu.writeU64(
        entry(l1, (va >>> 12) & 511),
        (BigInt(mfn) << 12n) | BigInt(Pte.present | Pte.user | (writable ? Pte.rw : 0)),
      );
      return mfn;
    });
  const data = map(LAYOUT.dataBase, LAYOUT.dataSize, true);
  const [readOnly] = map(LAYOUT.readOnlyBase, LAYOUT.readOnlySize, false);
  const code = map(LAYOUT.codeBase, LAYOUT.codeSize, false);
  mmu.write(
    readOnly!,
    0,
    Uint8Array.from({ length: 4096 }, (_, i) => backgroundByte(i)),
  );
  const breakpoints = new Uint8Array(4096).fill(0xcc);
  for (const mfn of code) mmu.write(mfn, 0, breakpoints);
  vcpu.space = { root, domid: GUEST, paging: 'long', user: true, wp: true, nxe: true, physical: null };
  vcpu.cr0 = 0x80050033;
  vcpu.cr4 = CR4;
  vcpu.xcr0 = 3;
  const at = LAYOUT.instructionAt - LAYOUT.codeBase;

  return {
    run(bytes, initial, mode = 64) {
      vcpu.mode = mode;
      vcpu.selectors.set(SELECTORS[mode]);
      if (small) vcpu.setSegment(Seg.cs, SELECTORS[mode][Seg.cs]!, CODE16);
      mmu.write(code[0]!, at, bytes);
      load(vcpu, initial);
      data.forEach((mfn, i) => mmu.write(mfn, 0, initial.data.subarray(i * 4096, i * 4096 + 4096)));
      before(mmu, vcpu, bytes);
      const exit = vcpu.run(oneByOne ? 1 : 200_000);
      const result: CaseResult = { final: snapshot(vcpu) };
      data.forEach((mfn, i) => result.final.data.set(mmu.read(mfn, 0, 4096), i * 4096));
      mmu.write(code[0]!, at, breakpoints.subarray(0, bytes.length));
      const exception = told(exit, vcpu, result.final, bytes);
      return exception ? { ...result, exception } : result;
    },
  };
}

function load(vcpu: VcpuCore, s: CpuSnapshot): void {
  vcpu.regs.set(s.gpr);
  vcpu.rip = s.rip;
  vcpu.rflags = s.rflags;
  vcpu.fsBase = BigInt(LAYOUT.fsBase);
  vcpu.gsBase = BigInt(LAYOUT.gsBase);
  const fx = new Uint8Array(512);
  const view = new DataView(fx.buffer);
  view.setUint16(0, s.x87.fcw, true);
  view.setUint16(2, s.x87.fsw, true);
  view.setUint8(4, s.x87.ftw);
  view.setUint16(6, s.x87.fop, true);
  view.setBigUint64(8, s.x87.fip, true);
  view.setBigUint64(16, s.x87.fdp, true);
  view.setUint32(24, s.mxcsr, true);
  for (let i = 0; i < 8; i++) fx.set(s.x87.st.subarray(i * 10, i * 10 + 10), 32 + i * 16);
  fx.set(s.xmm, 160);
  vcpu.writeFxState(fx);
}

function snapshot(vcpu: VcpuCore): CpuSnapshot {
  const fx = vcpu.readFxState();
  const view = new DataView(fx.buffer);
  const st = new Uint8Array(80);
  for (let i = 0; i < 8; i++) st.set(fx.subarray(32 + i * 16, 42 + i * 16), i * 10);
  return {
    gpr: vcpu.regs.slice(),
    rip: vcpu.rip,
    rflags: (vcpu.rflags & RFLAGS_MASK) | 0x202,
    xmm: fx.slice(160, 416),
    mxcsr: view.getUint32(24, true),
    x87: {
      fcw: view.getUint16(0, true),
      fsw: view.getUint16(2, true),
      ftw: fx[4]!,
      fop: view.getUint16(6, true),
      fip: view.getBigUint64(8, true),
      fdp: view.getBigUint64(16, true),
      st,
    },
    data: new Uint8Array(LAYOUT.dataSize),
  };
}

/** Not #GP, but #UD: as if they were no instructions. */
const UNDEFINED_TO_PROGRAMS: ReadonlySet<string> = new Set(['MONITOR', 'MWAIT']);

/** The exception that user mode gets for an exit; none where the INT3 behind the instruction was reached. */
function told(exit: Exit, vcpu: VcpuCore, final: CpuSnapshot, code: Uint8Array): CaseResult['exception'] {
  const gp = (errorCode: number): CaseResult['exception'] => ({ vector: 13, errorCode, address: 0n });
  switch (exit.reason) {
    case 'exception':
      return {
        vector: exit.vector,
        errorCode: Math.max(exit.errorCode, 0),
        address: exit.vector === 14 ? exit.address : 0n,
      };
    case 'privileged':
      final.rip = BigInt(LAYOUT.instructionAt);
      return UNDEFINED_TO_PROGRAMS.has(exit.instruction!.mnemonic) ? { vector: 6, errorCode: 0, address: 0n } : gp(0);
    case 'halt':
      final.rip = BigInt(LAYOUT.instructionAt);
      return gp(0);
    case 'interrupt':
      if (exit.vector === 3 && exit.length === 1) {
        final.rip = vcpu.rip - 1n;
        return undefined;
      }
      // INT1's trap and INTO's exception need no rights.
      if (exit.vector === 1 && code[exit.length - 1] === 0xf1) return undefined;
      if (exit.vector === 4 && code[exit.length - 1] === 0xce) return { vector: 4, errorCode: 0, address: 0n };
      final.rip = BigInt(LAYOUT.instructionAt);
      return gp(exit.vector * 8 + 2);
    default:
      return undefined;
  }
}
