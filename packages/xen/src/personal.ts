/**
 * What a vCPU's record and the transitions (`traps/transitions.ts`) share: fields of the record that are kept in the
 * vCPU's state, where WebAssembly reaches them.
 */
import { Seg, type VcpuCore } from '@paravane/engine-api';
import type { Mfn } from '@paravane/types';
import type { Callback, XenVcpu } from './domain.js';

/** Offsets in `VcpuCore.personal`. */
export const Personal = {
  /** u64 */
  kernelSp: 0,
  /** u64 */
  gsBaseOther: 8,
  /** u64: the SYSCALL callback, 0 for none. */
  syscall: 16,
  /** u32: machine address of vcpu_info. */
  vcpuInfo: 24,
  /** u32 */
  kernelSs: 28,
  /** u32 */
  iopl: 32,
  /** u8: the SYSCALL callback masks events. */
  syscallMasks: 36,
  /** u8: frames show the IOPL (VMASST_TYPE_architectural_iopl). */
  showsIopl: 37,
  /** u8 */
  nmiPending: 38,
  /** u8 */
  nmiInProgress: 39,
  /** u32: machine address of the GDT's first frame. */
  gdt: 40,
  /** u32: bytes of the GDT in that frame. */
  gdtBytes: 44,
} as const;

export class PersonalFields {
  private readonly view: DataView;
  constructor(readonly core: VcpuCore) {
    this.view = core.personal;
  }
  /** Ring 2 of a 32-bit guest has the supervisor's rights to pages, as ring 1, and is none of its kernel. */
  get guestKernel(): boolean {
    return this.core.activeSpace === 0 && (this.core.selectors[Seg.cs]! & 3) !== 2;
  }
  set guestKernel(value: boolean) {
    this.core.activeSpace = value ? 0 : 1;
  }
  private flag(at: number): boolean {
    return this.view.getUint8(at) !== 0;
  }
  private setFlag(at: number, value: boolean): void {
    this.view.setUint8(at, value ? 1 : 0);
  }
  get kernelSp(): bigint {
    return this.view.getBigUint64(Personal.kernelSp, true);
  }
  set kernelSp(value: bigint) {
    this.view.setBigUint64(Personal.kernelSp, value, true);
  }
  get gsBaseOther(): bigint {
    return this.view.getBigUint64(Personal.gsBaseOther, true);
  }
  set gsBaseOther(value: bigint) {
    this.view.setBigUint64(Personal.gsBaseOther, value, true);
  }
  get syscall(): Callback {
    const masksEvents = this.flag(Personal.syscallMasks);
    return { address: this.view.getBigUint64(Personal.syscall, true), masksEvents };
  }
  set syscall({ address, masksEvents }: Callback) {
    this.view.setBigUint64(Personal.syscall, address, true);
    this.setFlag(Personal.syscallMasks, masksEvents);
  }
  get vcpuInfo(): number {
    return this.view.getUint32(Personal.vcpuInfo, true);
  }
  set vcpuInfo(value: number) {
    this.view.setUint32(Personal.vcpuInfo, value, true);
  }
  get kernelSs(): number {
    return this.view.getUint32(Personal.kernelSs, true);
  }
  set kernelSs(value: number) {
    this.view.setUint32(Personal.kernelSs, value, true);
  }
  get iopl(): number {
    return this.view.getUint32(Personal.iopl, true);
  }
  set iopl(value: number) {
    this.view.setUint32(Personal.iopl, value, true);
  }
  get showsIopl(): boolean {
    return this.flag(Personal.showsIopl);
  }
  set showsIopl(value: boolean) {
    this.setFlag(Personal.showsIopl, value);
  }
  /** A GDT of `entries` entries, of which the first 512 lie in this frame, is in force. */
  showGdt(firstFrame: Mfn | 0, entries: number): void {
    this.view.setUint32(Personal.gdt, firstFrame * 4096, true);
    this.view.setUint32(Personal.gdtBytes, Math.min(entries * 8, 4096), true);
  }
  get nmiPending(): boolean {
    return this.flag(Personal.nmiPending);
  }
  set nmiPending(value: boolean) {
    this.setFlag(Personal.nmiPending, value);
  }
  get nmiInProgress(): boolean {
    return this.flag(Personal.nmiInProgress);
  }
  set nmiInProgress(value: boolean) {
    this.setFlag(Personal.nmiInProgress, value);
  }
}

/** To be called where vcpu_info lies elsewhere now, or a trace begins or ends: a trace sees every transition stop. */
export function allowTransitions({ core, domain, vcpuInfo }: XenVcpu): void {
  core.transitionFrame = domain.is64 && domain.trace === null ? (Math.floor(vcpuInfo / 4096) as Mfn) : 0;
}
