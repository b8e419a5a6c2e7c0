/**
 * Recorded runs: all that came to a domain from outside, each input with its place in the run, so that another machine
 * can make the same run again. In virtual time only: there a run depends on nothing else.
 *
 * A recording is lines of JSON. Each boot has a line `start`, with what the run was made of, a line for each input
 * (its bytes in hexadecimal), and a line `end`, with the state that it came to. One without an `end` (the host was
 * stopped) can be replayed up to its last input.
 *
 * Trusts the caller; a recording is checked line by line.
 */
import type { DiskImage } from '@paravane/image-api';
import { ParavaneError } from '@paravane/types';
import type { BootRequest, DomainControl, Machine, RecordedInput, RunningDomain } from './machine.js';

/** A checksum of bytes that come in parts. */
export interface Checksum {
  add(bytes: Uint8Array): void;
  /** In hexadecimal. */
  digest(): string;
}

export interface RecordingHost {
  /** Of the programs that run the guest: a recording is for this version only. */
  readonly version: string;
  createChecksum(): Checksum;
}

export interface RecordOptions extends RecordingHost {
  /** Takes a line of the recording. */
  write(line: string): void;
}

export interface ReplayOptions extends RecordingHost {
  /** Told when a boot has come to the end of its recording, in the recorded state. */
  onSame?(end: RecordedEnd): void;
}

/** What a run is made of, by name. */
type Facts = Readonly<Record<string, string | number>>;

export interface RecordedEnd {
  readonly steps: number;
  readonly instructions: number;
  /** Undefined in a recording that broke off. */
  readonly stateHash?: string;
}

interface Boot {
  readonly facts: Facts;
  readonly inputs: RecordedInput[];
  end: RecordedEnd | undefined;
}

export interface Recording {
  readonly boots: readonly Boot[];
}

const FORMAT = 1;
/** Bytes of a disk that are read at once. */
const PART = 1 << 20;

/** The machine, with its domains recorded. */
export function recordingMachine(machine: Machine, options: RecordOptions): Machine {
  const write = (kind: string, value: object): void => options.write(JSON.stringify({ [kind]: value }));
  return {
    async bootDomain(request) {
      write('start', { format: FORMAT, ...(await factsOf(request, options)) });
      const domain = await machine.bootDomain({
        ...request,
        onInput: ({ step, instructions, source, data }) =>
          write('input', { step, instructions, source, data: toHex(data) }),
      });
      return watched(domain, () => write('end', endOf(domain)));
    },
  };
}

/** The machine, whose domains get what was recorded, boot by boot, and must come to the recorded states. */
export function replayingMachine(machine: Machine, { boots }: Recording, options: ReplayOptions): Machine {
  let next = 0;
  return {
    async bootDomain(request) {
      const boot = boots[next++];
      if (boot === undefined) throw differs(`it boots more often than the ${boots.length} times of the recording`);
      const { facts, inputs, end } = boot;
      const repeated = { ...request, seed: BigInt(facts.seed ?? 0), epoch: Number(facts.epoch) };
      compare(facts, { format: FORMAT, ...(await factsOf(repeated, options)) });
      const last = inputs.at(-1);
      const steps = end?.steps ?? (last === undefined ? 0 : last.step + 1);
      const domain = await machine.bootDomain({ ...repeated, replay: { inputs, steps } });
      return watched(domain, (ended) => {
        // Left before its end, there is nothing to compare.
        if (!ended) return;
        const now = endOf(domain);
        if (end !== undefined && (now.stateHash !== end.stateHash || now.instructions !== end.instructions)) {
          throw differs(
            `it ends after ${now.instructions} instructions in state ${now.stateHash}, the recorded one after ` +
              `${end.instructions} in state ${end.stateHash}`,
          );
        }
        options.onSame?.(end ?? { steps: now.steps, instructions: now.instructions });
      });
    },
  };
}

/** Reads a recording; `file` is its name in errors. */
export function readRecording(text: string, file: string): Recording {
  const boots: Boot[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line === '') continue;
    const fail = (what: string): never => {
      throw new ParavaneError('recording-invalid', `${file}:${index + 1}: ${what}; record the run again`, {
        data: { file, line: index + 1 },
      });
    };
    const { start, input, end } = (objectOf(line) ?? fail('this is no line of a recording')) as {
      start?: Facts;
      input?: { step: number; instructions: number; source: string; data: string };
      end?: RecordedEnd;
    };
    const boot = boots.at(-1);
    if (start !== undefined) {
      if (start.format !== FORMAT) fail(`the recording has format ${start.format}, this version reads ${FORMAT}`);
      boots.push({ facts: start, inputs: [], end: undefined });
    } else if (boot === undefined || boot.end !== undefined) {
      fail('a line "start" is missing before this one');
    } else if (end !== undefined) {
      boot.end = isCount(end.steps) && isCount(end.instructions) ? end : fail('steps and instructions are missing');
    } else if (input === undefined) {
      fail('neither "start" nor "input" nor "end" is in this line');
    } else {
      const { step, instructions, source, data } = input;
      const bytes = fromHex(data) ?? fail('the bytes of the input are not hexadecimal');
      if (!isCount(step) || !isCount(instructions) || typeof source !== 'string') fail('the input has no place');
      boot.inputs.push({ step, instructions, source, data: bytes });
    }
  }
  if (boots.length === 0) throw new ParavaneError('recording-invalid', `${file} is empty; record the run again`);
  return { boots };
}

