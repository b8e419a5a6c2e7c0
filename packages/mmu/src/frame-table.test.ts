import { type DomId, domId, type Mfn } from '@paravane/types';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { createFrameTable, FrameFlag, type FrameTable, NO_OWNER } from './frame-table.js';
import { createMachineMemory } from './machine-memory.js';

const A = domId(1);
const B = domId(2);
let cleared: number[];
let freed: number[];
let frames: FrameTable;

beforeEach(() => {
  cleared = [];
  freed = [];
  frames = createFrameTable(
    createMachineMemory({ frames: 16, coreBytes: 0 }),
    (mfn) => cleared.push(mfn),
    (mfn) => freed.push(mfn),
  );
});
const take = (owner: DomId = A): Mfn => frames.allocate(owner) as Mfn;

describe('frame table', () => {
  it('never hands out frame 0, and says when nothing is left', () => {
    expect(frames.freeCount).toBe(15);
    const all = Array.from({ length: 15 }, () => take());
    expect([...all].sort((a, b) => a - b)).toEqual(Array.from({ length: 15 }, (_, i) => i + 1));
    expect(frames.freeCount).toBe(0);
    expect(take()).toBe(-1);
  });

  it('clears a frame only when it was used before', () => {
    const mfn = take();
    expect(cleared).toEqual([]);
    frames.release(mfn);
    expect(freed).toEqual([mfn]);
    while (frames.freeCount > 0) take(B);
    expect(cleared).toEqual([mfn]);
  });

  it('frees with the last reference, whoever drops it', () => {
    const mfn = take();
    expect(frames.getRef(mfn, A)).toBe(true);
    frames.release(mfn);
    frames.release(mfn);
    expect(frames.owner[mfn]).toBe(A);
    expect(frames.flags[mfn]! & FrameFlag.allocated).toBe(0);
    frames.putRef(mfn);
    expect(frames.owner[mfn]).toBe(NO_OWNER);
    expect(freed).toEqual([mfn]);
  });

  it('gives references only to the owner, and only of frames in use', () => {
    const mfn = take();
    expect(frames.getRef(mfn, B)).toBe(false);
    for (const wrong of [0, -1, 16, 1e12, Number.NaN, 9]) expect(frames.getRef(wrong, A)).toBe(false);
    expect(frames.refCount[mfn]).toBe(1);
  });

  it('keeps a frame that is pinned for I/O', () => {
    const mfn = take();
    frames.pin(mfn);
    frames.release(mfn);
    expect(frames.owner[mfn]).toBe(A);
    frames.unpin(mfn);
    expect(frames.owner[mfn]).toBe(NO_OWNER);
  });

  it('forgets type and flags of a frame that is freed', () => {
    const mfn = take();
    frames.type[mfn] = 3;
    frames.flags[mfn] = 0x1f;
    frames.release(mfn);
    expect([frames.type[mfn], frames.typeCount[mfn], frames.flags[mfn]]).toEqual([0, 0, 0]);
  });

  it('allocates runs of aligned frames, from fresh ones and from freed ones', () => {
    take();
    const run = frames.allocateRun(A, 4) as Mfn;
    expect(run % 4).toBe(0);
    for (let i = 0; i < 4; i++) expect(frames.owner[run + i]).toBe(A);
    const rest: Mfn[] = [];
    while (frames.freeCount > 0) rest.push(take(B));
    expect(frames.allocateRun(A, 2)).toBe(-1);
    for (let i = 0; i < 4; i++) frames.release((run + i) as Mfn);
    expect(frames.allocateRun(B, 4)).toBe(run);
    expect(frames.freeCount).toBe(0);
    expect(take()).toBe(-1);
  });

  it('never gives one frame to two, whatever the order of calls', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(4), fc.nat(20)), { maxLength: 200 }), (steps) => {
        const table = createFrameTable(
          createMachineMemory({ frames: 40, coreBytes: 0 }),
          () => undefined,
          () => undefined,
        );
        const held: Mfn[] = [];
        let miscounted = false;
        for (const [what, which] of steps) {
          if (what === 0) {
            const run = table.allocateRun(A, 4);
            if (run !== -1) for (let i = 0; i < 4; i++) held.push((run + i) as Mfn);
          } else if (what < 3) {
            const mfn = table.allocate(A);
            miscounted ||= (mfn === -1) !== (held.length === 39);
            if (mfn !== -1) held.push(mfn);
          } else {
            const [mfn] = held.splice(which % (held.length || 1), 1);
            if (mfn !== undefined) table.release(mfn);
          }
          expect(miscounted).toBe(false);
          expect(new Set(held).size).toBe(held.length);
          expect(held).not.toContain(0);
          expect(table.freeCount + held.length).toBe(39);
        }
      }),
    );
  });
});
