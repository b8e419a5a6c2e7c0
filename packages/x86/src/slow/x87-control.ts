/** x87 control instructions: control and status words, environment, whole state (Intel SDM vol. 2; vol. 1, 8.1.10). */
import { isDenormal, isNormal, isZero } from '../softfloat80.js';
import { State } from '../state.js';
import type { SlowCpu, SlowDefinition, SlowDefinitions } from './slow-cpu.js';
import { enter, enterNoWait, Status, stackIndex, X87 } from './x87-unit.js';

/** Bits of the control word that can be written; bit 6 reads as one. */
const CONTROL_BITS = 0x1f3f;
const CONTROL_FIXED = 0x40;
const CONTROL_INITIAL = 0x37f;

export const controlWord = (claimed: number): number => (claimed & CONTROL_BITS) | CONTROL_FIXED;

/** Two bits per physical register: 0 valid, 1 zero, 2 special, 3 empty. */
function fullTag(fpu: X87): number {
  let tags = 0;
  for (let i = 0; i < 8; i++) {
    const value = fpu.read(i);
    const tag = fpu.isEmpty(i) ? 3 : isZero(value) ? 1 : isNormal(value) && !isDenormal(value) ? 0 : 2;
    tags |= tag << (2 * ((fpu.top + i) & 7));
  }
  return tags;
}
function abridged(tags: number): number {
  let result = 0;
  for (let i = 0; i < 8; i++) if (((tags >> (2 * i)) & 3) !== 3) result |= 1 << i;
  return result;
}

/** Bytes of one of the seven fields of the environment. */
const fieldBytes = (c: SlowCpu): number => (c.insn.width === 16 ? 2 : 4);

/** The environment in protected-mode format, 14 or 28 bytes. Selectors are not kept. */
function environment(fpu: X87): Uint8Array {
  const { c } = fpu;
  const size = fieldBytes(c);
  const bytes = new Uint8Array(7 * size);
  const out = new DataView(bytes.buffer);
  const fip = c.view.getUint32(c.base + State.fip, true);
  const fdp = c.view.getUint32(c.base + State.fdp, true);
  const fop = c.view.getUint16(c.base + State.fop, true);
  const words = [fpu.fcw, fpu.fsw, fullTag(fpu)];
  if (size === 2) {
    [...words, fip & 0xffff, 0, fdp & 0xffff, 0].forEach((word, i) => out.setUint16(2 * i, word, true));
  } else {
    const reserved = 0xffff0000;
    [...words.map((word) => word + reserved), fip, (fop & 0x7ff) << 16, fdp, reserved].forEach((word, i) =>
      out.setUint32(4 * i, word >>> 0, true),
    );
  }
  return bytes;
}
function loadEnvironment(fpu: X87, bytes: Uint8Array): void {
  const { c } = fpu;
  const size = fieldBytes(c);
  const claimed = new DataView(bytes.buffer, bytes.byteOffset);
  const word = (i: number): number => claimed.getUint16(i * size, true);
  fpu.fcw = controlWord(word(0));
  fpu.fsw = word(1);
  fpu.ftw = abridged(word(2));
  const wide = (i: number): bigint => BigInt(size === 2 ? word(i) : claimed.getUint32(i * size, true));
  c.view.setBigUint64(c.base + State.fip, wide(3), true);
  c.view.setBigUint64(c.base + State.fdp, wide(5), true);
  c.view.setUint16(c.base + State.fop, size === 2 ? 0 : claimed.getUint16(4 * size + 2, true) & 0x7ff, true);
}

/** Where processors report a fault: at the first field, which has to be aligned, else at the last byte. */
function probe(c: SlowCpu, va: bigint, length: number, write: boolean): void {
  c.outsideHole(va, length);
  if (write) c.writable(va, fieldBytes(c));
  else c.load(va, fieldBytes(c));
  c.pageAt(va + BigInt(length - 1), write);
}
function storeAll(c: SlowCpu, bytes: Uint8Array): void {
  const va = c.address();
  probe(c, va, bytes.length, true);
  c.storeBytes(va, bytes);
}
function loadAll(c: SlowCpu, length: number): Uint8Array {
  const va = c.address();
  probe(c, va, length, false);
  return c.loadBytes(va, length);
}

