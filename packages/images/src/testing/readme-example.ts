import { createMemoryFile, createOverlay, createQcow2, openQcow2 } from '@paravane/images';

/** Makes a qcow2 image, writes to it, and to an overlay that leaves it as it is. */
export async function example(): Promise<[string, string]> {
  const file = createMemoryFile();
  await createQcow2(file, { size: 2 ** 30 });

  const disk = await openQcow2(file);
  await disk.write(4096, new Uint8Array(512).fill(65));
  await disk.flush(); // from here on, a crash of the host leaves it there

  const snapshot = createOverlay({ base: disk });
  await snapshot.write(4096, new Uint8Array(512).fill(66));

  const [below, above] = [new Uint8Array(512), new Uint8Array(512)];
  await disk.read(4096, below);
  await snapshot.read(4096, above);
  await snapshot.close();
  return [String.fromCharCode(below[0]!), String.fromCharCode(above[0]!)];
}
