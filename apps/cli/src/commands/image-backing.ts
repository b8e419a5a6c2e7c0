/** The image under a new one: how the new one names it, and how large it is. */
import { dirname, isAbsolute, relative, resolve } from 'node:path';
import { openDiskImage } from '@paravane/host-node';

export interface Backing {
  readonly reference: { readonly name: string; readonly format: string };
  /** Bytes. */
  readonly size: number;
}

/** Relative names are relative to the new image's folder, so that both can be moved together. */
export async function backingOf(path: string, backing: string, format: string | undefined): Promise<Backing> {
  const image = await openDiskImage(backing, { readOnly: true, ...inFormatOf(format) });
  try {
    const name = isAbsolute(backing) ? backing : relative(dirname(resolve(path)), resolve(backing));
    return { reference: { name, format: image.format }, size: image.size };
  } finally {
    await image.close();
  }
}

/** `format` as an option, where it was given. */
export function inFormatOf(format: string | undefined): { readonly format?: string } {
  return format === undefined ? {} : { format };
}
