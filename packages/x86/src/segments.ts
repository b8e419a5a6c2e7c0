/**
 * Segment registers outside 64-bit mode: bases, limits and rights (Intel SDM
 * vol. 3, 3.4 and 5.3). The personality loads them, checked, through
 * `VcpuCore.setSegment`; what is kept is the hidden part.
 *
 * Code whose CS, SS, DS and ES cover all of the 32-bit space runs on the fast
 * path, which knows nothing of them. Other code is run instruction by
 * instruction (`segmented`), and each of its accesses is checked by `refuses`.
 */
import { type Segment, SegmentRights, Vector } from '@paravane/engine-api';
import { decode, MAX_LENGTH, memorySegment } from './decode.js';
import { SEGMENTED_DEFINITIONS } from './slow/near-control.js';
import { State } from './state.js';
import type { X86Vcpu } from './vcpu.js';

const ES = 0;
const CS = 1;
const SS = 2;
const DS = 3;
const COUNT = 6;
const TOP = 0xffffffff;
const CODE = 8;
/** Of data: grows down; of code: conforming. */
const EXPAND_DOWN = 4;
/** Of data: may be written; of code: may be read. */
const SECOND_RIGHT = 2;

/** Offset in the state of a segment's base, which is a slot that micro-operations can name. */
export const baseSlot = (segment: number): number =>
  segment >= 4 ? State.fsBase + (segment - 4) * 8 : State.esBase + segment * 8;

/** Whether all offsets can be reached, read and, but for code, written. */
const isWhole = ({ base, limit, rights }: Segment): boolean =>
  base === 0n &&
  limit === TOP &&
  (rights & CODE) === 0 &&
  (rights & SECOND_RIGHT) !== 0 &&
  (rights & EXPAND_DOWN) === 0;

export class SegmentRegisters {
  /** CS, SS, DS and ES are as the fast path takes them. */
  flat = true;

  constructor(
    private readonly view: DataView,
    private readonly base: number,
  ) {
    const data: Segment = { base: 0n, limit: TOP, rights: 0xc0f3 };
    for (let i = 0; i < COUNT; i++) this.write(i, i === CS ? { base: 0n, limit: TOP, rights: 0xc0fb } : data);
    this.changed();
  }

  get(segment: number): Segment {
    const { view, base } = this;
    return {
      base: view.getBigUint64(base + baseSlot(segment), true),
      limit: view.getUint32(base + State.limits + segment * 4, true),
      rights: view.getUint16(base + State.rights + segment * 2, true),
    };
  }
  /** Every return to 32-bit code of a 64-bit guest loads what is there already. */
  set(segment: number, value: Segment): void {
    if (this.holds(segment, value)) return;
    this.write(segment, value);
    this.changed();
  }
  private holds(segment: number, { base, limit, rights }: Segment): boolean {
    const { view } = this;
    return (
      view.getUint32(this.base + State.limits + segment * 4, true) === limit &&
      view.getUint16(this.base + State.rights + segment * 2, true) === rights &&
      view.getBigUint64(this.base + baseSlot(segment), true) === base
    );
  }
  private write(segment: number, { base, limit, rights }: Segment): void {
    const { view } = this;
    view.setBigUint64(this.base + baseSlot(segment), base, true);
    view.setUint32(this.base + State.limits + segment * 4, limit, true);
    view.setUint16(this.base + State.rights + segment * 2, rights, true);
  }
  /** Works out again what is made of the registers. */
  changed(): void {
    const code = this.get(CS);
    const wholeCode = code.base === 0n && code.limit === TOP && (code.rights & SegmentRights.big) !== 0;
    const stack = this.get(SS);
    this.flat =
      wholeCode &&
      (stack.rights & SegmentRights.big) !== 0 &&
      isWhole(stack) &&
      isWhole(this.get(DS)) &&
      isWhole(this.get(ES));
    // Code can't be written through CS, so accesses through it are looked at too.
    let limited = 1 << CS;
    for (const segment of [4, 5]) {
      const { limit, rights } = this.get(segment);
      if (!isWhole({ base: 0n, limit, rights })) limited |= 1 << segment;
    }
    this.view.setUint32(this.base + State.limited, limited, true);
  }

  /** Whether accesses through a segment have to be checked, outside 64-bit mode. */
  guards(segment: number): boolean {
    return !this.flat || (this.view.getUint32(this.base + State.limited, true) & (1 << segment)) !== 0;
  }
  /** The exception that an access to `bytes` bytes at a linear address has by limit and rights, or 0. */
  refuses(segment: number, linear: number, bytes: number, write: boolean): number {
    const { base, limit, rights } = this.get(segment);
    const offset = (linear - Number(base & 0xffffffffn)) >>> 0;
    const vector = segment === SS ? Vector.SS : Vector.GP;
    if (!(rights & SegmentRights.present)) return Vector.GP;
    if (rights & CODE) {
      if (write || !(rights & SECOND_RIGHT)) return vector;
    } else if (write && !(rights & SECOND_RIGHT)) return vector;
    const last = offset + Math.max(bytes, 1) - 1;
    if ((rights & (CODE | EXPAND_DOWN)) === EXPAND_DOWN) {
      const top = rights & SegmentRights.big ? TOP : 0xffff;
      return offset > limit && last <= top ? 0 : vector;
    }
    // Where all of the space can be reached, what goes over its end goes on at its beginning.
    return last <= limit || limit === TOP ? 0 : vector;
  }

  /** One instruction of code that has segments, made ready to run; 0 with the exit's exception if it can't be fetched. */
  block(vcpu: X86Vcpu): number {
    const code = this.get(CS);
    const offset = Number(vcpu.rip & 0xffffffffn);
    const room = code.limit - offset + 1;
    const insn = room <= 0 ? 'short' : this.fetch(vcpu, code, offset, Math.min(MAX_LENGTH, room));
    if (insn === 'fault') return 0;
    if (typeof insn === 'string') {
      vcpu.stopWithException(Vector.GP, 0);
      return 0;
    }
    // VEX is for protected mode.
    if (insn === null || (insn.entry.vex && !vcpu.protectedMode)) {
      vcpu.stopWithException(Vector.UD, -1);
      return 0;
    }
    vcpu.accessSegment = memorySegment(insn);
    this.view.setBigUint64(this.base + State.pcBase, BigInt(offset - (offset & 0xfff)), true);
    return vcpu.parts.cache.segmented(insn, offset & 0xfff, SEGMENTED_DEFINITIONS.has(insn.mnemonic));
  }
  private fetch(vcpu: X86Vcpu, code: Segment, offset: number, room: number): ReturnType<typeof decode> | 'fault' {
    const { machine } = vcpu.parts.mmu;
    const bytes = new Uint8Array(room);
    const small = (code.rights & SegmentRights.big) === 0;
    for (let have = 0; ; ) {
      const lo = (Number(code.base & 0xffffffffn) + offset + have) | 0;
      const mfn = vcpu.fetchPage(lo & ~0xfff, 0);
      if (mfn === 0) return 'fault';
      const from = machine.frameBase + mfn * 4096 + (lo & 0xfff);
      const piece = Math.min(room - have, 4096 - (lo & 0xfff));
      bytes.set(machine.u8.subarray(from, from + piece), have);
      have += piece;
      const insn = decode(bytes, 0, have, 32, small);
      if (insn !== 'short' || have === room) return insn;
    }
  }
}
