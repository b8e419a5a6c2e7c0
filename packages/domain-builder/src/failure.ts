/**
 * The errors of this package, all `ParavaneError`: what is wrong with the kernel or with what was asked for it.
 */
import { ParavaneError } from '@paravane/types';

export type BuilderErrorCode =
  /** The file is damaged, or is no kernel at all. */
  | 'kernel-invalid'
  /** The file is a kernel, but of a kind that this builder does not start. */
  | 'kernel-unsupported'
  /** The domain's memory is too small for kernel, ramdisk and tables. */
  | 'memory-too-small'
  /** A value that the caller gave does not fit. */
  | 'option-invalid';

export function failure(
  code: BuilderErrorCode,
  message: string,
  options: { readonly cause?: unknown; readonly data?: Readonly<Record<string, unknown>> } = {},
): ParavaneError<BuilderErrorCode> {
  return new ParavaneError(code, message, options);
}

export function invalid(message: string): ParavaneError<BuilderErrorCode> {
  return failure('kernel-invalid', message);
}

export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

export function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 0x100000)} MB`;
}
