/**
 * Machine memory: the one block of linear memory that holds the core's own
 * area (CPU states, TLB, micro-operations) and, above it, the machine frames
 * of every domain.
 *
 * Only this package turns an `Mfn` into an offset. Frame 0 is never handed out,
 * so a zero frame number in a table is always a mistake and never a frame.
 */
import { PAGE_SIZE, ParavaneError } from '@paravane/types';

/** Largest number of machine frames: all guests together stay under 4 GiB less the core's area. */
export const MAX_FRAMES = 0x100000;

/** Bytes for each frame that the machine's parts keep between the core's area and the frames. */
export const FRAME_RECORD_BYTES = 40;

export interface MachineMemoryOptions {
  /** Machine frames, frame 0 included (it is never allocated). */
  frames: number;
  /** Bytes below the frames for the core's own tables; rounded up to 64 KiB. */
  coreBytes: number;
  /** Whether the WebAssembly memory is shared; modules link only with equal sharedness. */
  shared?: boolean;
}

export interface MachineMemory {
  readonly memory: WebAssembly.Memory;
  readonly shared: boolean;
  /** Number of frames, frame 0 included. */
  readonly frames: number;
  /** Offset in `memory` of frame 0. */
  readonly frameBase: number;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly u64: BigUint64Array;
  readonly view: DataView;
  /** Takes `bytes` of the core's area, aligned to `align` (a power of two); lasts as long as the memory. */
  reserve(bytes: number, align?: number): number;
  /**
   * Takes `bytes` (1, 2, 4 or 8) for each frame, where generated code can read them: at most `FRAME_RECORD_BYTES` in all.
   * Answers the offset of those of frame 0.
   */
  reserveForFrames(bytes: number): number;
}

export function createMachineMemory(options: MachineMemoryOptions): MachineMemory {
  const { frames, shared = false } = options;
  const frameBase = Math.ceil((options.coreBytes + frames * FRAME_RECORD_BYTES) / 0x10000) * 0x10000;
  const wasmPages = Math.ceil((frameBase + frames * PAGE_SIZE) / 0x10000);
  if (frames < 2 || wasmPages > 65536) {
    throw new ParavaneError(
      'machine-memory-size',
      `all guests together must stay under 4 GiB: ${frames} frames and ${frameBase} bytes for the core were asked for; give the guests less memory`,
    );
  }
  let memory: WebAssembly.Memory;
  try {
    memory = new WebAssembly.Memory({ initial: wasmPages, maximum: wasmPages, shared });
  } catch (cause) {
    throw new ParavaneError(
      'machine-memory-refused',
      `the host refused ${Math.ceil(wasmPages / 16)} MiB of address space for the machine; give the guests less memory or raise the process limit`,
      { cause },
    );
  }
  const buffer = memory.buffer;
  let next = 0x1000;
  const end = Math.ceil(options.coreBytes / 8) * 8;
  let nextRecord = end;
  return {
    memory,
    shared,
    frames,
    frameBase,
    u8: new Uint8Array(buffer),
    u32: new Uint32Array(buffer),
    i32: new Int32Array(buffer),
    u64: new BigUint64Array(buffer),
    view: new DataView(buffer),
    reserve(bytes, align = 16) {
      const at = Math.ceil(next / align) * align;
      if (at + bytes > end) {
        throw new ParavaneError('core-area-full', `the core's area of ${end} bytes has no room for ${bytes} more`);
      }
      next = at + bytes;
      return at;
    },
    reserveForFrames(bytes) {
      const at = Math.ceil(nextRecord / bytes) * bytes;
      if (at + bytes * frames > frameBase) {
        throw new ParavaneError('core-area-full', `more than ${FRAME_RECORD_BYTES} bytes were asked for each frame`);
      }
      nextRecord = at + bytes * frames;
      return at;
    },
  };
}
