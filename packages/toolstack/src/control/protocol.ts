/**
 * The control protocol: lines of JSON, one message each; docs/control.md describes it. Bytes (console output, typing,
 * values of the store) are strings of one character per byte.
 *
 * What comes from the other side is `claimed`: it is read here, field by field, and nothing here throws.
 */

/** The version that both sides must have. */
export const controlProtocol = 1;
/** Characters of one line of a request. */
export const longestRequest = 65_536;
/** Characters of one line of an answer: a store's listing is the longest. */
export const longestAnswer = 64 * 1024 * 1024;
/** XENSTORE_PAYLOAD_MAX and XENSTORE_ABS_PATH_MAX of public/io/xs_wire.h. */
const longestValue = 4096;
const longestPath = 3072;

export const shutdownReasons = ['poweroff', 'reboot', 'halt'] as const;
export type ShutdownReason = (typeof shutdownReasons)[number];

const plain = ['info', 'pause', 'unpause', 'destroy', 'wait', 'console'] as const;
const withPath = ['store-list', 'store-read', 'store-remove', 'store-watch'] as const;

/** What each request has beside its name. */
interface ControlArguments extends Record<(typeof plain)[number], object> {
  shutdown: { readonly reason: ShutdownReason };
  sysrq: { readonly key: string };
  'mem-set': { readonly memory: number };
  'vcpu-set': { readonly vcpus: number };
  /** `size` is in bytes. */
  'block-resize': { readonly vdev: string; readonly size: number };
  /** `target` is a file of the host. */
  'cd-insert': { readonly vdev: string; readonly target: string };
  'cd-eject': { readonly vdev: string };
  input: { readonly data: string };
  'store-list': { readonly path: string };
  'store-read': { readonly path: string };
  'store-remove': { readonly path: string };
  'store-watch': { readonly path: string };
  'store-write': { readonly path: string; readonly value: string };
}

export type ControlRequest = {
  [Op in keyof ControlArguments]: { readonly op: Op } & ControlArguments[Op];
}[keyof ControlArguments];

export interface GuestInfo {
  readonly name: string;
  /** Of the process that runs it. */
  readonly pid: number;
  /** Undefined while there is no domain. */
  readonly domid?: number;
  /** MiB that the guest has now; those of its configuration while there is no domain. */
  readonly memory: number;
  readonly vcpus: number;
  readonly state: string;
  /** Processor time of the whole process. */
  readonly cpuSeconds: number;
  readonly uptimeSeconds: number;
}

export interface StoreNode {
  readonly path: string;
  readonly value: string;
  readonly permissions: readonly string[];
}

/** What a request is answered with. */
export interface ControlResults {
  info: GuestInfo;
  pause: null;
  unpause: null;
  destroy: null;
  shutdown: { readonly state: string };
  sysrq: { readonly state: string };
  'mem-set': { readonly state: string };
  'vcpu-set': { readonly state: string };
  'block-resize': null;
  'cd-insert': null;
  'cd-eject': null;
  input: null;
  wait: { readonly end: string };
  /** A stream: ends when the guest is gone. */
  console: { readonly end: string };
  'store-list': readonly StoreNode[];
  'store-read': string;
  'store-write': null;
  'store-remove': null;
  /** A stream: ends when the guest is gone. */
  'store-watch': { readonly end: string };
}

export type ControlFailure = { readonly code: string; readonly message: string };

export type ControlAnswer =
  | { readonly hello: 'paravane'; readonly protocol: number }
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly event: string }
  | { readonly id: number | null; readonly error: ControlFailure };

export type ParsedRequest =
  | { readonly id: number; readonly request: ControlRequest }
  | { readonly id: number | null; readonly wrong: string };

