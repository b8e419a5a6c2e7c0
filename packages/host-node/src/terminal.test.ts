import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { openConsole, parseEscapeKey, readToEnd } from './terminal.js';

function fakeTerminal() {
  const modes: boolean[] = [];
  const input = Object.assign(new PassThrough(), { isTTY: true, setRawMode: (raw: boolean) => modes.push(raw) });
  const output = Object.assign(new PassThrough(), { isTTY: true });
  return { input, output, modes };
}

describe('openConsole', () => {
  it('puts a terminal into raw mode and restores it once', () => {
    const { input, output, modes } = fakeTerminal();
    const listeners = process.listenerCount('exit');
    const opened = openConsole({ input, output }, 0x1d, { onInput: () => undefined, onEscape: () => undefined });
    expect(modes).toEqual([true]);
    expect(process.listenerCount('exit')).toBe(listeners + 1);
    opened.close();
    opened.close();
    expect(modes).toEqual([true, false]);
    expect(process.listenerCount('exit')).toBe(listeners);
    expect(String(output.read())).toContain('\x1b[?25h');
  });

  it.each([
    ['in an editor', ['\x1b[?1049h', 'text'], true],
    ['in one whose beginning came in pieces', ['a\x1b[?10', '49htext'], true],
    ['after an editor', ['\x1b[?1049htext\x1b[?10', '49l$ '], false],
    ['without one', ['$ '], false],
  ])('leaves the alternate screen where that is shown: %s', (_, written, shown) => {
    const { input, output } = fakeTerminal();
    const opened = openConsole({ input, output }, 0x1d, { onInput: () => undefined, onEscape: () => undefined });
    for (const text of written) opened.write(Buffer.from(text));
    output.read();
    opened.close();
    expect(String(output.read()).startsWith('\x1b[?1049l')).toBe(shown);
  });

  it('passes what is typed before the escape key, and tells of the key', async () => {
    const { input, output } = fakeTerminal();
    const seen: string[] = [];
    const opened = openConsole({ input, output }, 0x1d, {
      onInput: (bytes) => seen.push(Buffer.from(bytes).toString()),
      onEscape: () => seen.push('escape'),
    });
    input.write('ab\x03');
    input.write('c\x1dd');
    await new Promise((resolve) => setTimeout(resolve, 10));
    opened.close();
    expect(seen).toEqual(['ab\x03', 'c', 'escape']);
  });

  it('feeds input that is not a terminal as it is, the escape byte too', async () => {
    const input = new PassThrough();
    const seen: string[] = [];
    const ended = new Promise<void>((resolve) => {
      openConsole({ input, output: new PassThrough() }, 0x1d, {
        onInput: (bytes) => seen.push(Buffer.from(bytes).toString()),
        onEscape: () => seen.push('escape'),
        onEnd: resolve,
      });
    });
    input.end('a\x1db');
    await ended;
    expect(seen).toEqual(['a\x1db']);
  });
});

it('readToEnd gathers everything', async () => {
  const input = new PassThrough();
  input.write('a');
  input.end('b');
  expect(Buffer.from(await readToEnd(input)).toString()).toBe('ab');
});

it('parseEscapeKey knows carets, single characters and none', () => {
  expect(parseEscapeKey('^]')).toEqual({ byte: 0x1d });
  expect(parseEscapeKey('^a')).toEqual({ byte: 1 });
  expect(parseEscapeKey('q')).toEqual({ byte: 113 });
  expect(parseEscapeKey('none')).toEqual({ byte: undefined });
  expect(parseEscapeKey('Ctrl-]')).toBeUndefined();
  expect(parseEscapeKey('')).toBeUndefined();
});
