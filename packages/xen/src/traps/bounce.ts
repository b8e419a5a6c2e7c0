/**
 * Entering a guest kernel, 64-bit ones here (`compat.ts` has the others): the frame that Xen builds on its stack for
 * exceptions, events, system calls and NMIs (create_bounce_frame of
 * arch/x86/x86_64/entry.S).
 *
 * Frame, lowest address first: RCX, R11, [error code, or DS, ES, FS, GS], RIP, CS with the saved
 * event mask in bits 32–39, RFLAGS, RSP, SS.
 */
import { FLAT_RING3_CS64, FLAT_RING3_SS64, HYPERVISOR_VIRT_END, HYPERVISOR_VIRT_START } from '@paravane/abi-xen';
import { Flag, Gpr, Seg } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { enterCompatKernel } from './compat.js';
import { NO_ERROR_CODE, setUpcallMask, upcallMask } from './frame.js';
import { switchMode } from './mode.js';

const frame = new Uint8Array(88);
const view = new DataView(frame.buffer);
/** Bytes of a frame by its number of words, made once. */
const frames = [7, 8, 11].map((words) => frame.subarray(0, words * 8));
/** Flags that entry to a handler clears (Intel SDM vol. 3, 6.12.1). */
const CLEARED = Flag.VM | Flag.RF | Flag.NT | Flag.TF | Flag.AC;
/** What the failsafe callback finds before RIP. */
const DATA_SEGMENTS = [Seg.ds, Seg.es, Seg.fs, Seg.gs] as const;

/** Enters the guest kernel at `address`. A stack that can't be written ends the domain. */
export function enterKernel(
  vcpu: XenVcpu,
  address: bigint,
  masksEvents: boolean,
  errorCode = NO_ERROR_CODE,
  withSegments = false,
  compatCs = 0,
): void {
  const { core, domain } = vcpu;
  if (!domain.is64) {
    enterCompatKernel(vcpu, compatCs, address, masksEvents, errorCode, withSegments);
    return;
  }
  if (address === 0n) {
    domain.crash('entry into the guest kernel at address 0: no handler was set', vcpu);
    return;
  }
  const { regs } = core;
  const userSp = regs[Gpr.rsp];
  const userCs = core.selectors[Seg.cs];
  let sp: bigint;
  let cs = userCs;
  if (vcpu.guestKernel) {
    sp = userSp;
    cs &= 0xfffc;
  } else {
    switchMode(vcpu);
    sp = vcpu.kernelSp;
  }
  const mask = upcallMask(vcpu);
  let flags = core.rflags & ~(Flag.IF | Flag.IOPL);
  if (mask === 0) flags |= Flag.IF;
  if (vcpu.showsIopl) flags |= vcpu.iopl << 12;

  const withCode = errorCode >= 0;
  const bytes = frames[withSegments ? 2 : withCode ? 1 : 0];
  sp = (sp & ~0xfn) - BigInt(bytes.length);
  let at = 0;
  const push = (value: bigint): void => {
    view.setBigUint64(at, value, true);
    at += 8;
  };
  push(regs[Gpr.rcx]);
  push(regs[Gpr.r11]);
  if (withSegments) for (const register of DATA_SEGMENTS) push(BigInt(core.selectors[register]));
  else if (withCode) push(BigInt(errorCode));
  push(core.rip);
  view.setUint32(at, cs, true);
  view.setUint32(at + 4, mask, true);
  at += 8;
  view.setUint32(at, flags, true);
  view.setUint32(at + 4, 0, true);
  at += 8;
  push(userSp);
  push(BigInt(core.selectors[Seg.ss]));
  const inHypervisor = sp + BigInt(bytes.length) > HYPERVISOR_VIRT_START && sp < HYPERVISOR_VIRT_END;
  if (inHypervisor || !domain.mmu.writeVirtual(core.space, sp, bytes)) {
    domain.crash(`fault while writing the guest kernel's stack at ${sp.toString(16)}`, vcpu);
    return;
  }
  if (masksEvents) setUpcallMask(vcpu, 1);
  core.rflags = (core.rflags & ~CLEARED) | Flag.IF;
  core.selectors[Seg.cs] = FLAT_RING3_CS64;
  core.selectors[Seg.ss] = FLAT_RING3_SS64;
  core.mode = 64;
  core.rip = address;
  regs[Gpr.rsp] = sp;
  // The return is by SYSRET: these two hold what it loads.
  regs[Gpr.rcx] = address;
  regs[Gpr.r11] = BigInt(core.rflags);
}
