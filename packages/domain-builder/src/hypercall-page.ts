/**
 * The hypercall page of a PV guest: for each number a stub of 32 bytes that makes the call.
 * (Xen, arch/x86/pv/hypercall.c; public/arch-x86/xen-x86_64.h and xen-x86_32.h, "Hypercall interface".)
 */
import { HYPERCALL_SLOT_BYTES, hypercall } from '@paravane/abi-xen';
import { PAGE_SIZE } from '@paravane/types';

const PUSH_RCX = 0x51;
const POP_RCX = 0x59;
const PUSH_R11 = [0x41, 0x53];
const POP_R11 = [0x41, 0x5b];
const PUSH_RAX = 0x50;
const MOV_EAX = 0xb8;
const SYSCALL = [0x0f, 0x05];
const INT_82 = [0xcd, 0x82];
const RET = 0xc3;

const movEax = (value: number): number[] => [MOV_EAX, value & 255, value >> 8, 0, 0];

/** The page of a 64-bit guest. SYSCALL destroys RCX and R11, so the stubs keep them; iret never comes back. */
export const hypercallPage64 = (): Uint8Array =>
  pageOf((number) =>
    number === hypercall.iret
      ? [PUSH_RCX, ...PUSH_R11, PUSH_RAX, ...movEax(number), ...SYSCALL]
      : [PUSH_RCX, ...PUSH_R11, ...movEax(number), ...SYSCALL, ...POP_R11, POP_RCX, RET],
  );

/** The page of a 32-bit guest; iret finds EAX on the stack. */
export const hypercallPage32 = (): Uint8Array =>
  pageOf((number) =>
    number === hypercall.iret ? [PUSH_RAX, ...movEax(number), ...INT_82] : [...movEax(number), ...INT_82, RET],
  );

function pageOf(stub: (number: number) => number[]): Uint8Array {
  const page = new Uint8Array(PAGE_SIZE).fill(0xcc);
  for (let number = 0; number < PAGE_SIZE / HYPERCALL_SLOT_BYTES; number++) {
    page.set(stub(number), number * HYPERCALL_SLOT_BYTES);
  }
  return page;
}
