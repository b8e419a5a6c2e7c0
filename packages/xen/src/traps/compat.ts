/**
 * Entering the kernel of a 32-bit PV guest, which runs in ring 1: the frames that
 * Xen builds on its stack (compat_create_bounce_frame of
 * arch/x86/x86_64/compat/entry.S). `compat-iret.ts` has the way back.
 *
 * Frame, lowest address first: [DS, ES, FS, GS for the failsafe callback],
 * [error code], EIP, CS with the saved event mask in bits 16–23, EFLAGS, and
 * ESP, SS where the kernel was entered from a program.
 */
import { Flag, Gpr, Seg, Vector } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { writeGuest } from '../guest-memory.js';
import { NO_ERROR_CODE, pageFaultCode, setCr2, setUpcallMask, upcallMask } from './frame.js';
import { setRing } from './mode.js';
import {
  dataSegmentFault,
  descriptor,
  returnFault,
  type SegmentFault,
  segmentOf,
  setCodeSegment,
  setStackSegment,
} from './segments.js';

/** Flags that entry to a handler clears; AC is left, as Xen leaves it here. */
const CLEARED = Flag.VM | Flag.RF | Flag.NT | Flag.TF;
/** Frames for one entry. Xen makes them until the guest's stack has no room, or for ever. */
const MOST_FRAMES = 8;

interface Entry {
  cs: number;
  address: bigint;
  masksEvents: boolean;
  errorCode: number;
  failsafe: boolean;
}

/**
 * Enters the guest kernel at `cs`:`address`; where Xen's own IRET to there faults, the handler of that fault. A stack that
 * can't be written, or a null CS, ends the domain.
 */
export function enterCompatKernel(
  vcpu: XenVcpu,
  cs: number,
  address: bigint,
  masksEvents: boolean,
  errorCode = NO_ERROR_CODE,
  failsafe = false,
): void {
  let entry: Entry = { cs, address, masksEvents, errorCode, failsafe };
  for (let made = 0; made < MOST_FRAMES; made++) {
    if (!makeFrame(vcpu, entry)) return;
    const ss = vcpu.core.selectors[Seg.ss]!;
    const fault = returnFault(vcpu, entry.cs, ss, entry.cs & 3, entry.address);
    if (fault === null) {
      setStackSegment(vcpu, ss);
      setCodeSegment(vcpu, entry.cs);
      return;
    }
    entry = handlerOf(vcpu, fault);
  }
  vcpu.domain.crash('the code or stack segment of a handler, and of those of the faults of entering it, is none', vcpu);
}

function handlerOf(vcpu: XenVcpu, { vector, errorCode, address }: SegmentFault): Entry {
  if (address !== undefined) setCr2(vcpu, address);
  const trap = vcpu.traps[vector]!;
  const code = vector === Vector.PF ? pageFaultCode(vcpu, errorCode) : errorCode;
  return { ...trap, errorCode: code, failsafe: false };
}

/** Makes a frame and goes to its handler, with selectors in CS and SS only; false if that ended the domain. */
function makeFrame(vcpu: XenVcpu, { cs, address, masksEvents, errorCode, failsafe }: Entry): boolean {
  const { core, domain } = vcpu;
  const { regs, selectors } = core;
  const crash = (reason: string): false => {
    domain.crash(reason, vcpu);
    return false;
  };
  if ((cs & 0xfffc) === 0) return crash('entry into the guest kernel with a null code segment: no handler was set');
  const words: number[] = [];
  if (failsafe) words.push(selectors[Seg.ds]!, selectors[Seg.es]!, selectors[Seg.fs]!, selectors[Seg.gs]!);
  if (errorCode >= 0) words.push(errorCode);
  const mask = upcallMask(vcpu);
  let flags = core.rflags & ~(Flag.IF | Flag.IOPL);
  if (mask === 0) flags |= Flag.IF;
  if (vcpu.showsIopl) flags |= vcpu.iopl << 12;
  words.push(Number(core.rip & 0xffffffffn), selectors[Seg.cs]! | (mask << 16), flags);
  let sp = Number(regs[Gpr.rsp]! & 0xffffffffn);
  let ss: number = selectors[Seg.ss]!;
  if (!vcpu.guestKernel) {
    words.push(sp, ss);
    sp = Number(vcpu.kernelSp & 0xffffffffn);
    ss = vcpu.kernelSs;
  }
  sp = (sp - 4 * words.length) >>> 0;
  setRing(vcpu, cs);
  // Xen loads the segment into FS, and writes through its base without a look at its limit.
  if (dataSegmentFault(vcpu, ss, 0) !== null)
    return crash(`the guest kernel's stack segment ${ss.toString(16)} is none`);
  const stack = descriptor(vcpu, ss);
  const at = BigInt.asUintN(32, BigInt(sp) + (stack === null ? 0n : segmentOf(stack).base));
  if (!writeGuest(vcpu, at, new Uint8Array(Uint32Array.from(words).buffer)))
    return crash(`fault while writing the guest kernel's stack at ${sp.toString(16)}`);
  if (masksEvents) setUpcallMask(vcpu, 1);
  core.rflags = (core.rflags & ~CLEARED) | Flag.IF;
  core.rip = address & 0xffffffffn;
  regs[Gpr.rsp] = BigInt(sp);
  selectors[Seg.ss] = ss;
  selectors[Seg.cs] = cs;
  return true;
}
