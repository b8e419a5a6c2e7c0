/** Opens an image by the name of its format, or by what its first bytes say, with the images under it. */
import {
  type DiskImage,
  type ImageDriver,
  type ImageFile,
  type ImageOpenOptions,
  imageApiVersion,
  imageError,
  isImageError,
  type Soon,
} from '@paravane/image-api';
import { foreignFormat } from './foreign.js';
import { rawDriver } from './raw.js';

export interface OpenImageOptions extends Omit<ImageOpenOptions, 'openBacking'> {
  /** Where it is missing, the file's first bytes decide; a guest can write those of a raw image. */
  readonly format?: string;
  readonly drivers: readonly ImageDriver[];
  /** Opens a file by its name; `from` is the name of the file that names it, if it is one. */
  openFile(name: string, options: { readonly readOnly: boolean; readonly from?: string }): Soon<OpenedFile>;
}

export interface OpenedFile {
  readonly file: ImageFile;
  /** The whole name, for what this file names in turn. */
  readonly name: string;
}

/** Longer chains are circles. */
const deepest = 64;

export async function openImage(name: string, options: OpenImageOptions): Promise<DiskImage> {
  for (const { apiVersion, format } of options.drivers) {
    if (apiVersion !== imageApiVersion) {
      throw imageError(
        'image-unsupported',
        `the driver of "${format}" images is for version ${String(apiVersion)} of image-api; this is ${imageApiVersion}`,
      );
    }
  }
  return openChain(name, options, undefined, 0);
}

async function openChain(
  name: string,
  options: OpenImageOptions,
  from: string | undefined,
  depth: number,
): Promise<DiskImage> {
  if (depth > deepest) {
    throw imageError('image-invalid', `"${name}" is under more than ${deepest} images: do they name each other?`);
  }
  const { openFile, drivers, format, ...rest } = options;
  const readOnly = options.readOnly === true;
  const opened = await openFile(name, from === undefined ? { readOnly } : { readOnly, from });
  try {
    const driver = await chooseDriver(opened.file, drivers, format);
    return await driver.open(opened.file, {
      ...rest,
      openBacking: (backing, backingFormat) => {
        const { format: _, ...under } = options;
        const next = { ...under, readOnly: true, ...(backingFormat === undefined ? {} : { format: backingFormat }) };
        return openChain(backing, next, opened.name, depth + 1);
      },
    });
  } catch (error) {
    await opened.file.close();
    throw named(error, opened.name);
  }
}

/** The failure, with the file that it is about in its words. */
function named(error: unknown, name: string): unknown {
  if (!isImageError(error) || error.message.includes(name)) return error;
  return imageError(error.code, `${name}: ${error.message}`, { cause: error, data: error.data });
}

async function chooseDriver(
  file: ImageFile,
  drivers: readonly ImageDriver[],
  format: string | undefined,
): Promise<ImageDriver> {
  if (format !== undefined) {
    const named = drivers.find((driver) => driver.format === format);
    if (named !== undefined) return named;
    const known = drivers.map((driver) => driver.format).join(', ');
    throw imageError('image-unsupported', `there is no image format "${format}"; there are ${known}`);
  }
  return probeImage(file, drivers);
}

/** The driver that a file's first bytes ask for; raw if none does. Fails where they are those of a foreign format. */
export async function probeImage(file: ImageFile, drivers: readonly ImageDriver[]): Promise<ImageDriver> {
  const head = new Uint8Array(Math.min(512, file.size));
  if (head.length > 0) await file.read(0, head);
  const asked = drivers.find((driver) => driver.probe?.(head) === true);
  if (asked !== undefined) return asked;
  const foreign = foreignFormat(head);
  if (foreign === undefined) return rawDriver;
  throw imageError(
    'image-unsupported',
    `it begins as a ${foreign} image does: make a copy with qemu-img convert -O qcow2, or give its format if it is raw`,
  );
}
