/** A vCPU: the loop around generated code that runs it, and what that leaves to TypeScript. */
import {
  type Exit,
  type ExitReason,
  Flag,
  type PrivilegedInstruction,
  type VcpuCore,
  Vector,
} from '@paravane/engine-api';
import { AccessBit, FrameFlag, halvesOf, TlbField, tlbEntryOffset } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import { linkTarget, type SecondPage } from './code-cache.js';
import { decode, type Instruction, writesMemory } from './decode.js';
import type { EngineParts } from './engine.js';
import { SpecialOp } from './interpreter.js';
import { frameBeside, type Jump, SAMPLE_INTERVAL } from './jit/jit.js';
import { codeBytes, isOutside } from './memory-access.js';
import { LEAVE_DEFINITION, SlowContext } from './slow/context.js';
import { SLOW_DEFINITIONS } from './slow/definitions.js';
import { SEGMENTED_DEFINITIONS } from './slow/near-control.js';
import {
  COMPILED_JUMP,
  MAX_BLOCK,
  MAX_REGION,
  MISS_RUN,
  MISS_WRITE,
  NO_JUMP,
  SCRATCH,
  STATE_BYTES,
  State,
  Stop,
  Uop,
} from './state.js';
import { Stepper } from './stepper.js';
import { VcpuState } from './vcpu-state.js';

/** Instructions between two samples where little is interpreted. */
const COMPILED_INTERVAL = 16 * SAMPLE_INTERVAL;
const MASK32 = 0xffffffffn;
/** Of the x87 status word: an exception is pending. */
const ERROR_SUMMARY = 0x80;
/** Whether an instruction raises #MF for a pending exception. */
const waitsForX87 = ({ mnemonic, operands }: Instruction): boolean =>
  /^F(?!N|X)/.test(mnemonic) || operands.some(({ kind }) => kind === 'p');

export class X86Vcpu extends VcpuState implements VcpuCore {
  /** Segment that the accesses of the instruction are checked against. */
  accessSegment = 0;
  private readonly slowContext: SlowContext;
  private readonly stepper: Stepper;
  /** Instructions left after the last `execute`, less the reserve of one block. */
  private left = 0;
  /** Part of what is left that the generated code now running was not told of. */
  private beyond = 0;
  private startLeft = 0;
  private readonly exit: Exit = {
    reason: 'budget',
    vector: 0,
    errorCode: -1,
    address: 0n,
    length: 0,
    dr6: 0,
    instruction: null,
  };
  /** Whether the exit that a slow instruction recorded lies behind it. */
  private behind = false;
  /** A repeated instruction stopped between two iterations. */
  interrupted = false;
  /** One instruction is run, whatever watches it. */
  private single = false;
  /** The page behind that of the block that is looked up, and its frame. */
  private nextLo = 0;
  private nextHi = 0;
  private readonly nextPage = (): SecondPage | null => {
    const mfn = this.fetchPage(this.nextLo, this.nextHi);
    return mfn === 0 ? null : { mfn: mfn as Mfn };
  };
  private readonly stateBytes: Uint8Array;
  /** The state before an instruction whose store may be refused. */
  private readonly before = new Uint8Array(STATE_BYTES);

  constructor(parts: EngineParts, base: number) {
    super(parts, base);
    this.slowContext = new SlowContext(this);
    this.stepper = new Stepper(this);
    this.stateBytes = new Uint8Array(this.view.buffer, base, STATE_BYTES);
  }

  run(budget: number, exact = true): Exit {
    const end = this.count + budget;
    for (let stepping = this.stepper.active; ; ) {
      if (!stepping) {
        this.stepper.forget();
        this.systemFlags &= ~Flag.RF;
      }
      const exit = stepping ? this.stepper.step() : this.runFast(end - this.count, exact);
      if (exit.reason !== 'budget' || this.count >= end) return exit;
      const next = this.stepper.active;
      if (!stepping && !next) return exit;
      stepping = next;
    }
  }
  debugTrap(loadedSs?: boolean): number {
    return this.stepper.debugTrap(loadedSs);
  }
  /** Runs one instruction; `watched`: every data access of it goes through `MemoryAccess`. */
  runOne(watched: boolean): Exit {
    this.single = true;
    this.watched = watched;
    const exit = this.runFast(1, true);
    this.single = false;
    this.watched = false;
    return exit;
  }

