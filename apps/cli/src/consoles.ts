/**
 * The user's terminal as the console of one guest or of several. One guest has it to itself. Of several, a terminal shows
 * one at a time, and the escape key begins a command; where the output is no terminal, each line comes under its guest's
 * name, and what is typed goes to the first.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { type HostConsole, openConsole } from '@paravane/host-node';
import type { DomainRun } from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';
import type { CliContext } from './context.js';

export interface ConsoleFlags {
  readonly escape: { readonly byte: number | undefined };
  readonly consoleLog?: string;
  /** The escape key begins a command for one guest too: `s` shows figures. */
  readonly stats?: boolean;
}

export interface Consoles {
  /** Takes what a guest writes; guests have the numbers of their names. */
  output(guest: number, bytes: Uint8Array): void;
  /** Connects what is typed. `leave` is called when the user asks for the end; `figures` gives what `s` shows. */
  connect(runs: readonly DomainRun[], leave: () => void, figures: () => string): void;
  /** Gives the terminal back. Twice is once. */
  close(): void;
}

/** Bytes of a guest's output that are kept while it is not shown. */
const mostKept = 65_536;
const newline = 10;

/** The file of a guest: `%n` stands for its name. */
export function fileOf(pattern: string, names: readonly string[], name: string, flag: string): string {
  if (names.length > 1 && !pattern.includes('%n')) {
    throw new ParavaneError(
      'bad-argument',
      `${flag} ${pattern}: with several guests put %n where the guest's name is to be`,
    );
  }
  return pattern.replaceAll('%n', name);
}

export function createConsoles(context: CliContext, names: readonly string[], flags: ConsoleFlags): Consoles {
  const { stdin, process: host } = context;
  let terminal: HostConsole | undefined;
  const logs = openLogs(names, flags.consoleLog);
  const show = (bytes: Uint8Array): void => void (terminal ?? host.stdout).write(bytes);
  const terminals = stdin.isTTY && host.stdout.isTTY;
  const commands = terminals && (names.length > 1 || flags.stats === true);
  const face = commands
    ? switched(names, show, flags.escape.byte)
    : names.length === 1
      ? alone(show)
      : underNames(names, show);
  return {
    output(guest, bytes) {
      const log = logs[guest];
      if (log !== undefined) writeSync(log, bytes);
      face.output(guest, bytes);
    },
    connect(runs, leave, figures) {
      terminal = openConsole(
        { input: stdin, output: host.stdout },
        names.length === 1 && !commands ? flags.escape.byte : undefined,
        {
          onInput: (bytes) => face.input(bytes, (guest, typed) => runs[guest]?.input(typed), leave, figures),
          onEscape: leave,
        },
      );
    },
    close() {
      terminal?.close();
      face.close();
      for (const log of logs.splice(0)) closeSync(log);
    },
  };
}

function openLogs(names: readonly string[], pattern: string | undefined): number[] {
  if (pattern === undefined) return [];
  return names.map((name) => {
    const file = fileOf(pattern, names, name, '--console-log');
    try {
      return openSync(file, 'w');
    } catch (cause) {
      throw new ParavaneError('console-log', `cannot write the console to ${file}: ${(cause as Error).message}`, {
        cause,
      });
    }
  });
}

interface Face {
  output(guest: number, bytes: Uint8Array): void;
  input(
    bytes: Uint8Array,
    type: (guest: number, bytes: Uint8Array) => void,
    leave: () => void,
    figures: () => string,
  ): void;
  close(): void;
}

const alone = (show: (bytes: Uint8Array) => void): Face => ({
  output: (_, bytes) => show(bytes),
  input: (bytes, type) => type(0, bytes),
  close: () => undefined,
});

function underNames(names: readonly string[], show: (bytes: Uint8Array) => void): Face {
  const width = Math.max(...names.map(({ length }) => length));
  const begun = names.map((): Uint8Array[] => []);
  const line = (guest: number, parts: readonly Uint8Array[]): void =>
    show(Buffer.concat([Buffer.from(`${(names[guest] as string).padEnd(width)} | `), ...parts]));
  return {
    output(guest, bytes) {
      const parts = begun[guest] as Uint8Array[];
      let from = 0;
      for (let end = bytes.indexOf(newline); end >= 0; end = bytes.indexOf(newline, from)) {
        line(guest, [...parts.splice(0), bytes.subarray(from, end + 1)]);
        from = end + 1;
      }
      if (from < bytes.length) parts.push(bytes.subarray(from));
    },
    input: (bytes, type) => type(0, bytes),
    close() {
      for (const [guest, parts] of begun.entries()) {
        if (parts.length > 0) line(guest, [...parts.splice(0), Uint8Array.of(newline)]);
      }
    },
  };
}

/** One guest at a time; the others' output waits, the latest of it. */
export function switched(
  names: readonly string[],
  show: (bytes: Uint8Array) => void,
  escape: number | undefined,
): Face {
  const kept = names.map(() => Buffer.alloc(0));
  let shown = 0;
  let escaped = false;
  const say = (text: string): void => show(Buffer.from(text));

  function choose(guest: number): void {
    shown = guest;
    say(`\r\n[${guest + 1} ${names[guest]}]\r\n`);
    show(kept[guest] as Buffer);
    kept[guest] = Buffer.alloc(0);
  }

  function command(key: number, leave: () => void, figures: () => string): void {
    const letter = String.fromCharCode(key);
    const guest = Number(letter) - 1;
    if (key === escape || letter === 'q') leave();
    else if (letter === 's') say(`\r\n${figures().replaceAll('\n', '\r\n')}`);
    else if (letter === 'n') choose((shown + 1) % names.length);
    else if (guest >= 0 && guest < names.length) choose(guest);
    else
      say(`\r\n[${names.map((name, at) => `${at + 1} ${name}`).join(', ')}; n: the next, s: figures, q: end all]\r\n`);
  }

  return {
    output(guest, bytes) {
      if (guest === shown) show(bytes);
      else kept[guest] = Buffer.concat([kept[guest] as Buffer, bytes]).subarray(-mostKept);
    },
    input(bytes, type, leave, figures) {
      let from = 0;
      const flush = (to: number): void => {
        if (to > from) type(shown, bytes.subarray(from, to));
        from = to + 1;
      };
      for (let at = 0; at < bytes.length; at++) {
        if (escaped) {
          escaped = false;
          from = at + 1;
          command(bytes[at] as number, leave, figures);
        } else if (bytes[at] === escape) {
          flush(at);
          escaped = true;
        }
      }
      flush(bytes.length);
    },
    close: () => undefined,
  };
}