/** The domain; `finish` hears before it is gone whether it had ended by itself. */
function watched(domain: RunningDomain, finish: (ended: boolean) => void): RunningDomain {
  let ended = false;
  return {
    input: (bytes) => domain.input(bytes),
    step(until) {
      const result = domain.step(until);
      ended ||= result.state === 'ended';
      return result;
    },
    get guestMilliseconds() {
      return domain.guestMilliseconds;
    },
    stats: () => domain.stats(),
    destroy() {
      try {
        finish(ended);
      } finally {
        domain.destroy();
      }
    },
    ...(domain.control === undefined ? {} : { control: withoutUnrecorded(domain.control) }),
    ...(domain.settled === undefined ? {} : { settled: () => domain.settled?.() ?? Promise.resolve() }),
  };
}

/** What changes a run and is no input can't be repeated, so it can't be done. */
function withoutUnrecorded(control: DomainControl): DomainControl {
  const refuse = (): never => {
    throw new ParavaneError(
      'run-recorded',
      'this run is recorded or replayed: its disks and its vCPUs are left alone; start one without --record for that',
    );
  };
  return {
    domid: control.domid,
    get memory() {
      return control.memory;
    },
    store: control.store,
    disks: { resize: async () => refuse(), changeMedium: async () => refuse() },
    pause: refuse,
    unpause: refuse,
  };
}

function endOf(domain: RunningDomain): RecordedEnd {
  const { instructions, stateHash, counters } = domain.stats();
  return {
    steps: Number(counters.steps ?? 0),
    instructions: Number(instructions),
    ...(stateHash === undefined ? {} : { stateHash }),
  };
}

async function factsOf(request: BootRequest, host: RecordingHost): Promise<Facts> {
  const { config, kernel, ramdisk, disks = [], vifs = [], channels = [], clock, seed, epoch } = request;
  if (clock !== 'virtual') {
    throw new ParavaneError(
      'recording-needs',
      'a run in wall time depends on the host; record one with --clock virtual',
    );
  }
  if (vifs.length > 0) {
    throw new ParavaneError('recording-needs', 'what a network brings is not recorded; leave out the interfaces (vif)');
  }
  const facts: Record<string, string | number> = {
    version: host.version,
    name: config.name,
    'command line': config.cmdline,
    memory: config.memory,
    maxmem: config.maxmem,
    vcpus: config.vcpus,
    cpu_weight: config.cpuWeight ?? 256,
    cap: config.cap ?? 0,
    'hidden features': [...(config.hiddenFeatures ?? [])].sort().join(' '),
    channels: channels.map(({ name = '' }) => name).join(' '),
    seed: String(seed),
    epoch,
    kernel: checksumOf(kernel, host),
    ramdisk: ramdisk === undefined ? 'none' : checksumOf(ramdisk, host),
  };
  for (const { config: disk, image } of disks) {
    const rights = disk.readOnly || image?.readOnly ? 'read-only' : 'writable';
    const kind = `${disk.cdrom ? 'CD-ROM' : 'disk'}, ${rights}${disk.discard ? '' : ', no discard'}`;
    const contents = image === undefined ? 'no medium' : await checksumOfDisk(image, host);
    facts[`disk ${disk.vdev.name}`] = `${kind}, ${contents}`;
  }
  return facts;
}

function checksumOf(bytes: Uint8Array, host: RecordingHost): string {
  const checksum = host.createChecksum();
  checksum.add(bytes);
  return checksum.digest();
}

async function checksumOfDisk(image: DiskImage, host: RecordingHost): Promise<string> {
  const checksum = host.createChecksum();
  const part = new Uint8Array(PART);
  for (let offset = 0; offset < image.size; offset += PART) {
    const bytes = part.subarray(0, Math.min(PART, image.size - offset));
    await image.read(offset, [bytes]);
    checksum.add(bytes);
  }
  return `${image.size} bytes in blocks of ${image.logicalBlockSize}, ${checksum.digest()}`;
}

function compare(recorded: Facts, here: Facts): void {
  const names = new Set([...Object.keys(recorded), ...Object.keys(here)]);
  const different = [...names].filter((name) => recorded[name] !== here[name]);
  if (different.length === 0) return;
  const each = different.map((name) => `${name} was ${recorded[name] ?? 'none'} and is ${here[name] ?? 'none'}`);
  throw new ParavaneError(
    'replay-differs',
    `this run can't be the recorded one: ${each.join('; ')}. Replay with what the run was recorded with`,
  );
}

function differs(how: string): ParavaneError {
  return new ParavaneError('replay-differs', `this run is not the recorded one: ${how}`);
}

function objectOf(line: string): object | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0;

function toHex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function fromHex(text: unknown): Uint8Array | undefined {
  if (typeof text !== 'string' || !/^([0-9a-f]{2})*$/.test(text)) return undefined;
  return Uint8Array.from({ length: text.length / 2 }, (_, at) => Number.parseInt(text.slice(2 * at, 2 * at + 2), 16));
}