export function parseRequest(claimedLine: string): ParsedRequest {
  const claimed = parseObject(claimedLine);
  if (claimed === undefined) return { id: null, wrong: 'a request is one JSON object on a line' };
  const { id, op } = claimed;
  if (!isId(id)) return { id: null, wrong: '"id" is a whole number from 0' };
  const simple = plain.find((name) => name === op);
  if (simple !== undefined) return { id, request: { op: simple } };
  if (op === 'shutdown') {
    const reason = shutdownReasons.find((name) => name === claimed.reason);
    if (reason === undefined) return { id, wrong: `"reason" is one of ${shutdownReasons.join(', ')}` };
    return { id, request: { op, reason } };
  }
  if (op === 'sysrq') {
    const { key } = claimed;
    if (typeof key !== 'string' || !/^[0-9A-Za-z?]$/.test(key)) return { id, wrong: '"key" is one letter or digit' };
    return { id, request: { op, key } };
  }
  if (op === 'mem-set') {
    const { memory } = claimed;
    if (!isId(memory)) return { id, wrong: '"memory" is a whole number of MiB' };
    return { id, request: { op, memory } };
  }
  if (op === 'vcpu-set') {
    const { vcpus } = claimed;
    if (!isId(vcpus)) return { id, wrong: '"vcpus" is a whole number' };
    return { id, request: { op, vcpus } };
  }
  if (op === 'input') {
    if (!isBytes(claimed.data, longestRequest)) return { id, wrong: '"data" is text of one character per byte' };
    return { id, request: { op, data: claimed.data } };
  }
  if (op === 'block-resize' || op === 'cd-insert' || op === 'cd-eject') return parseOnDisk(id, op, claimed);
  const pathed = withPath.find((name) => name === op);
  if (pathed === undefined && op !== 'store-write') return { id, wrong: '"op" names no request of this protocol' };
  const { path, value } = claimed;
  if (!isPath(path))
    return { id, wrong: 'a path of the store is names of letters, digits and - _ @ : with / between them' };
  if (pathed !== undefined) return { id, request: { op: pathed, path } };
  if (!isBytes(value, longestValue)) {
    return { id, wrong: `a value of the store is text of one character per byte, ${longestValue} at most` };
  }
  return { id, request: { op: 'store-write', path, value } };
}

function parseOnDisk(
  id: number,
  op: 'block-resize' | 'cd-insert' | 'cd-eject',
  { vdev, size, target }: Record<string, unknown>,
): ParsedRequest {
  if (typeof vdev !== 'string' || !/^[0-9a-z]{1,16}$/i.test(vdev)) return { id, wrong: '"vdev" names a virtual disk' };
  if (op === 'cd-eject') return { id, request: { op, vdev } };
  if (op === 'cd-insert') {
    if (typeof target !== 'string' || !/^[^\0]{1,4096}$/.test(target)) return { id, wrong: '"target" names a file' };
    return { id, request: { op, vdev, target } };
  }
  if (!isId(size) || size === 0 || size % 512 !== 0) {
    return { id, wrong: '"size" is a number of bytes, a multiple of 512' };
  }
  return { id, request: { op, vdev, size } };
}

/** An answer, or undefined for a line that is none. What a result holds is not looked at. */
export function parseAnswer(claimedLine: string): ControlAnswer | undefined {
  const claimed = parseObject(claimedLine);
  if (claimed === undefined) return undefined;
  const { hello, protocol, id, event, error } = claimed;
  if (hello === 'paravane' && typeof protocol === 'number') return { hello, protocol };
  if (isObject(error) && (id === null || isId(id))) {
    const { code, message } = error;
    if (typeof code === 'string' && typeof message === 'string') return { id, error: { code, message } };
    return undefined;
  }
  if (!isId(id)) return undefined;
  if (typeof event === 'string') return { id, event };
  return Object.hasOwn(claimed, 'result') ? { id, result: claimed.result } : undefined;
}

export interface Lines {
  /** Takes what has come; calls back for each whole line. False once a line is too long: nothing more is taken. */
  push(text: string): boolean;
}

/** Cuts a stream of text into lines; empty ones are dropped. */
export function createLines(longest: number, onLine: (line: string) => void): Lines {
  let rest = '';
  let broken = false;
  return {
    push(text) {
      if (broken) return false;
      const lines = (rest + text).split('\n');
      rest = lines.pop() as string;
      for (const line of lines) {
        if (line.length > longest) broken = true;
        else if (!broken && line.trim() !== '') onLine(line);
      }
      if (rest.length > longest) broken = true;
      if (broken) rest = '';
      return !broken;
    },
  };
}

export function bytesToText(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** Of text with one character per byte. */
export function textToBytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function parseObject(claimedLine: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(claimedLine);
    return isObject(value) ? value : undefined;
  } catch (error) {
    // A line that is no JSON, or nested too deeply to be read, is no message: the sender is told so.
    if (error instanceof Error) return undefined;
    throw error;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isId(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isBytes(value: unknown, longest: number): value is string {
  return typeof value === 'string' && value.length <= longest && /^[\x00-\xff]*$/.test(value);
}

function isPath(value: unknown): value is string {
  return typeof value === 'string' && value.length <= longestPath && /^[\x21-\x7e]+$/.test(value);
}
