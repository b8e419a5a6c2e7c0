/** The asking end of the control protocol. What carries the lines is the host's. */
import { ParavaneError } from '@paravane/types';
import {
  type ControlRequest,
  type ControlResults,
  controlProtocol,
  createLines,
  longestAnswer,
  parseAnswer,
} from './protocol.js';

export interface ControlClient {
  /** Rejects with a ParavaneError that has the other side's code, or `host-control-lost`. */
  ask<Op extends ControlRequest['op']>(
    request: Extract<ControlRequest, { op: Op }>,
    onEvent?: (event: string) => void,
  ): Promise<ControlResults[Op]>;
}

export interface ControlClientConnection extends ControlClient {
  receive(text: string): void;
  /** The connection is gone: everything asked is answered with that. */
  lost(why: string): void;
}

interface Asked {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly onEvent?: (event: string) => void;
}

export function createControlClient(send: (line: string) => void): ControlClientConnection {
  const asked = new Map<number, Asked>();
  let next = 0;
  let gone: ParavaneError | undefined;

  function lost(why: string): void {
    gone ??= new ParavaneError('host-control-lost', `the connection to the guest's process is lost: ${why}`);
    for (const { reject } of asked.values()) reject(gone);
    asked.clear();
  }

  const lines = createLines(longestAnswer, (line) => {
    const answer = parseAnswer(line);
    if (answer === undefined) return lost('it sent what is no answer; is it another version of paravane?');
    if ('hello' in answer) {
      if (answer.protocol === controlProtocol) return;
      return lost(
        `it speaks version ${answer.protocol} of the protocol, not ${controlProtocol}; use matching versions`,
      );
    }
    if (answer.id === null) {
      if ('error' in answer) lost(answer.error.message);
      return;
    }
    const waiting = asked.get(answer.id);
    if (waiting === undefined) return;
    if ('event' in answer) return waiting.onEvent?.(answer.event);
    asked.delete(answer.id);
    if ('error' in answer) waiting.reject(new ParavaneError(answer.error.code, answer.error.message));
    else waiting.resolve(answer.result);
  });

  return {
    ask(request, onEvent) {
      if (gone !== undefined) return Promise.reject(gone);
      const id = next;
      next += 1;
      return new Promise((resolve, reject) => {
        asked.set(id, {
          resolve: resolve as (result: unknown) => void,
          reject,
          ...(onEvent === undefined ? {} : { onEvent }),
        });
        send(JSON.stringify({ id, ...request }));
      });
    },
    receive(text) {
      if (!lines.push(text)) lost('it sent more than fits');
    },
    lost,
  };
}
