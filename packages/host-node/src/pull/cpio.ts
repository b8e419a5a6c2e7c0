/** Writes cpio archives in the newc format: an initramfs, by the kernel's buffer-format.rst. */

export interface CpioEntry {
  /** Without a leading slash. */
  readonly path: string;
  /** File type and permissions, as in stat(2). */
  readonly mode: number;
  readonly content?: Uint8Array | string;
  /** For a device. */
  readonly device?: { readonly major: number; readonly minor: number };
}

export const S_IFCHR = 0o020000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;

const trailer: CpioEntry = { path: 'TRAILER!!!', mode: 0 };

/** Owner is root and all times are 0: the same entries give the same bytes. */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  [...entries, trailer].forEach((entry, index) => {
    const last = entry === trailer;
    const content = typeof entry.content === 'string' ? encode(entry.content) : (entry.content ?? new Uint8Array());
    const name = encode(`${entry.path}\0`);
    const links = last ? 0 : (entry.mode & S_IFDIR) === S_IFDIR ? 2 : 1;
    const fields = [
      last ? 0 : index + 1, // inode
      entry.mode,
      0, // owner
      0, // group
      links,
      0, // time
      content.length,
      0, // device of the file system, major
      0, // minor
      entry.device?.major ?? 0,
      entry.device?.minor ?? 0,
      name.length,
      0, // checksum, unused in this format
    ];
    const header = encode(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
    parts.push(header, name, padding(header.length + name.length), content, padding(content.length));
  });
  return Buffer.concat(parts);
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

const padding = (length: number): Uint8Array => new Uint8Array((4 - (length % 4)) % 4);
