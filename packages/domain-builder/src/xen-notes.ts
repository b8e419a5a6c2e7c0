/**
 * What a kernel says of itself to Xen: ELF notes of the owner "Xen", or the older text section `__xen_guest`.
 * (Xen, public/elfnote.h; the order in which segments, sections and text are tried is that of Xen's libelf.)
 *
 * The file is not trusted. What comes out is typed and complete in itself; whether its addresses fit the kernel's own
 * segments is checked by `readKernelImage`.
 */
import { XEN_ELFNOTE, XENFEAT } from '@paravane/abi-xen';
import { type ElfFile, type ElfNote, machineName, noteNumber, noteText } from '@paravane/elf';
import { failure, hex, invalid } from './failure.js';
import { parseFeatures, type XenFeatures } from './xen-features.js';

export interface XenNotes {
  readonly source: 'notes' | '__xen_guest';
  readonly xenVersion: string;
  readonly guestOs: string;
  readonly guestVersion: string;
  readonly loader: string;
  /** First instruction, a virtual address: ENTRY, or the ELF header's. */
  readonly entry: bigint;
  readonly virtBase: bigint;
  /** What the program headers' physical addresses have to be lessened by to count from the start of memory. */
  readonly paddrOffset: bigint;
  /** Virtual address of the page to fill with hypercall stubs. */
  readonly hypercallPage?: bigint;
  /** Lowest virtual address that the kernel leaves to the hypervisor. */
  readonly hvStartLow?: bigint;
  /** Virtual address at which the kernel wants its P2M list; in the initial mapping where left out. */
  readonly initP2m?: bigint;
  /** The ramdisk may stay unmapped, its place given as a frame number. */
  readonly modStartPfn: boolean;
  readonly suspendCancel: boolean;
  readonly bsdSymtab: boolean;
  readonly paeMode: string;
  /** A 32-bit kernel takes root tables above 4 GiB, whose frame numbers are turned round in CR3. */
  readonly extendedCr3: boolean;
  readonly features: XenFeatures;
  /** An L1 entry is valid for the kernel when entry & mask = value. */
  readonly l1MfnValid?: { readonly mask: bigint; readonly value: bigint };
  /** Physical entry for PVH. */
  readonly phys32Entry?: bigint;
}

type Claims = Map<number, Uint8Array>;

/** Reads and checks the notes of a PV kernel. Fails with a reason where the file is none. */
export function parseXenNotes(elf: ElfFile): XenNotes {
  const notes = xenNotesOf(elf);
  const claimed = notes.length > 0 ? fromNotes(elf, notes) : fromGuestSection(elf);
  if (claimed === undefined) {
    throw invalid(
      `not a Xen PV kernel: the ${machineName(elf.machine)} ELF file has neither notes of the owner "Xen" nor a section __xen_guest; use a kernel built with Xen PV support (Linux: CONFIG_XEN_PV)`,
    );
  }
  return checked(claimed);
}

const isXen = (note: ElfNote): boolean => note.owner === 'Xen';

function xenNotesOf(elf: ElfFile): ElfNote[] {
  const inSegments = elf.segmentNotes().filter(isXen);
  return inSegments.length > 0 ? inSegments : elf.sectionNotes().filter(isXen);
}

function checked(notes: XenNotes): XenNotes {
  if (notes.xenVersion === '' && notes.phys32Entry !== undefined) {
    throw failure(
      'kernel-unsupported',
      'not a Xen PV kernel: it has only a PVH entry (note PHYS32_ENTRY); PVH is not supported yet, use a kernel built with Xen PV support',
    );
  }
  if (!notes.xenVersion.startsWith('xen-3.0')) {
    const found = notes.xenVersion === '' ? 'is missing' : `is "${notes.xenVersion}"`;
    throw invalid(`not a Xen PV kernel: its note XEN_VERSION ${found}, it has to be "xen-3.0"`);
  }
  if (!notes.loader.startsWith('generic') && !notes.guestOs.startsWith('linux')) {
    throw invalid(
      `not for this loader: the note LOADER is "${notes.loader}" and GUEST_OS "${notes.guestOs}"; one has to be "generic" or "linux"`,
    );
  }
  if (notes.features.unknown.length > 0) {
    throw failure(
      'kernel-unsupported',
      `the kernel requires features that are unknown here: ${notes.features.unknown.join(', ')} (note FEATURES)`,
    );
  }
  if (notes.features.required & (1 << XENFEAT.dom0)) {
    throw failure(
      'kernel-unsupported',
      'the kernel runs in the control domain only (note FEATURES: !dom0); use one that runs in other domains too',
    );
  }
  return notes;
}

