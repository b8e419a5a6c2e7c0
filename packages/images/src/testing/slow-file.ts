/** A file that answers later, and in another order than it was asked: for tests. */
import type { ImageFile } from '@paravane/image-api';
import { randomOf } from '@paravane/image-api/conformance';

export function slowFile(file: ImageFile, seed = 1): ImageFile {
  const random = randomOf(seed);
  async function later<T>(work: () => T): Promise<Awaited<T>> {
    for (let turns = random(6); turns > 0; turns--) await Promise.resolve();
    const answer = await work();
    for (let turns = random(6); turns > 0; turns--) await Promise.resolve();
    return answer;
  }
  return {
    get readOnly() {
      return file.readOnly;
    },
    get size() {
      return file.size;
    },
    read: (offset, into) => later(() => file.read(offset, into)),
    write: (offset, from) => later(() => file.write(offset, from)),
    flush: () => later(() => file.flush()),
    setSize: (size) => later(() => file.setSize(size)),
    close: () => file.close(),
  };
}