  private runFast(budget: number, exact: boolean): Exit {
    const { parts } = this;
    parts.current = this;
    const { access } = parts;
    const { exit } = this;
    let left = budget - MAX_BLOCK;
    this.startLeft = left;
    exit.instruction = null;
    for (;;) {
      if (left + MAX_BLOCK <= 0 || (left < 0 && !exact && left < this.startLeft)) {
        exit.reason = 'budget';
        break;
      }
      if (!this.single && (this.systemFlags & Flag.TF || this.aligned)) {
        exit.reason = 'budget';
        break;
      }
      access.override = this.systemFlags & Flag.AC ? AccessBit.ac : 0;
      this.loadTags();
      const ip = this.segmented ? this.segments.block(this) : this.blockAt(this.rip, left);
      if (ip === 0) {
        // The fetch faulted: an instruction that never began counts as one.
        left--;
        exit.reason = 'exception';
        break;
      }
      this.allowTransitions();
      let stop = this.execute(ip, left);
      left = this.left;
      while (stop === Stop.link) {
        const linked = this.link();
        if (linked === 0) break;
        stop = this.execute(linked, left);
        left = this.left;
      }
      const uop = this.i32[this.word + State.ip / 4]!;
      if (stop === Stop.resolve) {
        this.rip = this.view.getBigUint64(this.base + State.rip, true);
        if (this.mode === 64 && BigInt.asUintN(64, BigInt.asIntN(48, this.rip)) !== this.rip) {
          this.undoBranch(uop);
          this.stopWithException(13, 0);
          break;
        }
        continue;
      }
      if (stop === Stop.link) continue;
      if (stop === Stop.budget || stop === Stop.end) {
        this.rip = this.ripOf(uop);
        continue;
      }
      if (stop === Stop.leave) {
        // `ip` is behind the instruction that changed code.
        const done = uop - 16;
        this.rip = this.wrap(this.ripOf(done) + BigInt(parts.cache.lengthOf(done)));
        left -= this.numberOf(done) + 1;
        if (parts.access.hook?.done) {
          exit.reason = 'budget';
          break;
        }
        continue;
      }
      left -= this.numberOf(uop) + 1;
      this.rip = this.ripOf(uop);
      if (stop === Stop.exit) {
        if (this.behind) this.rip = this.wrap(this.rip + BigInt(parts.cache.lengthOf(uop)));
      } else if (stop === Stop.raise) {
        this.stopWithException(this.i32[this.word + State.vector / 4]!, this.i32[this.word + State.errorCode / 4]!);
      } else exit.reason = 'exception';
      break;
    }
    this.count += this.startLeft - left;
    return exit;
  }

  /** Lets SYSCALL be a transition where the frame that it writes to holds no code, and marks it as written. */
  private allowTransitions(): void {
    const frame = this.transitionFrame;
    const { hasCode, frames } = this.parts.mmu;
    const allowed = frame !== 0 && !this.single && hasCode[frame] === 0;
    if (allowed) frames.flags[frame] = frames.flags[frame]! | FrameFlag.dirty;
    this.i32[this.word + State.transitions / 4] = allowed ? 1 : 0;
  }

  /**
   * Runs generated code from a micro-operation; `left` tells what remains then. It
   * is interrupted for samples of where it is, which the guest can't see.
   */
  private execute(start: number, left: number): number {
    const { parts } = this;
    let ip = start;
    let remaining = left;
    for (;;) {
      const given = parts.jit && remaining >= 0 ? Math.min(remaining, parts.untilSample) : remaining;
      this.beyond = remaining - given;
      this.i32[this.word + State.compiled / 4] = 0;
      this.i32[this.word + State.regionLeft / 4] = MAX_REGION;
      this.view.setFloat64(this.base + State.countBase, this.count + this.startLeft - this.beyond, true);
      const stop = parts.run(this.base, ip, given, BigInt(this.tag));
      const returned = this.i32[this.word + State.left / 4]!;
      remaining = this.beyond + returned;
      this.left = remaining;
      const hot = stop === Stop.hot;
      if (!hot && !parts.jit) return stop;
      const done = given - returned;
      const compiled = this.i32[this.word + State.compiled / 4]!;
      const interpreted = done - compiled;
      parts.compiled += compiled;
      parts.untilSample = Math.max(0, parts.untilSample - done);
      parts.interpreted += interpreted;
      if (!hot && (stop !== Stop.budget || remaining < 0)) return stop;
      if (!hot) {
        parts.untilSample = 2 * interpreted > done ? SAMPLE_INTERVAL : COMPILED_INTERVAL;
        // The budget ended in compiled code, and the interpreter only did its last instructions.
        if (this.i32[this.word + State.regionLeft / 4]! < MAX_REGION) {
          ip = this.i32[this.word + State.ip / 4]!;
          continue;
        }
      }
      ip = this.i32[this.word + State.ip / 4]!;
      const page = this.view.getBigUint64(this.base + State.pcBase, true);
      const mfn = this.fetchPage(Number(page & MASK32) | 0, Number(page >> 32n) | 0);
      if (mfn === 0) {
        this.rip = this.ripOf(ip);
        return Stop.link;
      }
      parts.jit?.sample(
        ip,
        mfn as never,
        this.mode,
        hot ? 0 : parts.interpreted,
        (side) => frameBeside(parts.mmu, this.tag, page, side),
        hot ? this.jumpTo(page, mfn as Mfn, ip) : null,
      );
      if (!hot) parts.interpreted = 0;
    }
  }

