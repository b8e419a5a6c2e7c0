/** A vCPU's architectural state, most of it in the core's area of the machine's memory (`State`), with the TLB's tags of its address spaces. */
import { type CodeMode, Flag, PERSONAL_BYTES, Seg, type Segment, SegmentRights } from '@paravane/engine-api';
import { type AddressSpace, emptySpace, UNUSED_TAG } from '@paravane/mmu';
import type { DomId, Mfn } from '@paravane/types';
import type { EngineParts } from './engine.js';
import { readFxState, writeFxState } from './fx-state.js';
import { SegmentRegisters } from './segments.js';
import { FlagKind, STATE_BYTES, State } from './state.js';

const ARITHMETIC_FLAGS = 0x8d5;
const CR0_PE = 1;
const CR0_EM = 4;
const CR0_EM_TS = CR0_EM | 8;
const CR0_AM = 0x40000;
const CR4_OSFXSR = 0x200;
const MASK32 = 0xffffffffn;

export abstract class VcpuState {
  readonly regs: BigUint64Array;
  readonly selectors: Uint16Array;
  count = 0;
  rip = 0n;
  readonly spaces: AddressSpace[] = [emptySpace(0 as DomId), emptySpace(0 as DomId)];
  transitionFrame: Mfn | 0 = 0;
  /** What the tags in the state were made for. */
  private readonly tagged = { spaces: [emptySpace(0 as DomId), emptySpace(0 as DomId)], key: -1, generation: 0 };
  /** Every data access goes through `MemoryAccess`. */
  protected watched = false;
  readonly personal: DataView;
  protected readonly view: DataView;
  protected readonly i32: Int32Array;
  protected readonly word: number;
  readonly debug: BigUint64Array;
  readonly segments: SegmentRegisters;

  constructor(
    readonly parts: EngineParts,
    readonly base: number,
  ) {
    const { machine } = parts.mmu;
    this.view = machine.view;
    this.i32 = machine.i32;
    this.word = base >> 2;
    this.regs = new BigUint64Array(machine.memory.buffer, base + State.gpr, 16);
    this.selectors = new Uint16Array(machine.memory.buffer, base + State.selectors, 6);
    this.view.setUint32(base + State.mxcsr, 0x1f80, true);
    this.view.setUint16(base + State.fcw, 0x37f, true);
    this.view.setUint32(base + State.mode, 64, true);
    this.rflags = 2;
    this.debug = new BigUint64Array(machine.memory.buffer, base + State.debug, 8);
    this.debug[6] = 0xffff0ff0n;
    this.debug[7] = 0x400n;
    this.segments = new SegmentRegisters(this.view, base);
    this.personal = new DataView(machine.memory.buffer, base + State.personal, PERSONAL_BYTES);
  }

  get activeSpace(): 0 | 1 {
    return this.i32[this.word + State.space / 4] as 0 | 1;
  }
  set activeSpace(value: 0 | 1) {
    this.i32[this.word + State.space / 4] = value;
  }
  get space(): AddressSpace {
    return this.spaces[this.activeSpace]!;
  }
  set space(value: AddressSpace) {
    this.spaces[this.activeSpace] = value;
  }

  /** RFLAGS but the arithmetic ones. */
  get systemFlags(): number {
    return this.i32[this.word + State.eflags / 4]!;
  }
  set systemFlags(value: number) {
    this.i32[this.word + State.eflags / 4] = value;
  }

