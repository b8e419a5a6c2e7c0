/** @paravane/guest-stubs: the kernels made of the C and assembly in this package, as ELF files ready to boot. */
import { decodeBase64 } from './base64.js';
import { HELLO_X86_32, HELLO_X86_64, KERNEL_X86_32, KERNEL_X86_64 } from './generated/images.js';

/** Bits of a word: a PV64 domain, or a PV32 one with PAE page tables. */
export type GuestBits = 64 | 32;

/**
 * The interactive kernel: a prompt `paravane> ` on the PV console, and `cmd=a;b;c` on its command line for commands
 * that need no typing. A new copy each time.
 */
export function guestKernel(bits: GuestBits = 64): Uint8Array {
  return decodeBase64(bits === 64 ? KERNEL_X86_64 : KERNEL_X86_32);
}

/** The smallest kernel (examples/hello): it prints one line and powers off. A new copy each time. */
export function helloKernel(bits: GuestBits = 64): Uint8Array {
  return decodeBase64(bits === 64 ? HELLO_X86_64 : HELLO_X86_32);
}