  /** The branch that led to the block at `ip`, on `page`, which was reported as hot. */
  private jumpTo(page: bigint, mfn: Mfn, ip: number): Jump | null {
    const uop = this.i32[this.word + State.jumpUop / 4]!;
    const origin = this.i32[this.word + State.origin / 4]!;
    if (uop === NO_JUMP || (uop === COMPILED_JUMP && origin < 0)) return null;
    const { cache, mmu } = this.parts;
    const offset = uop === COMPILED_JUMP ? origin - 4096 : cache.offsetOf(uop);
    const from = this.view.getBigUint64(this.base + State.jumpPage, true) + BigInt(offset);
    const side = Number(page - (from & ~0xfffn)) / 4096;
    if (side !== 0 && side !== 1 && side !== -1) return null;
    const frame = side === 0 ? mfn : frameBeside(mmu, this.tag, page, side === 1 ? -1 : 1);
    return frame && { mfn: frame, offset: Number(from & 0xfffn), target: cache.offsetOf(ip) + 4096 * side };
  }

  private wrap(rip: bigint): bigint {
    return this.mode === 64 ? BigInt.asUintN(64, rip) : rip & MASK32;
  }
  private ripOf(uop: number): bigint {
    return this.wrap(this.view.getBigUint64(this.base + State.pcBase, true) + BigInt(this.parts.cache.offsetOf(uop)));
  }
  private numberOf(uop: number): number {
    return this.view.getUint8(uop + Uop.number);
  }

