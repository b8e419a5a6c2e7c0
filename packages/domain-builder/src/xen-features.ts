/**
 * The FEATURES note: names of `XENFEAT_*` bits joined by "|"; "!" in front means that the kernel cannot do without.
 * (Xen, public/features.h and public/elfnote.h.)
 */
import { XENFEAT } from '@paravane/abi-xen';

/** The names that Xen's own builder knows. */
const NAMES: ReadonlySet<string> = new Set<keyof typeof XENFEAT>([
  'writable_page_tables',
  'writable_descriptor_tables',
  'auto_translated_physmap',
  'supervisor_mode_kernel',
  'pae_pgdir_above_4gb',
  'hvm_callback_vector',
  'dom0',
]);

/** Bits of feature submap 0, by number. */
export interface XenFeatures {
  readonly supported: number;
  readonly required: number;
  /** Names that were required and are unknown. */
  readonly unknown: readonly string[];
}

export function parseFeatures(text: string): XenFeatures {
  let supported = 0;
  let required = 0;
  const unknown: string[] = [];
  for (const item of text.split('|')) {
    const isRequired = item.startsWith('!');
    const name = isRequired ? item.slice(1) : item;
    const bit = NAMES.has(name) ? XENFEAT[name as keyof typeof XENFEAT] : undefined;
    if (bit !== undefined) {
      supported |= 1 << bit;
      if (isRequired) required |= 1 << bit;
    } else if (isRequired) {
      unknown.push(name);
    }
  }
  return { supported, required, unknown };
}
