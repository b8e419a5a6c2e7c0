/**
 * How this package says that a file is damaged: a `ParavaneError` that names the part, the byte and the claim.
 */
import { ParavaneError } from '@paravane/types';

export function invalid(message: string): ParavaneError {
  return new ParavaneError('elf-invalid', message);
}

export function truncated(message: string): ParavaneError {
  return new ParavaneError('elf-truncated', `${message}; the file is cut short or damaged, get it again`);
}

export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
