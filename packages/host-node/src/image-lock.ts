/**
 * Keeps two processes from writing to one image. Node.js can't lock files; on Linux, a socket with an abstract name for
 * each file does it: the system lets one process have it, and takes it back however that process ends. The name counts
 * within one network namespace. On other systems nobody is kept from anything.
 */
import { statSync } from 'node:fs';
import { createServer } from 'node:net';
import { ParavaneError } from '@paravane/types';

/** The result lets go of the image. Fails with `image-in-use` while another has it. */
export async function lockImage(path: string): Promise<() => void> {
  if (process.platform !== 'linux') return () => undefined;
  const { dev, ino } = statSync(path, { bigint: true });
  const server = createServer((socket) => socket.destroy());
  server.unref();
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EADDRINUSE') {
        // A system that refuses such sockets refuses no images.
        resolve();
        return;
      }
      const message = `${path} is in use: stop the guest or the command that writes to it first`;
      reject(new ParavaneError('image-in-use', message, { cause, data: { file: path } }));
    });
    server.listen({ path: `\0paravane-image-${dev}-${ino}`, exclusive: true }, resolve);
  });
  return () => void server.close();
}
