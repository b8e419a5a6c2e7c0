/**
 * Hypercall 23 of a 32-bit PV kernel, iret: back to where an event or exception
 * came from, or out to a program (compat_iret of pv/iret.c).
 */
import { Flag, Gpr, Seg, Vector } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { readGuest, writeGuest } from '../guest-memory.js';
import { bounceSegmentFault } from './exceptions.js';
import { setUpcallMask } from './frame.js';
import { setRing } from './mode.js';
import {
  dropInnerSegments,
  dropNullSelectors,
  loadSegment,
  returnFault,
  setCodeSegment,
  setStackSegment,
} from './segments.js';

const IRET_BYTES = 16;
/** Words of a frame of virtual-8086 mode: EAX or an error code, EIP, CS, EFLAGS, ESP, SS, ES, DS, FS, GS. */
const VM86_WORDS = 10;

function readWords(vcpu: XenVcpu, at: bigint, count: number): Uint32Array | null {
  const bytes = readGuest(vcpu, at, 4 * count);
  return bytes && new Uint32Array(bytes.slice().buffer);
}

/** EAX, EIP, CS, EFLAGS and, to a program, ESP and SS are on the stack. */
export function compatIret(vcpu: XenVcpu): void {
  const { core, domain } = vcpu;
  const { regs } = core;
  const sp = regs[Gpr.rsp]! & 0xffffffffn;
  const crash = (): void => domain.crash(`fault while reading the iret frame at ${sp.toString(16)}`, vcpu);
  const frame = readWords(vcpu, sp, IRET_BYTES / 4);
  if (!frame) return crash();
  const [eax, eip, csWord, eflags] = frame as unknown as [number, number, number, number];
  const cs = csWord & 0xffff;
  if (vcpu.showsIopl) vcpu.iopl = (eflags & Flag.IOPL) >> 12;
  core.rflags = (eflags & ~(Flag.IOPL | Flag.VM)) | Flag.IF | 2;
  regs[Gpr.rax] = BigInt(eax);
  if (eflags & Flag.VM) return refuseVm86(vcpu, sp, eflags);
  if ((cs & 3) === 0) return domain.crash('return to ring 0', vcpu);
  const outer = (cs & 3) === 1 ? null : readWords(vcpu, sp + BigInt(IRET_BYTES), 2);
  if ((cs & 3) !== 1 && !outer) return crash();
  regs[Gpr.rsp] = outer ? BigInt(outer[0]!) : (sp + BigInt(IRET_BYTES)) & 0xffffffffn;
  core.rip = BigInt(eip);
  setUpcallMask(vcpu, eflags & Flag.IF ? 0 : 1);
  vcpu.nmiInProgress = false;
  // What the processor checks when it returns: the fault is reported where the return leads to.
  const ss = outer ? outer[1]! & 0xffff : null;
  const fault = returnFault(vcpu, cs, ss, cs & 3, core.rip);
  if (fault !== null) {
    core.selectors[Seg.cs] = cs;
    if (ss !== null) core.selectors[Seg.ss] = ss;
    setRing(vcpu, cs);
    bounceSegmentFault(vcpu, fault);
    return;
  }
  if (ss !== null) loadSegment(vcpu, Seg.ss, ss, cs & 3);
  setCodeSegment(vcpu, cs);
  dropNullSelectors(vcpu);
  if (outer) dropInnerSegments(vcpu);
}

/**
 * There is no virtual-8086 mode: the frame moves to the kernel's stack, and the handler of #GP finds it as if the first
 * instruction in that mode had faulted.
 */
function refuseVm86(vcpu: XenVcpu, sp: bigint, eflags: number): void {
  const { core, domain, kernelSp, kernelSs } = vcpu;
  const handler = vcpu.traps[Vector.GP]!;
  const target = BigInt.asUintN(32, kernelSp - BigInt(4 * VM86_WORDS));
  const words = readWords(vcpu, sp, VM86_WORDS);
  words?.fill(0, 0, 1);
  const isUnset = (handler.cs & 0xfffc) === 0;
  if (isUnset || !words || !writeGuest(vcpu, target, new Uint8Array(words.buffer))) {
    domain.crash(`fault while moving a frame of virtual-8086 mode to ${target.toString(16)}`, vcpu);
    return;
  }
  core.rflags &= ~(Flag.RF | Flag.NT | Flag.TF);
  core.regs[Gpr.rsp] = target;
  core.rip = handler.address;
  setUpcallMask(vcpu, eflags & Flag.IF && !handler.masksEvents ? 0 : 1);
  vcpu.nmiInProgress = false;
  setStackSegment(vcpu, kernelSs);
  setCodeSegment(vcpu, handler.cs);
}
