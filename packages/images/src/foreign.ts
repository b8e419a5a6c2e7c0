/**
 * Formats that others write and that are not read here, told by their first bytes, so that a file whose format nobody
 * named is not taken for a raw disk. The signatures are those of the formats' own specifications.
 */

interface Signature {
  readonly format: string;
  /** Where in the file. */
  readonly at: number;
  /** One character for each byte. */
  readonly bytes: string;
}

const signatures: readonly Signature[] = [
  { format: 'VMDK', at: 0, bytes: 'KDMV' },
  { format: 'VMDK', at: 0, bytes: 'COWD' },
  { format: 'VMDK', at: 0, bytes: '# Disk DescriptorFile' },
  { format: 'VDI', at: 64, bytes: '\x7f\x10\xda\xbe' },
  { format: 'VHD', at: 0, bytes: 'conectix' },
  { format: 'VHDX', at: 0, bytes: 'vhdxfile' },
  { format: 'QED', at: 0, bytes: 'QED\0' },
  { format: 'Parallels', at: 0, bytes: 'WithoutFreeSpace' },
  { format: 'Parallels', at: 0, bytes: 'WithouFreSpacExt' },
];

/** The name of the foreign format that a file's first bytes (512, or all) are of. */
export function foreignFormat(head: Uint8Array): string | undefined {
  return signatures.find(({ at, bytes }) => [...bytes].every((sign, index) => head[at + index] === sign.charCodeAt(0)))
    ?.format;
}