  /** Micro-operation for a linear address, 0 with the exit's exception set if it can't be fetched. */
  private blockAt(rip: bigint, left: number): number {
    const { cache } = this.parts;
    const { mode, i32 } = this;
    const halves = halvesOf(rip);
    const lo = halves[0]!;
    const hi = halves[1]!;
    const top = hi >> 15;
    if (top !== 0 && top !== -1) {
      this.stopWithException(13, 0);
      return 0;
    }
    const mfn = this.fetchPage(lo, hi);
    if (mfn === 0) return 0;
    const offset = lo & 0xfff;
    this.nextLo = ((lo & ~0xfff) + 4096) | 0;
    this.nextHi = this.nextLo === 0 ? hi + 1 : hi;
    const found =
      left < 0
        ? cache.once(mfn as Mfn, offset, mode, left + MAX_BLOCK, this.nextPage)
        : cache.block(mfn as Mfn, offset, mode, this.nextPage);
    if (found === null) return 0;
    i32[this.word + State.pcBase / 4] = lo & ~0xfff;
    i32[this.word + State.pcBase / 4 + 1] = hi;
    if (left >= 0) this.cacheDescriptors(lo, hi, mfn);
    return found;
  }
  /** Leaves the page's descriptor in its TLB entry, where branches look for it. */
  private cacheDescriptors(lo: number, hi: number, mfn: number): void {
    const { tlb, machine } = this.parts.mmu;
    const descriptor = this.parts.cache.descriptor(mfn as never, this.mode);
    const word = (tlb.base + tlbEntryOffset(lo, hi, this.tag)) >> 2;
    // A reset of the cache empties the TLB: then there is no entry to mark.
    if (
      machine.i32[word + TlbField.execTag / 4] === ((lo & ~0xfff) | this.tag) &&
      machine.i32[word + TlbField.execTag / 4 + 1] === hi
    ) {
      machine.i32[word + TlbField.code / 4] = descriptor;
    }
  }
  /** Frame of a page to fetch from; 0 with the exit's page fault set if there is none. */
  fetchPage(lo: number, hi: number): number {
    const { tlb, machine } = this.parts.mmu;
    const entry = tlb.base + tlbEntryOffset(lo, hi, this.tag);
    const word = (entry + TlbField.execTag) >> 2;
    const { i32 } = machine;
    if (i32[word] === ((lo & ~0xfff) | this.tag) && i32[word + 1] === hi) {
      return (((i32[(entry + TlbField.execAddend) >> 2]! + (lo & ~0xfff)) >>> 0) - machine.frameBase) / 4096;
    }
    const host = this.parts.access.page(this.space, this.tag, lo, hi, AccessBit.fetch);
    if (host === -1) {
      this.recordFault();
      return 0;
    }
    return (host - machine.frameBase) / 4096;
  }
  /** Links the branch at `ip` to its target in the same page; returns the target's micro-operation or 0. */
  private link(): number {
    const uop = this.i32[this.word + State.ip / 4]!;
    const { cache } = this.parts;
    const target = linkTarget(this.view, uop);
    const page = this.view.getBigUint64(this.base + State.pcBase, true);
    this.rip = page + BigInt(target);
    // In the last instructions of a budget every block is made anew.
    const left = this.left;
    if (left < 0) return 0;
    const resets = cache.resets;
    const invalidations = cache.invalidations;
    const found = this.blockAt(this.rip, left);
    if (found !== 0 && cache.resets === resets && cache.invalidations === invalidations) {
      this.view.setInt32(uop + Uop.disp, found, true);
    }
    return found;
  }

  /** A branch to a non-canonical address faults at the branch: takes its move of the stack pointer back. */
  private undoBranch(uop: number): void {
    const origin = this.i32[this.word + State.origin / 4]!;
    const compiled = origin >= 0 && this.view.getUint16(uop, true) === SpecialOp.region;
    this.rip = compiled
      ? this.wrap(this.view.getBigUint64(this.base + State.pcBase, true) + BigInt(origin - 4096))
      : this.ripOf(uop);
    const bytes = codeBytes(this.parts.mmu, this.space, this.rip);
    const insn = bytes && decode(bytes, 0, bytes.length, this.mode);
    if (!insn || typeof insn === 'string') return;
    // A call has written its return address, as on processors, but the pointer stays.
    if (insn.mnemonic === 'CALL') this.regs[4] = BigInt.asUintN(64, this.regs[4]! + BigInt(insn.width / 8));
    if (insn.mnemonic !== 'RET') return;
    const operand = insn.operands[0];
    const extra = operand?.kind === 'i' ? operand.value & 0xffff : 0;
    this.regs[4] = BigInt.asUintN(64, this.regs[4]! - BigInt(insn.width / 8 + extra));
  }

