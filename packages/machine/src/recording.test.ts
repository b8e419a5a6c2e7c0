/** Runs that are recorded and made again, with the real machine. */
import { guestKernel } from '@paravane/guest-stubs';
import {
  type BootRequest,
  type DomainEnd,
  type RecordedEnd,
  type RunningDomain,
  readRecording,
  recordingMachine,
  replayingMachine,
} from '@paravane/toolstack';
import { describe, expect, it } from 'vitest';
import { createMachine } from './index.js';

/** Adds bytes up: no more is needed to tell inputs apart here. */
const host = {
  version: '1.0.0',
  createChecksum() {
    let sum = 0;
    return {
      add(bytes: Uint8Array): void {
        for (const byte of bytes) sum = (sum * 31 + byte) % 0x7fffffff;
      },
      digest: () => sum.toString(16),
    };
  },
};

function request(changes: Partial<BootRequest> = {}, output: string[] = []): BootRequest {
  return {
    config: {
      name: 'guest',
      type: 'pv',
      kernel: 'kernel',
      cmdline: '',
      memory: 16,
      maxmem: 16,
      vcpus: 1,
      onPoweroff: 'destroy',
      onReboot: 'destroy',
      onCrash: 'destroy',
    },
    kernel: guestKernel(),
    onOutput: (bytes) => output.push(String.fromCharCode(...bytes)),
    clock: 'virtual',
    seed: 7n,
    epoch: 1e12,
    now: () => 0,
    ...changes,
  };
}

/** Steps that often, or to the end. */
function advance(domain: RunningDomain, steps = 10_000): DomainEnd | undefined {
  for (let step = 0; step < steps; step++) {
    const result = domain.step();
    if (result.state === 'ended') return result.end;
  }
  return undefined;
}

/** Types at moments that only the host knows: what is asked is how often the machine was stepped in between. */
async function record(parts: readonly (readonly [steps: number, text: string])[], leaves = false) {
  const lines: string[] = [];
  const output: string[] = [];
  const machine = recordingMachine(createMachine(), { ...host, write: (line) => lines.push(line) });
  const domain = await machine.bootDomain(request({}, output));
  for (const [steps, text] of parts) {
    advance(domain, steps);
    domain.input(Uint8Array.from(text, (character) => character.charCodeAt(0)));
  }
  const end = advance(domain, leaves ? 40 : undefined);
  domain.destroy();
  return { text: `${lines.join('\n')}\n`, output: output.join(''), end };
}

async function replay(text: string, changes: Partial<BootRequest> = {}) {
  const output: string[] = [];
  const same: RecordedEnd[] = [];
  const options = { ...host, onSame: (end: RecordedEnd) => same.push(end) };
  const machine = replayingMachine(createMachine(), readRecording(text, 'a.rec'), options);
  const domain = await machine.bootDomain(request({ seed: 0n, epoch: 0, ...changes }, output));
  domain.input(Uint8Array.of(3, 3, 3)); // nobody hears of it
  const end = advance(domain);
  domain.destroy();
  return { output: output.join(''), end, same };
}

const typing = [
  [3, 'echo one\r'],
  [90, 'ti'],
  [2, 'me\rsleep 30\r'],
  [5, 'echo while it sleeps\r'],
  [60, 'poweroff\r'],
] as const;

