/** `--record` and `--replay`: recordings as files. */
import { createHash } from 'node:crypto';
import { openTraceFile, readWhole } from '@paravane/host-node';
import { type Machine, readRecording, recordingMachine, replayingMachine } from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';
import { type CliContext, say } from './context.js';
import type { MachineFlags } from './machine-flags.js';
import { ownVersion } from './version.js';

export interface RunRecording {
  /** The machine that records or repeats, or the one that was given. */
  readonly machine: Machine;
  /** Whether input comes from a recording. */
  readonly replays: boolean;
  close(): void;
}

/** The flags as they are meant: a recorded run is one in virtual time. */
export function withRecording<T extends MachineFlags>(flags: T): T {
  const { record, replay } = flags;
  if (record !== undefined && replay !== undefined) {
    throw new ParavaneError('bad-argument', 'a run is recorded or replayed: give --record or --replay, not both');
  }
  return record === undefined && replay === undefined ? flags : { ...flags, clock: 'virtual' };
}

export function openRecording(
  context: CliContext,
  machine: Machine,
  { record, replay }: MachineFlags,
  guests: number,
): RunRecording {
  if (record === undefined && replay === undefined) return { machine, replays: false, close: () => undefined };
  if (guests > 1) throw new ParavaneError('bad-argument', 'a recording is of one guest: run one alone');
  const host = {
    version: ownVersion(),
    createChecksum() {
      const hash = createHash('sha256');
      return { add: (bytes: Uint8Array) => void hash.update(bytes), digest: () => hash.digest('hex') };
    },
  };
  if (replay !== undefined) {
    const text = new TextDecoder().decode(readWhole(replay, 'the recording'));
    const onSame = ({ instructions, stateHash }: { instructions: number; stateHash?: string }): void =>
      say(
        context,
        stateHash === undefined
          ? `replayed ${instructions} instructions, up to the last recorded input`
          : `replayed ${instructions} instructions, to the recorded state ${stateHash}`,
      );
    const replaying = replayingMachine(machine, readRecording(text, replay), { ...host, onSame });
    return { machine: replaying, replays: true, close: () => undefined };
  }
  const file = openTraceFile(record ?? '', { what: 'the recording', gather: 0 });
  return {
    machine: recordingMachine(machine, { ...host, write: file.write }),
    replays: false,
    close: () => file.close(),
  };
}