  /** A translation that generated code has not got (import `miss`). */
  miss(lo: number, hi: number, how: number, ip: number): number {
    const write = (how & MISS_WRITE) !== 0;
    if (how & MISS_RUN) return this.runTo(lo, hi, write);
    if (this.segmented && this.forbids(lo, how & 0xff, write)) return -1;
    if (this.misaligned(lo, hi, how & 0xff)) return -1;
    const host = this.parts.access.translate(this.space, this.tag, this.mode, lo, hi, how & 0xff, write);
    if (host === -1) {
      this.recordFault();
      if (this.parts.access.fault.vector === 13) {
        const base = this.view.getUint8(ip + Uop.base);
        const segmented = this.view.getUint8(ip + Uop.index) >= State.fsBase;
        const va = (BigInt.asUintN(32, BigInt(hi)) << 32n) | BigInt.asUintN(32, BigInt(lo));
        if (this.throughStack(base < State.zero ? base / 8 : -1, segmented, va)) this.exit.vector = 12;
      }
    }
    return host;
  }
  /** Offset in memory of an address from which a string goes on in its page; `SCRATCH` where it is not plain memory. */
  private runTo(lo: number, hi: number, write: boolean): number {
    const { access, mmu } = this.parts;
    if (access.watch || access.hook || this.aligned) return SCRATCH;
    const host = this.pageAt(lo, hi, write);
    if (host === -1 || (write && mmu.hasCode[Math.floor((host - mmu.machine.frameBase) / 4096)] !== 0)) return SCRATCH;
    return host;
  }
  translate(lo: number, hi: number, bytes: number, write: boolean): number {
    return this.parts.access.translate(this.space, this.tag, this.mode, lo, hi, bytes, write);
  }
  pageAt(lo: number, hi: number, write: boolean): number {
    const { access } = this.parts;
    if (isOutside(this.mode, lo, hi, 1)) return access.refuse(13);
    const page = access.page(this.space, this.tag, lo, hi, (write ? AccessBit.write : 0) | access.override);
    return page === -1 ? -1 : page + (lo & 0xfff);
  }
  /** Whether the segment in use forbids an access of a slow instruction; then the exit tells. */
  refuses(lo: number, hi: number, bytes: number, write: boolean): boolean {
    if (this.mode !== 64 && this.segments.guards(this.accessSegment) && this.forbids(lo, bytes, write)) return true;
    return this.misaligned(lo, hi, bytes);
  }
  /**
   * Whether an access has to be aligned and is not (Intel SDM vol. 3, 6.15, #AC). Processors look before they translate,
   * and behind the check for a canonical address.
   */
  private misaligned(lo: number, hi: number, bytes: number): boolean {
    // The x87 environment and registers behind it are doublewords; vectors need no alignment here.
    const unit = bytes === 28 || bytes === 108 ? 4 : bytes === 10 ? 8 : bytes;
    if (!this.aligned || (unit !== 2 && unit !== 4 && unit !== 8) || (lo & (unit - 1)) === 0) return false;
    if (isOutside(this.mode, lo, hi, bytes)) return false;
    this.stopWithException(Vector.AC, 0);
    return true;
  }
  private forbids(lo: number, bytes: number, write: boolean): boolean {
    const vector = this.segments.refuses(this.accessSegment, lo, bytes, write);
    if (vector !== 0) this.stopWithException(vector, 0);
    return vector !== 0;
  }
  /** RFLAGS.AC was changed where SMAP looks at it: translations under the present tag hold no more. */
  private get accessChanged(): boolean {
    return this.space.smap === true && (this.parts.access.override !== 0) !== ((this.systemFlags & Flag.AC) !== 0);
  }
  /** Whether an access at a linear address goes through SS (a non-canonical address is then #SS, not #GP). */
  private throughStack(base: number, segmented: boolean, va: bigint): boolean {
    if (base === 4 || base === 5) return !segmented;
    const below = BigInt.asUintN(64, this.regs[4]! - va);
    return below <= 8n || (va === this.regs[5] && base < 0);
  }
  private static readonly UNSEGMENTED = /^(MOVS|STOS|LODS|CMPS|SCAS|XLAT)$/;
  /** An access of a slow instruction to `va` failed. */
  faulted(insn: Instruction, va: bigint): void {
    this.recordFault();
    if (this.exit.vector !== 13 || X86Vcpu.UNSEGMENTED.test(insn.mnemonic)) return;
    const onStack = insn.mnemonic === 'ENTER' || this.throughStack(insn.memory?.base ?? -1, insn.segment >= 4, va);
    if (onStack) this.exit.vector = 12;
  }
  private recordFault(): void {
    const { fault } = this.parts.access;
    this.stopWithException(fault.vector, fault.errorCode);
    if (fault.vector === 14) {
      this.exit.address =
        (BigInt.asUintN(32, BigInt(fault.addressHi)) << 32n) | BigInt.asUintN(32, BigInt(fault.addressLo));
    }
  }
  /** Stops between two iterations. */
  interrupt(): void {
    this.exit.reason = 'budget';
    this.behind = false;
    this.interrupted = true;
  }
  stopWithDebugTrap(dr6: number): Exit {
    this.stopWithException(Vector.DB, -1);
    this.exit.dr6 = dr6;
    return this.exit;
  }
  stopWithException(vector: number, errorCode: number): void {
    this.exit.reason = 'exception';
    this.exit.vector = vector;
    this.exit.errorCode = errorCode;
    this.behind = false;
  }
  stopPrivileged(instruction: PrivilegedInstruction): void {
    this.exit.reason = 'privileged';
    this.exit.instruction = instruction;
    this.behind = false;
  }
  stopBehind(reason: ExitReason, vector: number, length: number): void {
    this.exit.reason = reason;
    this.exit.vector = vector;
    this.exit.length = length;
    this.behind = true;
  }

