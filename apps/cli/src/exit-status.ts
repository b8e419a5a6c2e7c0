/** Exit statuses, as `paravane --help` and the README document them. */
import type { RunOutcome } from '@paravane/toolstack';
import { isParavaneError } from '@paravane/types';

export const exitStatus = {
  shutdown: 0,
  hostFailure: 1,
  badInput: 2,
  crash: 3,
  timeout: 4,
  interrupted: 130,
} as const;

/** Failures of the host or of the network; every other ParavaneError is about what the user gave. */
const hostFailures: ReadonlySet<string> = new Set([
  'checksum-mismatch',
  'download-failed',
  'file-unwritable',
  'guest-ended',
  'guest-starting',
  'io',
  'mirror-unusable',
  'no-space',
  'package-damaged',
  'package-missing',
  'package-unusable',
  'replay-differs',
  'rootfs-failed',
]);

export function statusOfOutcome(outcome: RunOutcome): number {
  return exitStatus[outcome.kind];
}

/** Of several guests: the gravest that any of them has. */
export function statusOfAll(statuses: readonly number[]): number {
  const { hostFailure, badInput, crash, timeout, interrupted, shutdown } = exitStatus;
  const gravest = [hostFailure, badInput, crash, timeout, interrupted, shutdown];
  return gravest.find((status) => statuses.includes(status)) ?? shutdown;
}

export function statusOfError(error: unknown): number {
  if (!isParavaneError(error)) return exitStatus.hostFailure;
  if (error.code === 'interrupted') return exitStatus.interrupted;
  return hostFailures.has(error.code) || error.code.startsWith('host-') ? exitStatus.hostFailure : exitStatus.badInput;
}
