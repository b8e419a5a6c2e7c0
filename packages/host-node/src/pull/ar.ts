/** Reads `ar` archives as dpkg writes them: deb(5). What the archive says of itself is checked against its length. */
import { ParavaneError } from '@paravane/types';

const magic = '!<arch>\n';
const headerSize = 60;

export interface ArchiveMember {
  readonly name: string;
  readonly content: Uint8Array;
}

export function readAr(archive: Uint8Array, file: string): ArchiveMember[] {
  const text = (start: number, length: number): string =>
    String.fromCharCode(...archive.subarray(start, start + length));
  const fault = (why: string): ParavaneError =>
    new ParavaneError('package-damaged', `${file} is not a Debian package: ${why}; fetch it again`, { data: { file } });
  if (text(0, magic.length) !== magic) throw fault('it does not begin as an ar archive');
  const members: ArchiveMember[] = [];
  for (let at = magic.length; at < archive.length; ) {
    if (at + headerSize > archive.length || text(at + 58, 2) !== '`\n') throw fault(`damaged at byte ${at}`);
    const name = text(at, 16).trimEnd().replace(/\/$/, '');
    const size = Number(text(at + 48, 10).trim());
    const start = at + headerSize;
    if (!Number.isInteger(size) || size < 0 || start + size > archive.length) throw fault(`cut short in "${name}"`);
    members.push({ name, content: archive.subarray(start, start + size) });
    at = start + size + (size % 2);
  }
  return members;
}
