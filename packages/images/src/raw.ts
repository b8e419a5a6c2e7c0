/** A raw image: the file is the disk. What the file lacks to a whole block reads as zeroes. */
import {
  type Buffers,
  byteLength,
  checkImageRange,
  checkImageWritable,
  type DiscardOptions,
  type DiskImage,
  type ImageDriver,
  type ImageFile,
  type ImageInfo,
  type ImageOpenOptions,
  imageApiVersion,
  imageError,
  type Soon,
} from '@paravane/image-api';

export const rawDriver: ImageDriver = {
  apiVersion: imageApiVersion,
  format: 'raw',
  open: createRawImage,
};

const zeroes = new Uint8Array(2 ** 18);

export function createRawImage(file: ImageFile, options: ImageOpenOptions = {}): DiskImage {
  const logicalBlockSize = options.logicalBlockSize ?? 512;
  let size = Math.ceil(file.size / logicalBlockSize) * logicalBlockSize;
  let closed = false;
  const readOnly = options.readOnly === true || file.readOnly;

  const expectOpen = (): void => {
    if (closed) throw imageError('closed', 'the image is closed: open it again');
  };
  const expectRange = (offset: number, length: number): void => {
    expectOpen();
    checkImageRange(image, offset, length);
  };
  const expectWritable = (offset: number, length: number): void => {
    expectRange(offset, length);
    checkImageWritable(image);
  };

  async function storeZeroes(offset: number, length: number): Promise<void> {
    for (let done = 0; done < length; done += zeroes.length) {
      await file.write(offset + done, zeroes.subarray(0, Math.min(zeroes.length, length - done)));
    }
  }

  const image: DiskImage = {
    apiVersion: imageApiVersion,
    format: 'raw',
    readOnly,
    logicalBlockSize,
    get size() {
      return size;
    },
    read(offset: number, into: Buffers): Soon {
      expectRange(offset, byteLength(into));
      return file.read(offset, into);
    },
    write(offset: number, from: Buffers): Soon {
      expectWritable(offset, byteLength(from));
      return file.write(offset, from);
    },
    flush(): Soon {
      expectOpen();
      return readOnly ? undefined : file.flush();
    },
    writeZeroes(offset: number, length: number): Soon {
      expectWritable(offset, length);
      return (
        file.punchHole?.(offset, length) ?? (file.punchHole === undefined ? storeZeroes(offset, length) : undefined)
      );
    },
    discard(offset: number, length: number, { secure = false }: DiscardOptions = {}): Soon {
      expectWritable(offset, length);
      // Without holes there is nothing to give back; bytes that must go are overwritten.
      if (secure) return storeZeroes(offset, length).then(() => file.punchHole?.(offset, length));
      return file.punchHole?.(offset, length);
    },
    async resize(next: number): Promise<void> {
      expectOpen();
      checkImageWritable(image);
      checkImageRange({ size: Number.MAX_SAFE_INTEGER, logicalBlockSize }, 0, next);
      await file.setSize(next);
      size = next;
    },
    info(): ImageInfo {
      return { format: 'raw', size };
    },
    close(): Soon {
      if (closed) return undefined;
      closed = true;
      return file.close();
    },
  };
  return image;
}