  /** The instruction at `ip`, in TypeScript (import `slow`). */
  slow(ip: number, told: number): number {
    const { cache } = this.parts;
    const number = this.numberOf(ip);
    const left = told + this.beyond;
    const handler = cache.handlerOf(ip);
    if (handler === SpecialOp.crossCheck) return this.checkSecondPage(ip);
    const insn = cache.instructions[this.view.getInt32(ip + Uop.imm, true) >>> 8]!;
    const context = this.slowContext;
    context.begin(insn, this.ripOf(ip), left, number, this.count + this.startLeft - left + number);
    if (handler === SpecialOp.segmentCheck) return this.checkOverride(insn);
    let stop: number = Stop.go;
    try {
      const own = this.segmented ? SEGMENTED_DEFINITIONS.get(insn.mnemonic) : undefined;
      (own ?? SLOW_DEFINITIONS.get(insn.mnemonic)!)(context);
      if (context.stopped) stop = Stop.exit;
    } catch (signal) {
      if (signal !== LEAVE_DEFINITION) throw signal;
      stop = Stop.exit;
    }
    let after = left - context.extra;
    if (stop === Stop.go && context.jumped) {
      after -= number + 1;
      stop = Stop.resolve;
    } else if (
      stop === Stop.go &&
      (context.codeChanged || this.systemFlags & (Flag.TF | Flag.AC) || this.accessChanged)
    ) {
      const next = this.wrap(this.ripOf(ip) + BigInt(insn.length));
      this.view.setBigUint64(this.base + State.rip, next, true);
      after -= number + 1;
      stop = Stop.resolve;
    }
    this.i32[this.word + State.left / 4] = after - this.beyond;
    return stop;
  }

  /** An access by an override, from code that is flat otherwise, to a segment that may have a limit or lack a right. */
  private checkOverride(insn: Instruction): number {
    // A pending exception of the unit comes before all that an operand in memory has.
    if (waitsForX87(insn) && this.view.getUint16(this.base + State.fsw, true) & ERROR_SUMMARY) return Stop.go;
    const { segment, offset } = this.slowContext.effective();
    this.accessSegment = segment;
    const lo = Number(this.slowContext.linear(segment, offset) & MASK32);
    const operand = insn.operands.find(({ kind }) => kind === 'm');
    return this.forbids(lo, operand?.kind === 'm' ? operand.width / 8 : 1, writesMemory(insn)) ? Stop.exit : Stop.go;
  }

  /** The instruction at `ip` goes on to a page whose TLB entry says nothing of its code. */
  private checkSecondPage(ip: number): number {
    const { cache } = this.parts;
    const next = BigInt.asUintN(64, this.view.getBigUint64(this.base + State.pcBase, true) + 4096n);
    const lo = Number(next & MASK32) | 0;
    const hi = Number(next >> 32n) | 0;
    const mfn = this.fetchPage(lo, hi);
    if (mfn === 0) return Stop.fault;
    if (cache.isFrom(ip, mfn as never, this.mode)) {
      this.cacheDescriptors(lo, hi, mfn);
      return Stop.go;
    }
    // The second page is another now: the block is decoded anew, nothing of it has run.
    cache.forget(ip);
    this.view.setBigUint64(this.base + State.rip, this.ripOf(ip), true);
    return Stop.resolve;
  }

  runEmulatingStore(page: bigint, store: (address: bigint, bytes: Uint8Array) => boolean): Exit | null {
    const { access } = this.parts;
    const { rip } = this;
    this.before.set(this.stateBytes);
    const hook = { page, store, refused: false, done: false };
    access.hook = hook;
    // The page must not be reachable by a write tag, and no block may run past the one instruction.
    const exit = this.stepper.active ? this.stepper.one() : this.runFast(1, true);
    access.hook = null;
    if (exit.reason !== 'budget') return exit;
    if (!hook.refused) return null;
    this.stateBytes.set(this.before);
    this.i32.fill(0, this.word + State.tags / 4, this.word + State.tags / 4 + 2);
    this.rip = rip;
    this.segments.changed();
    this.stopWithException(14, 7);
    exit.address = page;
    return exit;
  }
}