function initialize(fpu: X87): void {
  const { view, base } = fpu.c;
  fpu.fcw = CONTROL_INITIAL;
  fpu.fsw = 0;
  fpu.ftw = 0;
  view.setBigUint64(base + State.fip, 0n, true);
  view.setBigUint64(base + State.fdp, 0n, true);
  view.setUint16(base + State.fop, 0, true);
}

const saveState: SlowDefinition = (c) => {
  const fpu = enterNoWait(c);
  const head = environment(fpu);
  const bytes = new Uint8Array(head.length + 80);
  bytes.set(head);
  const out = new DataView(bytes.buffer);
  for (let i = 0; i < 8; i++) {
    const value = fpu.read(i);
    out.setBigUint64(head.length + 10 * i, value.sig, true);
    out.setUint16(head.length + 10 * i + 8, (value.sign << 15) | value.exp, true);
  }
  storeAll(c, bytes);
  initialize(fpu);
  fpu.leaveControl();
};
const restoreState: SlowDefinition = (c) => {
  const fpu = enter(c);
  const length = 7 * fieldBytes(c);
  const bytes = loadAll(c, length + 80);
  loadEnvironment(fpu, bytes);
  const claimed = new DataView(bytes.buffer, bytes.byteOffset);
  for (let i = 0; i < 8; i++) {
    const at = c.base + State.x87 + 16 * ((fpu.top + i) & 7);
    c.view.setBigUint64(at, claimed.getBigUint64(length + 10 * i, true), true);
    c.view.setUint16(at + 8, claimed.getUint16(length + 10 * i + 8, true), true);
  }
  fpu.leaveControl();
};

const CR0_MP = 2;
const CR0_TS = 8;
/** FWAIT looks at CR0.MP and TS, not at EM. */
const wait: SlowDefinition = (c) => {
  const cr0 = c.view.getUint32(c.base + State.cr0, true);
  if (cr0 & CR0_MP && cr0 & CR0_TS) c.raise(7, -1);
  if (new X87(c).fsw & Status.ES) c.raise(16, -1);
};

/** Moves TOP without looking at tags. */
const turn =
  (by: number): SlowDefinition =>
  (c) => {
    const fpu = enter(c);
    fpu.setCodes(0, Status.C1);
    fpu.top += by;
    fpu.leave();
  };

/** Of the first coprocessors: nothing by now, and like all control instructions without a look at pending exceptions. */
const obsolete: SlowDefinition = (c) => enterNoWait(c).leaveControl();

export const x87Control: SlowDefinitions = {
  FWAIT: wait,
  FNENI: obsolete,
  FNDISI: obsolete,
  FNSETPM: obsolete,
  FNOP: (c) => {
    enter(c).leave();
  },
  FNCLEX: (c) => {
    const fpu = enterNoWait(c);
    fpu.fsw &= ~(0xff | Status.B);
    fpu.leaveControl();
  },
  FNINIT: (c) => {
    const fpu = enterNoWait(c);
    initialize(fpu);
    fpu.leaveControl();
  },
  FINCSTP: turn(1),
  FDECSTP: turn(-1),
  FFREE: (c) => {
    const fpu = enter(c);
    fpu.free(stackIndex(c, 0));
    fpu.leave();
  },
  FFREEP: (c) => {
    const fpu = enter(c);
    fpu.free(stackIndex(c, 0));
    fpu.pop();
    fpu.leave();
  },
  FLDCW: (c) => {
    const fpu = enter(c);
    fpu.fcw = controlWord(Number(c.operand(0)));
    fpu.leaveControl();
  },
  FNSTCW: (c) => {
    const fpu = enterNoWait(c);
    c.store(c.address(), 2, BigInt(fpu.fcw));
  },
  FNSTSW: (c) => {
    const fpu = enterNoWait(c);
    if (c.insn.memory) c.store(c.address(), 2, BigInt(fpu.fsw));
    else c.setGpr(0, BigInt(fpu.fsw), 16);
  },
  FNSTENV: (c) => {
    const fpu = enterNoWait(c);
    storeAll(c, environment(fpu));
    fpu.fcw |= 0x3f;
    fpu.leaveControl();
  },
  FLDENV: (c) => {
    const fpu = enter(c);
    loadEnvironment(fpu, loadAll(c, 7 * fieldBytes(c)));
    fpu.leaveControl();
  },
  FNSAVE: saveState,
  FRSTOR: restoreState,
};