function fromNotes(elf: ElfFile, notes: readonly ElfNote[]): XenNotes {
  const claims: Claims = new Map(notes.map((note) => [note.type, note.desc]));
  const virtBase = number(claims, 'VIRT_BASE');
  const paddrOffset = number(claims, 'PADDR_OFFSET');
  if (paddrOffset !== undefined && virtBase === undefined) {
    throw invalid('the kernel has the Xen note PADDR_OFFSET, but not VIRT_BASE, which it counts from');
  }
  const features = parseFeatures(text(claims, 'FEATURES'));
  const paeMode = text(claims, 'PAE_MODE');
  return {
    source: 'notes',
    xenVersion: text(claims, 'XEN_VERSION'),
    guestOs: text(claims, 'GUEST_OS'),
    guestVersion: text(claims, 'GUEST_VERSION'),
    loader: text(claims, 'LOADER'),
    paeMode,
    extendedCr3: paeMode === 'yes' || paeMode.includes('bimodal'),
    bsdSymtab: text(claims, 'BSD_SYMTAB') === 'yes',
    entry: number(claims, 'ENTRY') ?? elf.entry,
    virtBase: virtBase ?? 0n,
    paddrOffset: paddrOffset ?? 0n,
    hypercallPage: number(claims, 'HYPERCALL_PAGE'),
    hvStartLow: number(claims, 'HV_START_LOW'),
    initP2m: number(claims, 'INIT_P2M'),
    modStartPfn: (number(claims, 'MOD_START_PFN') ?? 0n) !== 0n,
    suspendCancel: (number(claims, 'SUSPEND_CANCEL') ?? 0n) !== 0n,
    features: {
      ...features,
      supported: features.supported | Number(BigInt.asUintN(32, number(claims, 'SUPPORTED_FEATURES') ?? 0n)),
    },
    l1MfnValid: maskAndValue(claims),
    phys32Entry: number(claims, 'PHYS32_ENTRY'),
  };
}

function text(claims: Claims, name: keyof typeof XEN_ELFNOTE): string {
  const desc = claims.get(XEN_ELFNOTE[name]);
  return desc === undefined ? '' : noteText(desc);
}

function number(claims: Claims, name: keyof typeof XEN_ELFNOTE): bigint | undefined {
  const desc = claims.get(XEN_ELFNOTE[name]);
  if (desc === undefined) return undefined;
  const value = noteNumber(desc);
  if (value === undefined)
    throw invalid(`the kernel's Xen note ${name} has ${desc.length} bytes; a number has 1, 2, 4 or 8`);
  return value;
}

function maskAndValue(claims: Claims): XenNotes['l1MfnValid'] {
  const desc = claims.get(XEN_ELFNOTE.L1_MFN_VALID);
  if (desc === undefined) return undefined;
  const half = desc.length / 2;
  const mask = noteNumber(desc.subarray(0, half));
  const value = noteNumber(desc.subarray(half));
  if (mask === undefined || value === undefined) {
    throw invalid(`the kernel's Xen note L1_MFN_VALID has ${desc.length} bytes; mask and value have 8 or 16`);
  }
  return { mask, value };
}

function fromGuestSection(elf: ElfFile): XenNotes | undefined {
  const section = elf.sections().find(({ name }) => name === '__xen_guest');
  if (section === undefined) return undefined;
  const pairs = new Map<string, string>();
  for (const item of noteText(section.data()).split(',')) {
    const [key, value = ''] = item.split('=', 2);
    pairs.set(key, value);
  }
  const virtBase = pairNumber(pairs, 'VIRT_BASE');
  // Kernels of this age link their physical addresses at virt_base unless they say otherwise.
  const paddrOffset = pairNumber(pairs, 'ELF_PADDR_OFFSET') ?? virtBase ?? 0n;
  // HYPERCALL_PAGE is a frame number here, not an address.
  const hypercallFrame = pairNumber(pairs, 'HYPERCALL_PAGE');
  return {
    source: '__xen_guest',
    xenVersion: pairs.get('XEN_VER') ?? '',
    guestOs: pairs.get('GUEST_OS') ?? '',
    guestVersion: pairs.get('GUEST_VER') ?? '',
    loader: pairs.get('LOADER') ?? '',
    paeMode: pairs.get('PAE') ?? '',
    extendedCr3: pairs.get('PAE') === 'yes[extended-cr3]',
    bsdSymtab: pairs.has('BSD_SYMTAB'),
    entry: pairNumber(pairs, 'VIRT_ENTRY') ?? elf.entry,
    virtBase: virtBase ?? 0n,
    paddrOffset,
    hypercallPage:
      hypercallFrame === undefined ? undefined : BigInt.asUintN(64, (virtBase ?? 0n) + (hypercallFrame << 12n)),
    modStartPfn: false,
    suspendCancel: false,
    features: parseFeatures(pairs.get('FEATURES') ?? ''),
  };
}

function pairNumber(pairs: ReadonlyMap<string, string>, key: string): bigint | undefined {
  const value = pairs.get(key);
  if (value === undefined) return undefined;
  if (!/^(0[xX][0-9a-fA-F]{1,16}|\d{1,20})$/.test(value)) {
    throw invalid(`the kernel's section __xen_guest has ${key}=${value}, which is not a number`);
  }
  return BigInt.asUintN(64, BigInt(value));
}

/** The notes in words, one a line, for logs. */
export function describeNotes(notes: XenNotes): string[] {
  const lines = [
    `XEN_VERSION ${notes.xenVersion}`,
    `GUEST_OS ${notes.guestOs} ${notes.guestVersion}`.trimEnd(),
    `ENTRY ${hex(notes.entry)}`,
    `VIRT_BASE ${hex(notes.virtBase)}`,
    `PADDR_OFFSET ${hex(notes.paddrOffset)}`,
  ];
  if (notes.hypercallPage !== undefined) lines.push(`HYPERCALL_PAGE ${hex(notes.hypercallPage)}`);
  if (notes.initP2m !== undefined) lines.push(`INIT_P2M ${hex(notes.initP2m)}`);
  if (notes.hvStartLow !== undefined) lines.push(`HV_START_LOW ${hex(notes.hvStartLow)}`);
  if (notes.modStartPfn) lines.push('MOD_START_PFN');
  return lines;
}
