/**
 * Captures in the pcapng format (draft-ietf-opsawg-pcapng): a section, an interface for each tapped link, a packet for
 * each frame with its direction. Wireshark and tshark open them. Checksums that a guest left to its device are
 * completed in the capture, so that they don't read as errors.
 */
import { type Frame, type FrameSink, type Link, type LinkUser, noOffloads } from '@paravane/link-api';
import { adaptFrame } from './offload.js';

export interface CaptureOptions {
  /** Takes the bytes of the file, in order. They are the receiver's to keep. */
  write(bytes: Uint8Array): void;
  /** Milliseconds since 1970, with fractions. */
  now(): number;
  /** Bytes kept of each frame. */
  readonly snapLength?: number;
  /** Told in the file. */
  readonly application?: string;
}

export interface CaptureInterface {
  /** Records a frame; `inbound` is towards the tapped interface. */
  frame(frame: Frame, direction: 'inbound' | 'outbound'): void;
}

export interface Capture {
  addInterface(name: string): CaptureInterface;
}

const Block = { section: 0x0a0d0d0a, interface: 1, packet: 6 } as const;
const Option = { end: 0, userApplication: 4, interfaceName: 2, timeResolution: 9, packetFlags: 2 } as const;
const linkTypeEthernet = 1;
const microseconds = 6;

const padded = (length: number): number => (length + 3) & ~3;

function option(code: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + padded(value.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, code, true);
  view.setUint16(2, value.length, true);
  bytes.set(value, 4);
  return bytes;
}

/** ASCII; what isn't becomes a question mark. */
const text = (value: string): Uint8Array =>
  Uint8Array.from(value, (letter) => (letter.charCodeAt(0) < 127 ? letter.charCodeAt(0) : 63));

function block(type: number, fixed: Uint8Array, options: readonly Uint8Array[]): Uint8Array {
  const optionBytes = options.reduce((sum, bytes) => sum + bytes.length, 0) + (options.length > 0 ? 4 : 0);
  const length = 12 + padded(fixed.length) + optionBytes;
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, length, true);
  bytes.set(fixed, 8);
  let at = 8 + padded(fixed.length);
  for (const value of options) {
    bytes.set(value, at);
    at += value.length;
  }
  view.setUint32(length - 4, length, true);
  return bytes;
}

function sectionBlock(application: string): Uint8Array {
  const fixed = new Uint8Array(16).fill(0xff, 8);
  const view = new DataView(fixed.buffer);
  view.setUint32(0, 0x1a2b3c4d, true);
  view.setUint16(4, 1, true);
  return block(Block.section, fixed, [option(Option.userApplication, text(application))]);
}

export function createCapture(options: CaptureOptions): Capture {
  const { snapLength = 0x40000 } = options;
  let interfaces = 0;
  options.write(sectionBlock(options.application ?? 'Paravane'));

  function packetBlock(index: number, bytes: Uint8Array, direction: 'inbound' | 'outbound'): Uint8Array {
    const kept = bytes.subarray(0, snapLength);
    const fixed = new Uint8Array(20 + kept.length);
    const view = new DataView(fixed.buffer);
    const time = Math.round(options.now() * 1000);
    view.setUint32(0, index, true);
    view.setUint32(4, Math.floor(time / 0x100000000), true);
    view.setUint32(8, time % 0x100000000, true);
    view.setUint32(12, kept.length, true);
    view.setUint32(16, bytes.length, true);
    fixed.set(kept, 20);
    return block(Block.packet, fixed, [
      option(Option.packetFlags, Uint8Array.of(direction === 'inbound' ? 1 : 2, 0, 0, 0)),
    ]);
  }

  return {
    addInterface(name) {
      const index = interfaces++;
      const fixed = new Uint8Array(8);
      const view = new DataView(fixed.buffer);
      view.setUint16(0, linkTypeEthernet, true);
      view.setUint32(4, snapLength, true);
      options.write(
        block(Block.interface, fixed, [
          option(Option.interfaceName, text(name)),
          option(Option.timeResolution, Uint8Array.of(microseconds)),
        ]),
      );
      return {
        frame(frame, direction) {
          const { bytes, checksum } = frame;
          const [whole] = adaptFrame(checksum ? { bytes, checksum } : { bytes }, noOffloads);
          if (whole) options.write(packetBlock(index, whole.bytes, direction));
        },
      };
    },
  };
}

/** The same link, with every frame that it or its user is offered in the capture, once, seen from the user. */
export function tapLink(link: Link, tap: CaptureInterface): Link {
  /** Frames that are recorded and will be offered again. An answer may come before `send` returns, so they go first. */
  const recorded = new WeakSet<Frame>();
  function send(to: FrameSink, frames: readonly Frame[], direction: 'inbound' | 'outbound'): number {
    for (const frame of frames) if (!recorded.has(frame)) tap.frame(frame, direction);
    const taken = to.send(frames);
    for (const frame of frames.slice(taken)) recorded.add(frame);
    return taken;
  }
  const tapped = (user: LinkUser): LinkUser => ({
    get offloads() {
      return user.offloads;
    },
    send: (frames) => send(user, frames, 'inbound'),
    resume: () => user.resume(),
    carrierChanged: (up) => user.carrierChanged?.(up),
  });
  return {
    apiVersion: link.apiVersion,
    name: link.name,
    mtu: link.mtu,
    ...(link.mac !== undefined && { mac: link.mac }),
    get carrier() {
      return link.carrier;
    },
    offloads: link.offloads,
    attach: (user) => link.attach(tapped(user)),
    send: (frames) => send(link, frames, 'outbound'),
    resume: () => link.resume(),
    close: () => link.close(),
  };
}
