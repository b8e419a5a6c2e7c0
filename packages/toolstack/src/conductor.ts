/**
 * Virtual time that several domains, and the network between them, share. Domains take turns in the order in which they
 * joined, each up to a common horizon; when all have come there, the horizon moves on. So the order of all that passes
 * between them depends on nothing but themselves, and their clocks differ by `stride` at most.
 *
 * Where nothing is to be done before a later moment, the horizon jumps there: at once, or, while somebody of the host
 * may yet answer (`paced`), no faster than the host's clock. After ten seconds of silence nobody is waited for.
 */
import type { HostTime } from './life-cycle.js';

/** Time as a network takes it: milliseconds since the first domain began. */
export interface ConductedClock {
  now(): number;
  /** Runs `run` once, `delay` milliseconds from now; the result takes it back. */
  schedule(delay: number, run: () => void): () => void;
}

export interface Conductor {
  readonly clock: ConductedClock;
  /** One more who takes turns. */
  join(): ConductedMember;
}

export interface ConductedMember {
  /** A domain begins, with a time of its own that starts at 0. */
  begin(): void;
  /** Resolves when it is the domain's turn. */
  turn(): Promise<void>;
  /** How far the domain may go, in its own milliseconds. */
  readonly until: number;
  /** The domain has come so far: what was to be done by then is done. */
  reached(milliseconds: number): void;
  /** Ends the turn; in so many of its milliseconds the domain has something to do. */
  pass(wait: number): void;
  /** Something came from outside: there may be something to do now. */
  wake(): void;
  /** Takes no more turns. */
  leave(): void;
}

export interface ConductorOptions {
  readonly time: HostTime;
  /** Milliseconds of a round. */
  readonly stride?: number;
  /** Whether idle time passes as the host's does. */
  readonly paced?: () => boolean;
}

interface Member {
  /** When it has something to do. */
  next: number;
  /** Common time at the domain's 0. */
  offset: number;
  begun: boolean;
  at: number;
  grant: (() => void) | undefined;
}

/** Within, times are whole nanoseconds. */
const nanoseconds = (milliseconds: number): number => Math.round(milliseconds * 1e6);
const never = Number.POSITIVE_INFINITY;
/** How long a silent host is waited for. */
const patience = 10e9;

export function createConductor(options: ConductorOptions): Conductor {
  const { time, paced = () => false } = options;
  const stride = nanoseconds(options.stride ?? 0.2);
  const timers: { readonly at: number; readonly run: () => void }[] = [];
  const members: Member[] = [];
  let now = 0;
  let horizon = stride;
  /** Whose turn it is; the number of members between two rounds. */
  let current = 0;
  let woken = false;
  /** Nanoseconds of the host's that were waited since something came from outside. */
  let waited = 0;
  let wakeSleeper: () => void = () => undefined;

  const nextTimer = (): number => timers[0]?.at ?? never;

  function schedule(delay: number, run: () => void): () => void {
    const timer = { at: now + Math.max(0, nanoseconds(delay)), run };
    const behind = timers.findIndex(({ at }) => at > timer.at);
    timers.splice(behind < 0 ? timers.length : behind, 0, timer);
    return () => {
      const at = timers.indexOf(timer);
      if (at >= 0) timers.splice(at, 1);
    };
  }

  function advance(to: number): void {
    now = Math.max(now, to);
    while (nextTimer() <= now) timers.shift()?.run();
  }

  function callNext(): void {
    if (current < members.length) members[current]?.grant?.();
    else if (members.length > 0) void startRound();
  }

  /** Lets the host's time pass: how much it was. */
  async function sleep(length: number): Promise<number> {
    const started = time.now();
    const pause = time.pause(length / 1e6);
    wakeSleeper = () => pause.wake();
    await pause.done;
    wakeSleeper = () => undefined;
    const passed = nanoseconds(time.now() - started);
    waited += passed;
    return passed;
  }

  async function startRound(): Promise<void> {
    const next = Math.min(nextTimer(), ...members.map((member) => member.next));
    if (next > horizon && !woken) {
      if (next === never) await sleep(next);
      else if (waited < patience && paced()) horizon = Math.min(next, horizon + (await sleep(next - horizon)));
      else horizon = next;
    }
    woken = false;
    horizon += stride;
    current = 0;
    callNext();
  }

  function join(): ConductedMember {
    const member: Member = { next: 0, offset: 0, begun: false, at: 0, grant: undefined };
    members.push(member);
    const hasTurn = (): boolean => members[current] === member;
    return {
      begin() {
        member.begun = false;
      },
      turn() {
        if (hasTurn()) return Promise.resolve();
        return new Promise((resolve) => {
          member.grant = () => {
            member.grant = undefined;
            resolve();
          };
        });
      },
      get until() {
        return (Math.min(horizon, nextTimer()) - member.offset) / 1e6;
      },
      reached(milliseconds) {
        if (!member.begun) member.offset = now - nanoseconds(milliseconds);
        member.begun = true;
        member.at = nanoseconds(milliseconds) + member.offset;
        advance(member.at);
      },
      pass(wait) {
        if (!hasTurn()) return;
        member.next = member.at + nanoseconds(wait);
        current++;
        callNext();
      },
      wake() {
        woken = true;
        waited = 0;
        wakeSleeper();
      },
      leave() {
        const at = members.indexOf(member);
        if (at < 0) return;
        const had = hasTurn();
        members.splice(at, 1);
        if (at < current) current--;
        if (had) callNext();
      },
    };
  }

  return { clock: { now: () => now / 1e6, schedule }, join };
}