describe('a recorded run', () => {
  it('is made again to the same state, by the interpreter too', async () => {
    const recorded = await record(typing);
    expect(recorded.end).toEqual({ kind: 'poweroff' });
    const again = await replay(recorded.text);
    expect(again).toMatchObject({ output: recorded.output, end: recorded.end });
    expect(again.same).toHaveLength(1);
    expect((await replay(recorded.text, { engine: 'interpreter' })).same).toEqual(again.same);
  });

  it('takes the same steps however often the host looked at a guest that waits', async () => {
    const inputs = ({ text }: { text: string }) => readRecording(text, 'a').boots[0]?.inputs;
    const seldom = await record([
      [400, 'echo one\r'],
      [400, 'poweroff\r'],
    ]);
    const often = await record([
      [3000, 'echo one\r'],
      [900, 'poweroff\r'],
    ]);
    expect(inputs(seldom)).toHaveLength(2);
    expect(inputs(often)).toEqual(inputs(seldom));
  });

  it('ends where it was left', async () => {
    const recorded = await record([[20, 'sleep 5000\recho never\r']], true);
    expect(recorded.end).toBeUndefined();
    const again = await replay(recorded.text);
    expect(again).toMatchObject({ output: recorded.output, end: { kind: 'replayed' } });
    expect(again.same).toHaveLength(1);
  });

  it('goes up to its last input where the recording broke off', async () => {
    const { text } = await record(typing);
    const whole = text.trimEnd().split('\n');
    const again = await replay(whole.slice(0, 4).join('\n'));
    expect(again.end).toEqual({ kind: 'replayed' });
    expect(again.same[0]?.stateHash).toBeUndefined();
  });

  it.each([
    ['memory', { config: { ...request().config, memory: 32, maxmem: 32 } }, /memory was 16 and is 32/],
    ['kernel', { kernel: guestKernel(32) }, /kernel was [0-9a-f]+ and is [0-9a-f]+/],
    ['processor', { config: { ...request().config, hiddenFeatures: ['aes'] } }, /hidden features was {2}and is aes/],
    ['ramdisk', { ramdisk: Uint8Array.of(1) }, /ramdisk was none and is/],
  ])('is refused with another %s', async (_, changes, message) => {
    const { text } = await record(typing);
    await expect(replay(text, changes)).rejects.toThrow(message);
  });

  it('is refused by another version', async () => {
    const { text } = await record(typing);
    await expect(replay(text.replace('"version":"1.0.0"', '"version":"0.9.0"'))).rejects.toThrow(
      "this run can't be the recorded one: version was 0.9.0 and is 1.0.0",
    );
  });

  it('says where a replay leaves the recording', async () => {
    const { text } = await record(typing);
    const [start, first, ...rest] = text.trimEnd().split('\n') as [string, string, ...string[]];
    const other = first.replace(/"data":"[0-9a-f]*"/, '"data":"6d6170"');
    await expect(replay([start, other, ...rest].join('\n'))).rejects.toMatchObject({ code: 'replay-differs' });
    const moved = first.replace(/"instructions":\d+/, '"instructions":1');
    await expect(replay([start, moved, ...rest].join('\n'))).rejects.toThrow('came after 1 instructions');
    const end = rest.at(-1)?.replace(/"stateHash":"./, '"stateHash":"x') ?? '';
    await expect(replay([start, first, ...rest.slice(0, -1), end].join('\n'))).rejects.toThrow('in state x');
  });

  it.each([
    ['', 'a.rec is empty'],
    ['{"input":{}}', 'a.rec:1: a line "start" is missing'],
    ['not json', 'a.rec:1: this is no line of a recording'],
    ['{"start":{"format":9}}', 'a.rec:1: the recording has format 9'],
    [
      '{"start":{"format":1}}\n{"input":{"step":-1,"instructions":0,"source":"console","data":""}}',
      'a.rec:2: the input has no place',
    ],
    [
      '{"start":{"format":1}}\n{"input":{"step":0,"instructions":0,"source":"console","data":"0"}}',
      'a.rec:2: the bytes',
    ],
    ['{"start":{"format":1}}\n{"other":1}', 'a.rec:2: neither'],
  ])('is not read from %j', (text, message) => {
    expect(() => readRecording(text, 'a.rec')).toThrow(message);
  });

  it('needs virtual time and no network', async () => {
    const machine = recordingMachine(createMachine(), { ...host, write: () => undefined });
    await expect(machine.bootDomain(request({ clock: 'wall' }))).rejects.toMatchObject({ code: 'recording-needs' });
  });

  it('is not paused, as nothing would repeat that', async () => {
    const machine = recordingMachine(createMachine(), { ...host, write: () => undefined });
    const domain = await machine.bootDomain(request());
    expect(() => domain.control?.pause()).toThrow('this run is recorded');
    await expect(domain.control?.disks.resize('xvda', 512)).rejects.toMatchObject({ code: 'run-recorded' });
    domain.destroy();
  });
});
