/**
 * What the asked processors are known to do otherwise than the core, which follows the first of them that was asked
 * (Intel), or the manual. A difference is excused only where a line here foresees it.
 */

export interface AskedCase {
  /** Of the form: `GROUP: MNEMONIC operands | encoding | width`. */
  key: string;
  code: Uint8Array;
  /** Of the core's own answer, or -1. */
  vector: number;
}

export interface VendorDifference {
  vendor: string;
  what: string;
  form: RegExp;
  where: (one: AskedCase) => boolean;
}

const has = ({ code }: AskedCase, prefix: number): boolean => code.subarray(0, 14).includes(prefix);
const AMD = 'AuthenticAMD';
const always = (): boolean => true;
const faults = ({ vector }: AskedCase): boolean => vector >= 0;

export const VENDOR_DIFFERENCES: readonly VendorDifference[] = [
  {
    vendor: AMD,
    what: 'a repetition with 32-bit addresses that does nothing leaves the upper halves of RCX, RSI and RDI',
    form: /^string: /,
    where: (one) => has(one, 0x67),
  },
  {
    vendor: AMD,
    what: 'flags of a repeated comparison that faults are those before its last iteration',
    form: /^(string|code-32): (CMPS|SCAS)/,
    where: (one) => (has(one, 0xf2) || has(one, 0xf3)) && faults(one),
  },
  {
    vendor: AMD,
    what: 'F3 90 is PAUSE also with REX.B; elsewhere REX.B makes it XCHG',
    form: /^prefix: (P|LONG)_NOP/,
    where: (one) => has(one, 0xf3),
  },
  {
    vendor: AMD,
    what: 'MXCSR_MASK has bit 17 (misaligned SSE accesses); x87 pointers are saved only with an exception pending',
    form: /: (FXSAVE|XSAVE|XSAVEOPT|XSAVEC) /,
    where: always,
  },
  {
    vendor: AMD,
    what: 'MXCSR may have bit 17',
    form: /: LDMXCSR /,
    where: faults,
  },
  {
    vendor: AMD,
    what: 'SYSEXIT is undefined in long mode, whatever the privilege level',
    form: /: SYSEXIT /,
    where: faults,
  },
  {
    vendor: AMD,
    what: 'which of several NaNs a dot product gives',
    form: /: DPP[SD] /,
    where: always,
  },
  {
    vendor: AMD,
    what: 'operands of SHA instructions need not be aligned',
    form: /^crypto: SHA.* memory$/,
    where: faults,
  },
  {
    vendor: AMD,
    what: 'a call looks at its target before it writes the return address',
    form: /: CALL E/,
    where: faults,
  },
  {
    vendor: AMD,
    what: 'an MMX store that faults leaves the x87 state',
    form: /^mmx: MOV(D|Q|NTQ) [EQM]/,
    where: faults,
  },
];

/** The difference that a vendor's processors are known for in a case. */
export function knownDifference(vendor: string, one: AskedCase): VendorDifference | undefined {
  return VENDOR_DIFFERENCES.find((known) => known.vendor === vendor && known.form.test(one.key) && known.where(one));
}