  get rflags(): number {
    const other = this.i32[this.word + State.eflags / 4]!;
    return (this.materialisedFlags() & ARITHMETIC_FLAGS) | other | 2;
  }
  set rflags(value: number) {
    this.setFlagBits(value & ARITHMETIC_FLAGS);
    this.i32[this.word + State.eflags / 4] = value & ~ARITHMETIC_FLAGS;
  }
  protected setFlagBits(bits: number): void {
    this.i32[this.word + State.flagKind / 4] = FlagKind.bits;
    this.view.setBigUint64(this.base + State.flagA, 0n, true);
    this.i32[this.word + State.flagB / 4] = bits;
    this.i32[this.word + State.flagB / 4 + 1] = 0;
  }
  /** The arithmetic flags, kept as bits from here on: the one form that equal states have in common. */
  protected materialisedFlags(): number {
    const kind = this.i32[this.word + State.flagKind / 4]!;
    if (kind !== FlagKind.bits) {
      const a = this.view.getBigInt64(this.base + State.flagA, true);
      const b = this.view.getBigInt64(this.base + State.flagB, true);
      this.setFlagBits(this.parts.eflags(kind, a, b));
    }
    return this.i32[this.word + State.flagB / 4]!;
  }
  get fsBase(): bigint {
    return this.view.getBigUint64(this.base + State.fsBase, true);
  }
  set fsBase(value: bigint) {
    this.view.setBigUint64(this.base + State.fsBase, value, true);
  }
  get gsBase(): bigint {
    return this.view.getBigUint64(this.base + State.gsBase, true);
  }
  set gsBase(value: bigint) {
    this.view.setBigUint64(this.base + State.gsBase, value, true);
  }
  get cr0(): number {
    return this.view.getUint32(this.base + State.cr0, true);
  }
  set cr0(value: number) {
    this.view.setUint32(this.base + State.cr0, value, true);
    this.setSseTraps();
  }
  get cr4(): number {
    return this.view.getUint32(this.base + State.cr4, true);
  }
  set cr4(value: number) {
    this.view.setUint32(this.base + State.cr4, value, true);
    this.setSseTraps();
  }
  protected setSseTraps(): void {
    const traps = (this.cr0 & CR0_EM_TS) | (this.cr4 & CR4_OSFXSR ? 0 : CR0_EM);
    this.view.setUint32(this.base + State.sseTraps, traps, true);
  }
  get xcr0(): number {
    return this.view.getUint32(this.base + State.xcr0, true);
  }
  set xcr0(value: number) {
    this.view.setUint32(this.base + State.xcr0, value, true);
  }
  get tscAux(): number {
    return this.view.getUint32(this.base + State.tscAux, true);
  }
  set tscAux(value: number) {
    this.view.setUint32(this.base + State.tscAux, value, true);
  }
  get mode(): CodeMode {
    return this.view.getUint32(this.base + State.mode, true) as CodeMode;
  }
  set mode(value: CodeMode) {
    this.view.setUint32(this.base + State.mode, value, true);
  }
  segment(register: number): Segment {
    return this.segments.get(register);
  }
  setSegment(register: number, selector: number, segment: Segment): void {
    this.selectors[register] = selector;
    this.segments.set(register, segment);
  }
  /** Code, stack or data lie in segments that the fast path does not know. */
  get segmented(): boolean {
    return !this.segments.flat && this.mode !== 64;
  }
  /** Selectors select descriptors: neither real-address nor virtual-8086 mode (Intel SDM vol. 3, chapter 21). */
  get protectedMode(): boolean {
    return this.mode === 64 || ((this.cr0 & CR0_PE) !== 0 && (this.systemFlags & Flag.VM) === 0);
  }
  /** Current privilege level: that of CS; 3 in virtual-8086 mode, 0 in real-address mode. */
  get cpl(): number {
    if (this.protectedMode) return this.selectors[Seg.cs]! & 3;
    return (this.cr0 & CR0_PE) !== 0 ? 3 : 0;
  }
  /** RFLAGS.AC counts: in ring 3, with CR0.AM. */
  get aligned(): boolean {
    return (this.systemFlags & Flag.AC) !== 0 && (this.cr0 & CR0_AM) !== 0 && this.cpl === 3;
  }
  get codeAddress(): bigint {
    return this.segmented ? (this.rip + this.segment(Seg.cs).base) & MASK32 : this.rip;
  }
  get stackWidth(): 64 | 32 | 16 {
    if (!this.segmented) return this.mode;
    return this.segment(Seg.ss).rights & SegmentRights.big ? 32 : 16;
  }
  get tscRatio(): number {
    return this.view.getFloat64(this.base + State.tscRatio, true);
  }
  set tscRatio(ratio: number) {
    this.view.setFloat64(this.base + State.tscRatio, ratio, true);
  }
  get tscOffset(): number {
    return this.view.getFloat64(this.base + State.tscOffset, true);
  }
  set tscOffset(offset: number) {
    this.view.setFloat64(this.base + State.tscOffset, offset, true);
  }
  readFxState(): Uint8Array {
    return readFxState(this.view, this.base);
  }
  writeFxState(bytes: Uint8Array): void {
    writeFxState(this.view, this.base, bytes);
  }
  save(): Uint8Array {
    this.setFlagBits(this.materialisedFlags());
    const bytes = new Uint8Array(STATE_BYTES + 8);
    bytes.set(new Uint8Array(this.view.buffer, this.base, STATE_BYTES));
    // Fields that only mean something while code runs.
    bytes.fill(0, State.pcBase, State.pcBase + 8);
    bytes.fill(0, State.temp, State.temp + 8);
    bytes.fill(0, State.ip, State.flagKind);
    bytes.fill(0, State.vector, State.origin + 4);
    bytes.fill(0, State.stackPage, State.regionLeft + 4);
    bytes.fill(0, State.countBase, State.countBase + 8);
    bytes.fill(0, State.tags, State.personal);
    const tail = new DataView(bytes.buffer, STATE_BYTES);
    new DataView(bytes.buffer).setBigUint64(State.rip, this.rip, true);
    tail.setFloat64(0, this.count, true);
    return bytes;
  }
  restore(bytes: Uint8Array): void {
    new Uint8Array(this.view.buffer, this.base, STATE_BYTES).set(bytes.subarray(0, STATE_BYTES));
    const tail = new DataView(bytes.buffer, bytes.byteOffset + STATE_BYTES);
    this.rip = this.view.getBigUint64(this.base + State.rip, true);
    this.count = tail.getFloat64(0, true);
    this.segments.changed();
  }

