import * as api from '@paravane/image-api';

/** A sparse disk: 8 bytes of name, the number of its chunks, a place for each chunk (0: it is zeroes), the chunks. */
const name = Uint8Array.from('sparse01', (letter) => letter.charCodeAt(0));
const chunkSize = 65536;
type Visit = (chunk: number, inside: number, part: api.Buffers) => unknown;

/** `size` is a multiple of 65536 bytes. */
export async function createSparse(file: api.ImageFile, size: number): Promise<void> {
  await file.setSize(12 + (size / chunkSize) * 4);
  await file.write(0, [name, new Uint8Array(new Uint32Array([size / chunkSize]).buffer)]);
}

async function open(file: api.ImageFile, options: api.ImageOpenOptions = {}): Promise<api.DiskImage> {
  const count = new Uint32Array(1);
  await file.read(8, new Uint8Array(count.buffer));
  // What the file claims is not believed: a table takes no more memory than the file has.
  if (12 + count[0]! * 4 > file.size) throw api.imageError('image-invalid', 'the sparse image ends within its table');
  const places = new Uint32Array(count[0]!);
  await file.read(12, new Uint8Array(places.buffer));
  let last = places.reduce((most, place) => Math.max(most, place), Math.ceil(file.size / chunkSize));
  let closed = false;

  /** Calls `visit` for the part of the request that is in each chunk. */
  async function inChunks(at: number, all: api.Buffers, visit: Visit) {
    if (closed) throw api.imageError('closed', 'the image is closed: open it again');
    const [length, answers] = [api.byteLength(all), [] as unknown[]];
    api.checkImageRange(image, at, length);
    for (let done = 0; done < length; ) {
      const inside = (at + done) % chunkSize;
      const end = Math.min(length, done + chunkSize - inside);
      answers.push(visit(Math.floor((at + done) / chunkSize), inside, api.sliceBuffers(all, done, end)));
      done = end;
    }
    await Promise.all(answers);
  }
  const image: api.DiskImage = {
    apiVersion: api.imageApiVersion,
    format: 'sparse',
    size: places.length * chunkSize,
    readOnly: options.readOnly === true || file.readOnly,
    logicalBlockSize: 512,
    read: (offset, into) =>
      inChunks(offset, into, (chunk, inside, part) =>
        places[chunk] === 0 ? api.fillZero(part) : file.read(places[chunk]! * chunkSize + inside, part),
      ),
    write: (offset, from) =>
      inChunks(offset, from, (chunk, inside, part) => {
        api.checkImageWritable(image);
        places[chunk] ||= ++last;
        return file.write(places[chunk]! * chunkSize + inside, part);
      }),
    async flush() {
      await inChunks(0, [], () => undefined);
      if (!image.readOnly) await file.write(12, new Uint8Array(places.buffer));
      await file.flush();
    },
    async close() {
      if (closed) return;
      await image.flush();
      closed = true;
      await file.close();
    },
  };
  return image;
}

const probe = (head: Uint8Array): boolean => name.every((byte, at) => head[at] === byte);
export const sparseDriver: api.ImageDriver = { apiVersion: api.imageApiVersion, format: 'sparse', probe, open };
