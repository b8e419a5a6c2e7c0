/**
 * What every `Link` has to do, as cases for any test runner: `for (const { name, run } of linkConformance(setUp))
 * it(name, run)`. A case throws where the link falls short.
 */
import { isParavaneError } from '@paravane/types';
import { type Frame, type Link, type LinkUser, linkApiVersion, noOffloads } from './link.js';

/** A link, made anew for each case. */
export interface LinkUnderTest {
  readonly link: Link;
  /** Lets happen what the link does later, of its own accord: timers, turns of an event loop. */
  settle?(): void | Promise<void>;
  /**
   * Makes the link give `count` frames to its user, any frames; undefined where it can't be made to, such as a link
   * that only swallows. They need not be given before this returns, but after `settle`.
   */
  provoke?(count: number): void;
}

export interface LinkCase {
  readonly name: string;
  run(): Promise<void>;
}

function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`the link falls short: ${what}`);
}

interface RecordingUser extends LinkUser {
  readonly frames: Frame[];
  /** Frames that it takes before it says that it has no room. */
  room: number;
  refusals: number;
  resumes: number;
}

function recordingUser(room = Number.POSITIVE_INFINITY): RecordingUser {
  return {
    offloads: noOffloads,
    frames: [],
    room,
    refusals: 0,
    resumes: 0,
    send(frames) {
      const taken = Math.min(frames.length, this.room);
      this.room -= taken;
      this.frames.push(...frames.slice(0, taken));
      if (taken < frames.length) this.refusals++;
      return taken;
    },
    resume() {
      this.resumes++;
    },
  };
}

/** A broadcast of an EtherType for experiments (IEEE 802 local experimental 1). */
function broadcastFrame(length = 60): Frame {
  const bytes = new Uint8Array(length);
  const header = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, 0x77, 0x88, 0xb5];
  bytes.set(header.slice(0, length));
  return { bytes };
}

/** Bytes that look random and are the same every time (xorshift32). */
function noise(seed: number, length: number): Uint8Array {
  let state = seed | 1;
  return Uint8Array.from({ length }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state & 0xff;
  });
}

function takesAll(link: Link, frames: readonly Frame[]): void {
  const taken = link.send(frames);
  must(Number.isInteger(taken) && taken >= 0 && taken <= frames.length, `send answered ${taken} of ${frames.length}`);
}

export function linkConformance(setUp: () => LinkUnderTest | Promise<LinkUnderTest>): readonly LinkCase[] {
  const cases: LinkCase[] = [];
  const add = (name: string, body: (test: LinkUnderTest, settle: () => Promise<void>) => void | Promise<void>): void =>
    void cases.push({
      name,
      async run() {
        const test = await setUp();
        try {
          await body(test, async () => test.settle?.());
        } finally {
          test.link.close();
        }
      },
    });

  add('says what it is', ({ link }) => {
    must(link.apiVersion === linkApiVersion, `its apiVersion is ${link.apiVersion}, not ${linkApiVersion}`);
    must(link.name.length > 0, 'it has no name');
    must(Number.isInteger(link.mtu) && link.mtu >= 576 && link.mtu <= 65535, `its mtu is ${link.mtu}`);
    const mac = link.mac ?? '02:00:00:00:00:01';
    must(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac), `its address is ${mac}`);
    must((Number.parseInt(mac.slice(0, 2), 16) & 1) === 0, 'its address is a group address');
  });

  add('has one user', ({ link }) => {
    link.attach(recordingUser());
    let refusal: unknown;
    try {
      link.attach(recordingUser());
    } catch (error) {
      refusal = error;
    }
    must(isParavaneError(refusal, 'link-in-use'), 'a second user was not refused with link-in-use');
  });

  add('takes frames before it has a user', async ({ link }, settle) => {
    takesAll(link, [broadcastFrame()]);
    await settle();
  });

  add('takes an empty batch', ({ link }) => {
    link.attach(recordingUser());
    must(link.send([]) === 0, 'an empty batch was not answered with 0');
  });

  add('leaves the bytes of frames as they are', async ({ link }, settle) => {
    link.attach(recordingUser());
    const frame = broadcastFrame(200);
    const before = frame.bytes.slice();
    takesAll(link, [frame]);
    await settle();
    must(
      frame.bytes.every((byte, at) => byte === before[at]),
      'the bytes of a frame were changed',
    );
  });

  add('survives frames of any length and content', async ({ link }, settle) => {
    const user = recordingUser();
    link.attach(user);
    for (let length = 0; length <= 120; length++)
      takesAll(link, [broadcastFrame(length), { bytes: noise(length, length) }]);
    const etherTypes = [0x0800, 0x0806, 0x86dd, 0x8100, 0x88b5, 0x0001];
    for (let seed = 1; seed < 400; seed++) {
      const bytes = noise(seed * 7919, seed % 130);
      if (bytes.length >= 14) new DataView(bytes.buffer).setUint16(12, etherTypes[seed % etherTypes.length] ?? 0);
      if (bytes.length >= 15) bytes[14] = seed % 2 ? 0x45 : 0x60;
      takesAll(link, [{ bytes, checksum: 'blank', gso: { type: seed % 2 ? 'tcp4' : 'tcp6', size: seed % 3 } }]);
    }
    await settle();
  });

  add('takes frames again after it had no room', async ({ link }, settle) => {
    const user = recordingUser();
    link.attach(user);
    let refused = false;
    for (let batch = 0; batch < 64 && !refused; batch++) {
      const frames = Array.from({ length: 64 }, () => broadcastFrame(1514));
      refused = link.send(frames) < frames.length;
    }
    for (let turn = 0; turn < 100 && refused && user.resumes === 0; turn++) await settle();
    must(!refused || user.resumes > 0, 'it had no room, and never called resume');
    if (refused) must(link.send([broadcastFrame()]) === 1, 'it called resume, and took nothing');
  });

  add('gives frames that its user can take', async ({ link, provoke }, settle) => {
    if (!provoke) return;
    const user = recordingUser();
    link.attach(user);
    provoke(3);
    await settle();
    must(user.frames.length >= 3, `of 3 frames ${user.frames.length} came`);
    for (const frame of user.frames) {
      must(frame.bytes.length >= 14, `a frame of ${frame.bytes.length} bytes was given`);
      must(frame.bytes.length <= link.mtu + 18, `a frame of ${frame.bytes.length} bytes does not keep to the mtu`);
      must(frame.checksum !== 'blank' && !frame.gso, 'a frame was given with an offload that its user lacks');
    }
  });

  add('waits for its user', async ({ link, provoke }, settle) => {
    if (!provoke) return;
    const user = recordingUser(1);
    link.attach(user);
    provoke(3);
    await settle();
    must(user.frames.length === 1, `${user.frames.length} frames came to a user with room for one`);
    const { refusals } = user;
    must(refusals <= 1, 'frames were offered to a user that had no room');
    user.room = Number.POSITIVE_INFINITY;
    link.resume();
    provoke(1);
    await settle();
    must(user.frames.length >= 2, 'no frame came after resume');
  });

  add('is silent after close', async ({ link, provoke }, settle) => {
    const user = recordingUser();
    link.attach(user);
    link.close();
    link.close();
    const before = user.frames.length;
    takesAll(link, [broadcastFrame()]);
    link.resume();
    provoke?.(2);
    await settle();
    must(user.frames.length === before, 'a frame was given after close');
  });

  return cases;
}