  /** The TLB's tag of the address space in use. */
  protected get tag(): number {
    return this.i32[this.word + State.tags / 4 + this.activeSpace]!;
  }
  /** Writes the tags of both address spaces into the state, where they may be others than those there. */
  protected loadTags(): void {
    const { tagged, spaces, i32 } = this;
    const { tlb } = this.parts.mmu;
    const at = this.word + State.tags / 4;
    if (this.watched) {
      i32[at] = UNUSED_TAG;
      i32[at + 1] = UNUSED_TAG;
      this.allowWalks(false);
      tagged.key = -1;
      return;
    }
    const active = this.activeSpace;
    const noOverride = this.parts.access.override === 0;
    const mayWalk = noOverride && !this.segmented && !this.aligned && this.parts.access.hook === null;
    const key = active | (this.mode === 32 ? 2 : 0) | (noOverride ? 4 : 0) | (mayWalk ? 8 : 0);
    const [first, second] = tagged.spaces;
    const same = tagged.key === key && tagged.generation === tlb.generation;
    // A state that was restored has no tags.
    if (same && first === spaces[0] && second === spaces[1] && i32[at + active] !== 0) return;
    const tagOf = (space: AddressSpace): number =>
      tlb.tag(
        space.root,
        (space.user ? 1 : 0) |
          (key & 2) |
          (space.nxe ? 4 : 0) |
          (space.wp ? 8 : 0) |
          (space.smep ? 16 : 0) |
          (space.smap && noOverride ? 32 : 0) |
          (space.paging === '32-bit' ? 64 : 0) |
          (space.pse ? 128 : 0),
      );
    const { generation } = tlb;
    for (const index of [active ^ 1, active]) {
      const space = spaces[index]!;
      i32[at + index] = index === active || space.root !== 0 ? tagOf(space) : 0;
      tagged.spaces[index] = space;
    }
    this.allowWalks(mayWalk);
    tagged.key = key;
    tagged.generation = tlb.generation;
    // All tags were used up between the two, and the first is another one now.
    if (tlb.generation === generation) return;
    tagged.key = -1;
    this.loadTags();
  }
  /** Lets generated code walk tables of the usual kind itself. */
  private allowWalks(allowed: boolean): void {
    const { i32, word, spaces } = this;
    for (const index of [0, 1] as const) {
      const { paging, physical, wp, nxe, smep, smap, root, user } = spaces[index]!;
      const usual = paging === 'long' && physical === null && wp && nxe && !smep && !smap;
      i32[word + State.walkRoots / 4 + index] = allowed && usual ? root : 0;
      i32[word + State.walkUser / 4 + index] = user ? 1 : 0;
    }
    i32[word + State.walkOwner / 4] = spaces[0]!.domid;
  }
}
