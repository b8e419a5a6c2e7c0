/** `paravane console`: the terminal as one more viewer of a running guest's console. */
import { openConsole } from '@paravane/host-node';
import { bytesToText, textToBytes } from '@paravane/toolstack';
import { type CliContext, say } from '../context.js';
import { listenForInterruption } from '../interruption.js';
import { onGuest } from '../reach.js';

export interface ConsoleFlags {
  readonly escape: { readonly byte: number | undefined };
}

/** Bytes of one message: far below the longest line, however they are escaped. */
const pieceLength = 4096;

export default async function attach(this: CliContext, flags: ConsoleFlags, guest: string): Promise<void> {
  const { stdin, process: host } = this;
  await onGuest(this, guest, async (link, { name }) => {
    const interruption = listenForInterruption(this.output);
    const terminal = openConsole({ input: stdin, output: host.stdout }, flags.escape.byte, {
      onInput(bytes) {
        for (let at = 0; at < bytes.length; at += pieceLength) {
          const data = bytesToText(bytes.subarray(at, at + pieceLength));
          // Where the connection is lost, so is the console, which says it.
          link.ask({ op: 'input', data }).catch(() => interruption.now());
        }
      },
      onEscape: interruption.now,
    });
    try {
      const ended = link.ask({ op: 'console' }, (text) => terminal.write(textToBytes(text)));
      const how = await Promise.race([ended, interruption.done]);
      if (host.stdout.isTTY) host.stdout.write('\r\n');
      if (how !== undefined) say(this, `"${name}" has ended: ${how.end}`);
      return 0;
    } finally {
      terminal.close();
    }
  });
}
