/** Reads tar archives: ustar with the GNU and pax extensions for long names, as dpkg packs them. */
import { ParavaneError } from '@paravane/types';

const blockSize = 512;

export interface TarEntry {
  /** Without a leading `./` or `/`. */
  readonly path: string;
  readonly kind: 'file' | 'folder' | 'link' | 'other';
  readonly mode: number;
  readonly content: Uint8Array;
  /** Where a link points. */
  readonly target: string;
}

export function* readTar(archive: Uint8Array, file: string): Generator<TarEntry> {
  const decoder = new TextDecoder();
  const text = (start: number, length: number): string => {
    const field = archive.subarray(start, start + length);
    const end = field.indexOf(0);
    return decoder.decode(end < 0 ? field : field.subarray(0, end));
  };
  let longName = '';
  let longTarget = '';
  for (let at = 0; at + blockSize <= archive.length; ) {
    const header = archive.subarray(at, at + blockSize);
    if (header.every((byte) => byte === 0)) return;
    const size = readSize(header);
    const start = at + blockSize;
    if (!Number.isSafeInteger(size) || size < 0 || start + size > archive.length) {
      throw new ParavaneError('package-damaged', `${file} is damaged: its tar archive is cut short; fetch it again`, {
        data: { file },
      });
    }
    const content = archive.subarray(start, start + size);
    const type = String.fromCharCode(header[156] ?? 0);
    const magic = text(at + 257, 6);
    const prefix = magic === 'ustar' ? text(at + 345, 155) : '';
    const shortName = prefix === '' ? text(at, 100) : `${prefix}/${text(at, 100)}`;
    at = start + Math.ceil(size / blockSize) * blockSize;

    if (type === 'L') longName = text(start, size);
    else if (type === 'K') longTarget = text(start, size);
    else if (type === 'x') {
      const fields = readPax(content);
      longName = fields.get('path') ?? longName;
      longTarget = fields.get('linkpath') ?? longTarget;
    } else if (type !== 'g') {
      yield {
        path: (longName || shortName).replace(/^(?:\.?\/)+/, '').replace(/\/$/, ''),
        kind: kindOf(type),
        mode: Number.parseInt(text(start - blockSize + 100, 8).trim() || '0', 8),
        content,
        target: longTarget || text(start - blockSize + 157, 100),
      };
      longName = '';
      longTarget = '';
    }
  }
}

function kindOf(type: string): TarEntry['kind'] {
  if (type === '0' || type === '\0' || type === '7') return 'file';
  if (type === '5') return 'folder';
  return type === '1' || type === '2' ? 'link' : 'other';
}

/** Octal digits, or GNU's base 256 where the first bit is set. */
function readSize(header: Uint8Array): number {
  const field = header.subarray(124, 136);
  if (((field[0] ?? 0) & 0x80) === 0)
    return Number.parseInt(String.fromCharCode(...field).replace(/[\0 ].*$/s, '') || '0', 8);
  return field.slice(1).reduce((value, byte) => value * 256 + byte, (field[0] ?? 0) & 0x7f);
}

function readPax(content: Uint8Array): Map<string, string> {
  const fields = new Map<string, string>();
  const decoder = new TextDecoder();
  for (let at = 0; at < content.length; ) {
    const space = content.indexOf(0x20, at);
    const length = Number.parseInt(decoder.decode(content.subarray(at, space)), 10);
    if (space < 0 || !(length > 0)) return fields;
    const [key = '', ...value] = decoder.decode(content.subarray(space + 1, at + length - 1)).split('=');
    fields.set(key, value.join('='));
    at += length;
  }
  return fields;
}
