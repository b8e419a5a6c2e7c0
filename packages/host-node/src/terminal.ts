/**
 * The user's terminal as a guest's console. A terminal is put into raw mode, so that every key reaches the guest, and is
 * always restored: when the console is closed, and when the process exits for whatever reason. Input that is not a
 * terminal is fed to the guest as it comes.
 */
import type { ReadStream, WriteStream } from 'node:tty';

export interface ConsoleEvents {
  onInput(bytes: Uint8Array): void;
  /** The escape key was pressed. */
  onEscape(): void;
  /** Input that is not a terminal has ended. */
  onEnd?(): void;
}

export interface HostConsole {
  readonly isTerminal: boolean;
  /** Shows what the guest writes. The terminal can be given back as it was only after what has come this way. */
  write(bytes: Uint8Array): void;
  /** Gives the terminal back. Calling it again does nothing. */
  close(): void;
}

export interface ConsoleStreams {
  readonly input: NodeJS.ReadableStream & { isTTY?: boolean };
  readonly output: NodeJS.WritableStream & { isTTY?: boolean };
}

/**
 * Ends colours and line drawing, shows the cursor, wraps lines, and turns off the keypad, mouse and paste modes that a
 * guest may have turned on.
 */
const resetModes = '\x1b[0m\x1b(B\x0f\x1b[?25h\x1b[?7h\x1b[?1l\x1b>\x1b[?1000;1002;1003;1006l\x1b[?2004l';

/** Follows whether what is written went to the terminal's alternate screen, where editors are, and did not come back. */
function watchScreen(): { see(bytes: Uint8Array): void; readonly leave: string } {
  let before = '';
  let leave = '';
  return {
    see(bytes) {
      const text = before + Buffer.from(bytes).toString('latin1');
      for (const [, mode, change] of text.matchAll(/\x1b\[\?(1049|1047|47)([hl])/g)) {
        leave = change === 'h' ? `\x1b[?${mode}l` : '';
      }
      before = text.slice(1 - '\x1b[?1049h'.length);
    },
    get leave() {
      return leave;
    },
  };
}

export function openConsole(streams: ConsoleStreams, escape: number | undefined, events: ConsoleEvents): HostConsole {
  const input = streams.input as ReadStream;
  const output = streams.output as WriteStream;
  const isTerminal = input.isTTY === true;
  const screen = watchScreen();
  let open = true;

  const onData = (chunk: Uint8Array | string): void => {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, 'latin1') : chunk;
    const leaves = isTerminal && escape !== undefined ? bytes.indexOf(escape) : -1;
    const typed = leaves < 0 ? bytes : bytes.subarray(0, leaves);
    if (typed.length > 0) events.onInput(typed);
    if (leaves >= 0) events.onEscape();
  };
  const onEnd = (): void => events.onEnd?.();
  /** A terminal that went away, or a pipe that broke, ends the input; the process is told by a signal or at its next write. */
  const onError = (): void => onEnd();

  const close = (): void => {
    if (!open) return;
    open = false;
    process.removeListener('exit', close);
    input.removeListener('data', onData);
    input.removeListener('end', onEnd);
    input.removeListener('error', onError);
    input.pause();
    if (isTerminal) {
      input.setRawMode(false);
      if (output.isTTY) output.write(screen.leave + resetModes);
    }
    // An input that stays open (a terminal, a pipe that nobody closes) must not keep the process alive.
    (input as { unref?: () => void }).unref?.();
  };

  process.on('exit', close);
  if (isTerminal) input.setRawMode(true);
  input.on('data', onData);
  input.on('end', onEnd);
  input.on('error', onError);
  input.resume();

  return {
    isTerminal,
    write: (bytes) => {
      screen.see(bytes);
      output.write(bytes);
    },
    close,
  };
}

/** Reads an input that is not a terminal to its end. */
export async function readToEnd(input: NodeJS.ReadableStream): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of input) chunks.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
  return Buffer.concat(chunks);
}

/**
 * The byte of an escape key: `^]` and the like, `none`, or a single character. Undefined for what is none of these.
 */
export function parseEscapeKey(text: string): { readonly byte: number | undefined } | undefined {
  if (text === 'none') return { byte: undefined };
  if (/^\^[@-_a-z]$/.test(text)) return { byte: text.toUpperCase().charCodeAt(1) & 0x1f };
  if (/^[\x01-\x7f]$/.test(text)) return { byte: text.charCodeAt(0) };
  return undefined;
}
