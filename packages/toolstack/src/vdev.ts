/**
 * Names of virtual disks as guests know them, and their device numbers: docs/man/xen-vbd-interface.7 and libxl's
 * reading of it. A number for a disk and partition in the scheme of a guest's `xvd`, `hd` or `sd`.
 */

export interface VirtualDevice {
  /** As written, such as `xvda` or `d1p2`. */
  readonly name: string;
  /** What xenstore calls it. */
  readonly number: number;
}

const XVD_MAJOR = 202;
const [SD_MAJOR, HD_MAJOR_1, HD_MAJOR_2] = [8, 3, 22];
/** Beyond the first sixteen disks and partitions. */
const EXTENDED = 1 << 28;
const MOST_DISKS = 1 << 20;

/** `a` is 0, `z` 25, `aa` 26. */
function lettersToNumber(letters: string): number {
  let number = 0;
  for (const letter of letters) number = number * 26 + letter.charCodeAt(0) - 96;
  return number - 1;
}

function xenNumber(disk: number, partition: number): number | undefined {
  if (disk < 16 && partition < 16) return (XVD_MAJOR << 8) | (disk << 4) | partition;
  return disk < MOST_DISKS && partition < 256 ? EXTENDED | (disk << 8) | partition : undefined;
}

/** The device of a name; undefined where the name is none, or names more than there can be. */
export function parseVdev(name: string): VirtualDevice | undefined {
  const number = numberOf(name);
  return number === undefined ? undefined : { name, number };
}

function numberOf(name: string): number | undefined {
  const plain = /^(?:0x[0-9a-f]{1,8}|[0-9]{1,10})$/i.test(name) ? Number(name) : undefined;
  if (plain !== undefined) return plain > 0 && plain < 2 ** 29 ? plain : undefined;
  const [, diskDigits, digits] = /^d([0-9]{1,7})(?:p([0-9]{1,4}))?$/.exec(name) ?? [];
  if (diskDigits !== undefined) return xenNumber(Number(diskDigits), Number(digits ?? 0));
  const [, scheme, letters, partitionDigits] = /^(xvd|hd|sd)([a-z]{1,4})([0-9]{0,3})$/.exec(name) ?? [];
  if (letters === undefined) return undefined;
  const disk = lettersToNumber(letters);
  const partition = Number(partitionDigits === '' ? 0 : partitionDigits);
  if (scheme === 'xvd') return xenNumber(disk, partition);
  if (scheme === 'sd') return disk < 16 && partition < 16 ? (SD_MAJOR << 8) | (disk << 4) | partition : undefined;
  if (disk > 3 || partition > 63) return undefined;
  return ((disk < 2 ? HD_MAJOR_1 : HD_MAJOR_2) << 8) | ((disk & 1) << 6) | partition;
}
