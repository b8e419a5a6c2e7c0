/** The commands under `paravane image`, their flags and their help. */
import { buildCommand, buildRouteMap } from '@stricli/core';
import type {
  CheckFlags,
  ConvertFlags,
  CreateFlags,
  ImageFormat,
  InfoFlags,
  ResizeFlags,
  SizeArgument,
} from './commands/image.js';
import type { CliContext } from './context.js';
import { parseClusterSize, parseDiskSize, parseNewDiskSize } from './image-flags.js';
import { fileName } from './machine-flags.js';

const formats: readonly ImageFormat[] = ['qcow2', 'raw'];
const load = () => import('./commands/image.js');

const formatFlag = {
  kind: 'enum',
  values: formats,
  optional: true,
  brief: "The image's format; where it is not given, the file's first bytes tell",
} as const;
const newFormat = (which: string) =>
  ({
    kind: 'enum',
    values: formats,
    optional: true,
    brief: `The format of ${which}; where it is not given, its name tells: raw for .img and .raw, else qcow2`,
  }) as const;
const clusterSize = {
  kind: 'parsed',
  parse: parseClusterSize,
  optional: true,
  placeholder: 'SIZE',
  brief: 'qcow2: bytes of a cluster, 512 to 2M [64K]',
} as const;
const extendedL2 = {
  kind: 'boolean',
  default: false,
  brief: 'qcow2: tell of each 32nd of a cluster, so that small writes copy less; clusters of 16K or more',
} as const;
const version = { kind: 'enum', values: ['2', '3'], optional: true, brief: "qcow2: the format's version [3]" } as const;
const force = { kind: 'boolean', default: false, brief: 'Replace a file that is there already' } as const;
const json = { kind: 'boolean', default: false, brief: 'Print JSON' } as const;
const file = (brief: string, placeholder = 'FILE') => ({ brief, parse: fileName, placeholder }) as const;

const create = buildCommand<CreateFlags, [string, SizeArgument?], CliContext>({
  loader: async () => (await load()).create,
  parameters: {
    flags: {
      format: newFormat('the new image'),
      backing: {
        kind: 'parsed',
        parse: fileName,
        optional: true,
        placeholder: 'FILE',
        brief: 'Show this image where nothing was written; it is only read',
      },
      backingFormat: { kind: 'enum', values: formats, optional: true, brief: 'The format of that image' },
      clusterSize,
      extendedL2,
      version,
      force,
    },
    positional: {
      kind: 'tuple',
      parameters: [
        file('The new image'),
        { brief: 'Size of the disk, such as 2G', parse: parseNewDiskSize, placeholder: 'SIZE', optional: true },
      ],
    },
  },
  docs: {
    brief: 'Make a disk image',
    fullDescription: `Makes a disk image that reads as zeroes, or as the image under it. It takes space only as it is written.
Sizes are in bytes, or with K, M, G or T. Where --format is not given, a name that ends in .img or .raw makes a raw
image, and any other a qcow2 one; qemu-img looks at no name, and makes raw ones.`,
  },
});

const info = buildCommand<InfoFlags, [string], CliContext>({
  loader: async () => (await load()).info,
  parameters: { flags: { format: formatFlag, json }, positional: { kind: 'tuple', parameters: [file('The image')] } },
  docs: { brief: 'Tell what an image is: format, sizes, the image under it, snapshots' },
});

const convert = buildCommand<ConvertFlags, [string, string], CliContext>({
  loader: async () => (await load()).convert,
  parameters: {
    flags: {
      from: { ...formatFlag, brief: 'The format of the first image; where it is not given, its first bytes tell' },
      to: newFormat('the second image'),
      snapshot: {
        kind: 'parsed',
        parse: String,
        optional: true,
        placeholder: 'NAME',
        brief: 'qcow2: copy this internal snapshot, by its name or number',
      },
      clusterSize,
      extendedL2,
      version,
      force,
    },
    positional: { kind: 'tuple', parameters: [file('The image to copy', 'FROM'), file('The new image', 'TO')] },
  },
  docs: {
    brief: 'Copy an image into another format',
    fullDescription: `Copies a disk into a new image that stands alone. Zeroes take no space in it.
The new image is there when it is complete, or not at all. Where --to is not given, a name that ends in .img or .raw
makes a raw image, and any other a qcow2 one; qemu-img looks at no name, and makes raw ones.`,
  },
});

const check = buildCommand<CheckFlags, [string], CliContext>({
  loader: async () => (await load()).check,
  parameters: {
    flags: {
      format: formatFlag,
      repair: { kind: 'boolean', default: false, brief: 'Free leaked clusters, and make wrong counts right' },
      json,
    },
    positional: { kind: 'tuple', parameters: [file('The image')] },
  },
  docs: {
    brief: 'Look for leaks and corruption',
    fullDescription: `Compares an image's tables with each other. No guest may be using it.

Exit status: 0 sound (or repaired), 1 it could not be checked, 2 corrupt (or bad arguments), 3 leaked clusters only.`,
  },
});

const resize = buildCommand<ResizeFlags, [string, SizeArgument], CliContext>({
  loader: async () => (await load()).resize,
  parameters: {
    flags: {
      format: formatFlag,
      shrink: { kind: 'boolean', default: false, brief: 'Allow a smaller size: what is cut off is lost' },
    },
    positional: {
      kind: 'tuple',
      parameters: [
        file('The image'),
        { brief: 'The new size, such as 4G, or what is added, such as +1G', parse: parseDiskSize, placeholder: 'SIZE' },
      ],
    },
  },
  docs: {
    brief: 'Change the size of a disk',
    fullDescription: `Changes the size of a disk. What is added reads as zeroes; the file systems on it are left alone.
Put -- before a size that is taken away: paravane image resize --shrink disk.qcow2 -- -1G`,
  },
});

export const imageRoutes = buildRouteMap({
  routes: { create, info, convert, check, resize },
  docs: { brief: 'Make, convert, check and resize disk images' },
});
