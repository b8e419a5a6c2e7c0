/** @paravane/guest-stubs: the kernels made of the C and assembly in this package, as ELF files ready to boot. */
import { decodeBase64 } from './base64.js';
import { HELLO_X86_64, KERNEL_X86_64 } from './generated/images.js';

/**
 * The interactive kernel for a PV64 domain: a prompt `paravane> ` on the PV console, and `cmd=a;b;c` on its command line
 * for commands that need no typing. A new copy each time.
 */
export function guestKernel(): Uint8Array {
  return decodeBase64(KERNEL_X86_64);
}

/** The smallest kernel for a PV64 domain (examples/hello): it prints one line and powers off. A new copy each time. */
export function helloKernel(): Uint8Array {
  return decodeBase64(HELLO_X86_64);
}
