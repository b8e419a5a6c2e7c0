/** A file in memory, as simple as can be. */
import { byteLength, copyFrom, copyInto, type ImageFile } from '@paravane/image-api';

export function growingFile(): ImageFile {
  let bytes = new Uint8Array(0);
  const resize = (size: number): void => {
    const next = new Uint8Array(size);
    next.set(bytes.subarray(0, size));
    bytes = next;
  };
  return {
    readOnly: false,
    get size() {
      return bytes.length;
    },
    read(offset, into) {
      const part = new Uint8Array(byteLength(into));
      part.set(bytes.subarray(offset, offset + part.length));
      copyInto(into, part);
    },
    write(offset, from) {
      const end = offset + byteLength(from);
      if (end > bytes.length) resize(end);
      copyFrom(from, bytes.subarray(offset));
    },
    flush: () => undefined,
    setSize: resize,
    close: () => undefined,
  };
}
