/**
 * Running one instruction at a time, while RFLAGS.TF is set, accesses have to be aligned, or DR7 enables a
 * breakpoint (Intel SDM vol. 3, 17.2 and 17.3). The run loop asks `active` and
 * leaves the fast path while it holds; nothing of this costs anything there.
 *
 * Data breakpoints see each access because translations then go under a tag that
 * no TLB entry has: every access comes to `MemoryAccess`, which reports it here.
 */
import { type Exit, Flag } from '@paravane/engine-api';
import type { X86Vcpu } from './vcpu.js';

const BS = 0x4000;
/** L0, G0 … L3, G3. */
const DR7_ENABLE = 0xff;
const DR7_EXECUTE = 0;
/** Bytes by the LEN field. */
const LENGTHS = [1n, 2n, 8n, 4n];

export class Stepper {
  /** TF as it was when the instruction began: what decides on the trap behind it. */
  private trapFlag = false;
  /** Data breakpoints that the instruction has hit, and those held back by a load of SS before it. */
  private hits = 0;
  /** The instruction before loaded SS; and the one before that. */
  private shadow = false;
  private shadowed = false;

  constructor(private readonly vcpu: X86Vcpu) {}

  private get control(): number {
    return Number(this.vcpu.debug[7]! & 0xffffffffn);
  }
  /** Whether instructions have to go one by one. */
  get active(): boolean {
    const { vcpu } = this;
    return vcpu.segmented || (vcpu.systemFlags & Flag.TF) !== 0 || vcpu.aligned || (this.control & DR7_ENABLE) !== 0;
  }
  /** Whether each data access is to be reported. */
  get watching(): boolean {
    const control = this.control;
    for (let i = 0; i < 4; i++) if (isEnabled(control, i) && typeOf(control, i) & 1) return true;
    return false;
  }

  /** What was noted for the next instruction means nothing on the fast path. */
  forget(): void {
    this.trapFlag = false;
    this.hits = 0;
    this.shadow = false;
    this.shadowed = false;
  }

  /** Runs one instruction, or one iteration of a repeated one, with the traps before and behind it. */
  step(): Exit {
    const { vcpu } = this;
    if (!this.shadow) {
      this.hits = 0;
      const before = vcpu.systemFlags & Flag.RF ? 0 : this.match(DR7_EXECUTE, vcpu.codeAddress, 1n);
      if (before !== 0) {
        vcpu.count++;
        return this.raise(before);
      }
    }
    const exit = this.one();
    if (exit.reason !== 'budget') return exit;
    const incomplete = vcpu.interrupted;
    const due = this.debugTrap();
    if (due === 0) return exit;
    // A repeated instruction that goes on later must not hit its own breakpoint again.
    if (incomplete) vcpu.systemFlags |= Flag.RF;
    return this.raise(due);
  }

  /** Runs one instruction; `debugTrap` tells what is due behind it. */
  one(): Exit {
    const { vcpu } = this;
    this.shadowed = this.shadow;
    this.shadow = false;
    this.trapFlag = (vcpu.systemFlags & Flag.TF) !== 0;
    const { access } = vcpu.parts;
    const watching = this.watching;
    if (watching || vcpu.aligned) access.watch = (va, bytes, write) => this.accessed(va, bytes, write);
    vcpu.interrupted = false;
    const exit = vcpu.runOne(access.watch !== null || vcpu.segmented);
    access.watch = null;
    if (exit.reason === 'exception') this.hits = 0;
    return exit;
  }

  debugTrap(loadedSs = false): number {
    const { vcpu } = this;
    vcpu.systemFlags &= ~Flag.RF;
    // Of two loads in a row the second holds nothing back.
    this.shadow = loadedSs && !this.shadowed;
    if (this.shadow) return 0;
    const due = this.hits | (this.trapFlag ? BS : 0);
    this.hits = 0;
    this.trapFlag = false;
    return due;
  }

  private raise(dr6: number): Exit {
    this.forget();
    return this.vcpu.stopWithDebugTrap(dr6);
  }
  private accessed(va: bigint, bytes: number, write: boolean): void {
    this.hits |= this.match(write ? 1 : 3, va, BigInt(bytes));
    if (write) this.hits |= this.match(3, va, BigInt(bytes));
  }
  /** B0–B3 of the enabled breakpoints of this type that lie in `bytes` bytes at `va`. */
  private match(type: number, va: bigint, bytes: bigint): number {
    const { vcpu } = this;
    const control = this.control;
    let hit = 0;
    for (let i = 0; i < 4; i++) {
      if (!isEnabled(control, i) || typeOf(control, i) !== type) continue;
      const length = type === DR7_EXECUTE ? 1n : LENGTHS[(control >>> (18 + 4 * i)) & 3]!;
      const start = vcpu.debug[i]! & ~(length - 1n);
      if (start < va + bytes && va < start + length) hit |= 1 << i;
    }
    return hit;
  }
}

const isEnabled = (control: number, i: number): boolean => ((control >>> (2 * i)) & 3) !== 0;
const typeOf = (control: number, i: number): number => (control >>> (16 + 4 * i)) & 3;
