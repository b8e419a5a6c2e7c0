/**
 * The one error class: for what the host's user did wrong, or what failed outside. What a guest does wrong is never
 * one of these; it is a return value.
 */

export interface ParavaneErrorOptions {
  /** What led to this error. */
  readonly cause?: unknown;
  /** Facts for programs: file, line, column, option, sizes. */
  readonly data?: Readonly<Record<string, unknown>>;
}

/**
 * Match on `code`, never on the class: two copies of this package may be loaded.
 * The message names the cause and what to do next.
 */
export class ParavaneError<Code extends string = string> extends Error {
  override readonly name = 'ParavaneError';
  readonly code: Code;
  readonly data: Readonly<Record<string, unknown>>;

  constructor(code: Code, message: string, options: ParavaneErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.data = options.data ?? {};
  }
}

/** Whether `value` is a ParavaneError, of this or another copy of this package; with `code`, one of that code. */
export function isParavaneError(value: unknown, code?: string): value is ParavaneError {
  if (!(value instanceof Error) || value.name !== 'ParavaneError') return false;
  const actual = (value as Partial<ParavaneError>).code;
  return code === undefined ? typeof actual === 'string' : actual === code;
}
