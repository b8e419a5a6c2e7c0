import { linkConformance } from '@paravane/link-api/conformance';
import { describe, expect, it } from 'vitest';
import { createTapLink, openTap, type TapFile } from './tap.js';

/** A device made of memory. */
function memoryDevice() {
  const frames: Uint8Array[] = [];
  const written: Uint8Array[] = [];
  let closes = 0;
  let wake = (): void => undefined;
  const file: TapFile = {
    ready: () =>
      new Promise((resolve) => {
        wake = resolve;
        if (frames.length > 0) resolve();
        else setTimeout(resolve, 5);
      }),
    read: () => frames.shift(),
    write: (frame) => void written.push(frame),
    close: () => closes++,
  };
  return {
    file,
    written,
    closes: () => closes,
    arrive(...more: Uint8Array[]) {
      frames.push(...more);
      wake();
    },
  };
}

const turns = () => new Promise((resolve) => setTimeout(resolve, 20));

describe('a TAP device', () => {
  const cases = linkConformance(() => {
    const device = memoryDevice();
    return {
      link: createTapLink(device.file, 'TAP test0'),
      settle: async () => void (await turns()),
      provoke: (count) => device.arrive(...Array.from({ length: count }, () => new Uint8Array(60))),
    };
  });
  it.each(cases)('$name', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined();
  });

  it('is closed once, at its end', async () => {
    const device = memoryDevice();
    const link = createTapLink(device.file, 'TAP test0');
    link.attach({ offloads: link.offloads, send: (frames) => frames.length, resume: () => undefined });
    link.send([{ bytes: new Uint8Array(60) }]);
    link.close();
    link.close();
    await turns();
    link.send([{ bytes: new Uint8Array(60) }]);
    expect([device.closes(), device.written.length]).toEqual([1, 1]);
  });

  it.each(['', 'a/b', 'a device', 'a-name-that-is-too-long'])('is not called %j', async (name) => {
    await expect(openTap(name)).rejects.toMatchObject({ code: 'tap-device' });
  });

  it('is opened where the host allows it, or says what it takes', async () => {
    const outcome = await openTap('pvtest0').then(
      (link) => {
        link.close();
        return 'opened';
      },
      (error: { readonly code?: string }) => error.code,
    );
    expect(['opened', 'tap-device', 'host-libc']).toContain(outcome);
  });
});
