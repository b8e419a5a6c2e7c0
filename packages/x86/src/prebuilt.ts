/**
 * The interpreter's module as the build made it, so that starting an engine need
 * not make it again. The build puts the image into `dist/prebuilt-image.js`; in
 * the sources there is none, and for other options than the usual ones the
 * module is made anew.
 */
import { buildInterpreter, type InterpreterImage, type InterpreterOptions } from './interpreter.js';
import { PREBUILT } from './prebuilt-image.js';

export interface PrebuiltImage {
  /** Differs between builds of which one may make other code than the other. */
  build: string;
  options: InterpreterOptions;
  /** The module in base64. */
  module: string;
  handlers: [string, number][];
  fused: [number, number][];
  tableSlots: number;
}

/** Of the running build. */
export const BUILD = PREBUILT?.build ?? 'sources';

const same = (a: InterpreterOptions, b: InterpreterOptions): boolean =>
  a.shared === b.shared && a.tlbBase === b.tlbBase && a.arena === b.arena && a.regionWords === b.regionWords;

export function interpreterImage(options: InterpreterOptions): InterpreterImage {
  if (PREBUILT === null || !same(PREBUILT.options, options)) return buildInterpreter(options);
  return {
    bytes: fromBase64(PREBUILT.module),
    handlers: new Map(PREBUILT.handlers),
    fused: new Map(PREBUILT.fused),
    tableSlots: PREBUILT.tableSlots,
  };
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

function fromBase64(text: string): Uint8Array {
  const values = new Uint8Array(128);
  for (let i = 0; i < 64; i++) values[ALPHABET.charCodeAt(i)] = i;
  const length = text.replace(/=+$/, '').length;
  const bytes = new Uint8Array(Math.floor((length * 3) / 4));
  for (let from = 0, to = 0; from < length; from += 4) {
    let word = 0;
    for (let i = 0; i < 4; i++) word = (word << 6) | values[text.charCodeAt(from + i) & 127]!;
    bytes[to++] = word >> 16;
    bytes[to++] = word >> 8;
    bytes[to++] = word;
  }
  return bytes;
}
