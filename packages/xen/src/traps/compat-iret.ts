/**
 * Hypercall 23 of a 32-bit PV kernel, iret: back to where an event or exception
 * came from, or out to a program (compat_iret of pv/iret.c).
 */
import { Flag, Gpr, Seg } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { readGuest } from '../guest-memory.js';
import { injectException } from './exceptions.js';
import { setUpcallMask } from './frame.js';
import { codeSegmentFault, dropInnerSegments, dropNullSelectors, loadSegment, setCodeSegment } from './segments.js';

const IRET_BYTES = 16;

/** EAX, EIP, CS, EFLAGS and, to a program, ESP and SS are on the stack. */
export function compatIret(vcpu: XenVcpu): void {
  const { core, domain } = vcpu;
  const { regs, selectors } = core;
  const sp = regs[Gpr.rsp]! & 0xffffffffn;
  const frame = readGuest(vcpu, sp, IRET_BYTES);
  const crash = (): void => domain.crash(`fault while reading the iret frame at ${sp.toString(16)}`, vcpu);
  if (!frame) return crash();
  const [eax, eip, csWord, eflags] = new Uint32Array(
    frame.buffer.slice(frame.byteOffset, frame.byteOffset + IRET_BYTES),
  );
  const cs = csWord! & 0xffff;
  if (eflags! & Flag.VM) {
    injectException(vcpu, 13, 0);
    return;
  }
  if ((cs & 3) === 0) {
    domain.crash('return to ring 0', vcpu);
    return;
  }
  let outer: Uint32Array | null = null;
  if ((cs & 3) !== 1) {
    const rest = readGuest(vcpu, sp + 16n, 8);
    if (!rest) return crash();
    outer = new Uint32Array(rest.buffer.slice(rest.byteOffset, rest.byteOffset + 8));
  }
  if (vcpu.showsIopl) vcpu.iopl = (eflags! & Flag.IOPL) >> 12;
  regs[Gpr.rax] = BigInt(eax!);
  regs[Gpr.rsp] = outer ? BigInt(outer[0]!) : (sp + 16n) & 0xffffffffn;
  core.rip = BigInt(eip!);
  core.rflags = (eflags! & ~(Flag.IOPL | Flag.VM)) | Flag.IF | 2;
  setUpcallMask(vcpu, eflags! & Flag.IF ? 0 : 1);
  vcpu.nmiInProgress = false;
  // What the processor checks when it returns: the fault is reported where the return leads to.
  const ss = outer ? outer[1]! & 0xffff : 0;
  const fault = codeSegmentFault(vcpu, cs, cs & 3) ?? (outer ? loadSegment(vcpu, Seg.ss, ss, cs & 3) : null);
  if (fault && outer) selectors[Seg.ss] = ss;
  if (fault !== null) {
    injectException(vcpu, fault.vector, fault.errorCode);
    return;
  }
  setCodeSegment(vcpu, cs);
  dropNullSelectors(vcpu);
  if (outer) dropInnerSegments(vcpu);
}
