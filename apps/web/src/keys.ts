/** Bytes that a terminal sends for a key, as xterm does. Null for keys that are the browser's. */
export interface Key {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly altKey: boolean;
  readonly metaKey: boolean;
}

const named: Readonly<Record<string, string>> = {
  Enter: '\r',
  Backspace: '\x7f',
  Tab: '\t',
  Escape: '\x1b',
  ArrowUp: '\x1b[A',
  ArrowDown: '\x1b[B',
  ArrowRight: '\x1b[C',
  ArrowLeft: '\x1b[D',
  Home: '\x1b[H',
  End: '\x1b[F',
  Delete: '\x1b[3~',
  PageUp: '\x1b[5~',
  PageDown: '\x1b[6~',
};

export function bytesOfKey({ key, ctrlKey, altKey, metaKey }: Key): Uint8Array | null {
  if (metaKey) return null;
  const text = Object.hasOwn(named, key) ? named[key]! : key;
  if (ctrlKey) {
    const code = text.toUpperCase().charCodeAt(0);
    return text.length === 1 && code >= 0x40 && code < 0x60 ? Uint8Array.of(code & 31) : null;
  }
  if (text === key && [...key].length !== 1) return null;
  return new TextEncoder().encode(altKey ? `\x1b${text}` : text);
}
