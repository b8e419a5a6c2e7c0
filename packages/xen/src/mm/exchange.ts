/**
 * XENMEM_exchange: frames given up for others, of another extent order or below
 * an address (xen/common/memory.c, `memory_exchange`). A frame can be given up
 * only when nothing uses it.
 */
import { Errno } from '@paravane/abi-xen';
import { FrameFlag } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import type { HypercallResult, XenDomain, XenVcpu } from '../domain.js';
import { selfOnly } from './foreign.js';
import { handleOk, readGuest, readGuestWord, wordBytes, writeGuestWord } from './guest.js';
import { addressLimit, nodeOk, parseReservation, RESERVATION_BYTES, type Reservation } from './reservation.js';
import { work } from './state.js';

/** Largest order for a guest without privileges (CONFIG_DOMU_MAX_ORDER). */
export const MAX_ORDER = 9;
const PAGE_COST = 32;

export function exchange(vcpu: XenVcpu, args: bigint[]): HypercallResult {
  const { domain } = vcpu;
  const { mm } = domain;
  const arg = args[1]!;
  const word = wordBytes(vcpu);
  const size = RESERVATION_BYTES[word];
  const bytes = readGuest(vcpu, arg, 2 * size + word);
  if (!bytes) return -Errno.EFAULT;
  const view = new DataView(bytes.buffer);
  const input = parseReservation(view, 0, word);
  const output = parseReservation(view, size, word);
  const claimedDone = word === 8 ? view.getBigUint64(2 * size, true) : BigInt(view.getUint32(2 * size, true));
  const rc = check(vcpu, input, output, claimedDone);
  if (rc !== 0) return rc;
  if (claimedDone === input.count) return 0;
  if (!nodeOk(output.flags)) return -Errno.EINVAL;
  const refused = selfOnly(domain, input.domid);
  if (refused !== 0) return refused;
  const inOrder = Math.max(0, output.order - input.order);
  const outOrder = Math.max(0, input.order - output.order);
  const limit = addressLimit(domain, output.flags) ?? 0;

  const chunks = Number(input.count >> BigInt(inOrder));
  let result: HypercallResult = 0;
  let chunk = Number(claimedDone >> BigInt(inOrder));
  for (const first = chunk; chunk < chunks; chunk++) {
    if (chunk > first && mm.budget <= 0) {
      result = { preempted: true, args };
      break;
    }
    work(mm, PAGE_COST * 2 ** Math.max(input.order, output.order));
    const step = exchangeChunk(vcpu, input, output, chunk, inOrder, outOrder, limit);
    if (step === 0) continue;
    result = step;
    break;
  }
  const done = chunk === chunks ? input.count : BigInt(chunk) << BigInt(inOrder);
  return writeGuestWord(vcpu, arg + BigInt(2 * size), done) ? result : -Errno.EFAULT;
}

/** What is wrong with the sizes and lists; the compatibility layer of 32-bit guests has an order of its own. */
function check(vcpu: XenVcpu, input: Reservation, output: Reservation, claimedDone: bigint): number {
  const word = wordBytes(vcpu);
  const tooLarge = Math.max(input.order, output.order) > MAX_ORDER;
  if (tooLarge && word === 8) return -Errno.EPERM;
  const bits = BigInt(8 * word);
  // Sizes that are no sizes at all are as wrong as unequal ones.
  const pages = (r: Reservation): bigint => (r.order < Number(bits) ? r.count << BigInt(r.order) : -1n);
  if (claimedDone > input.count || pages(input) !== pages(output) || pages(input) >> bits !== 0n) return -Errno.EINVAL;
  const delta = output.order - input.order;
  if (word === 4) {
    if (delta > 0 && claimedDone & ((1n << BigInt(delta)) - 1n)) return -Errno.EINVAL;
  } else if (input.domid !== output.domid) return -Errno.EINVAL;
  if (word === 8 && claimedDone === input.count) return 0;
  const reach = ({ list, count }: Reservation): boolean => handleOk(vcpu, list, Number(count), word);
  if (!reach(input) || !reach(output)) return -Errno.EFAULT;
  if (word === 4 && Math.abs(delta) > MAX_ORDER) return -Errno.E2BIG;
  if (tooLarge) return -Errno.EPERM;
  return input.domid === output.domid ? 0 : -Errno.EINVAL;
}

function exchangeChunk(
  vcpu: XenVcpu,
  input: Reservation,
  output: Reservation,
  chunk: number,
  inOrder: number,
  outOrder: number,
  limit: number,
): number {
  const { domain } = vcpu;
  const { mm } = domain;
  const { frames, mmu } = mm;
  const stolen = new Set<number>();
  for (let j = 0; j < 2 ** inOrder; j++) {
    const claimedFirst = readGuestWord(vcpu, input.list + BigInt((chunk * 2 ** inOrder + j) * wordBytes(vcpu)));
    if (claimedFirst === null) return -Errno.EFAULT;
    for (let k = 0; k < 2 ** input.order; k++) {
      const claimedFrame = Number(claimedFirst) + k;
      if (stolen.has(claimedFrame) || !isUnused(domain, claimedFrame)) return -Errno.EINVAL;
      stolen.add(claimedFrame);
    }
  }
  const taken: Mfn[] = [];
  const pages = 2 ** output.order;
  const giveBack = (): void => {
    for (const first of taken) {
      for (let k = 0; k < pages; k++) {
        domain.totPages++;
        mmu.free((first + k) as Mfn);
      }
    }
  };
  for (let j = 0; j < 2 ** outOrder; j++) {
    const first = output.order === 0 ? frames.allocate(domain.id) : frames.allocateRun(domain.id, pages);
    if (first !== -1) taken.push(first);
    if (first === -1 || first + pages > limit) {
      giveBack();
      return -Errno.ENOMEM;
    }
  }
  // From here on the chunk does not fail; an unreadable list only leaves frames unnamed.
  for (const frame of stolen) mmu.free(frame as Mfn);
  domain.totPages += taken.length * pages;
  let rc = 0;
  taken.forEach((first, j) => {
    const at = output.list + BigInt((chunk * 2 ** outOrder + j) * wordBytes(vcpu));
    const gpfn = readGuestWord(vcpu, at);
    if (gpfn !== null) for (let k = 0; k < pages; k++) mm.machine.m2p.set(first + k, gpfn + BigInt(k));
    if (gpfn === null || !writeGuestWord(vcpu, at, BigInt(first))) rc = -Errno.EFAULT;
  });
  return rc;
}

/** Xen's `steal_page`: the domain's own reference is the only one. */
export function isUnused(domain: XenDomain, claimedFrame: number): boolean {
  const { frames, machine } = domain.mm;
  return (
    claimedFrame > 0 &&
    claimedFrame < frames.frames &&
    frames.owner[claimedFrame] === domain.id &&
    frames.refCount[claimedFrame] === 1 &&
    (frames.flags[claimedFrame]! & FrameFlag.allocated) !== 0 &&
    frames.pins[claimedFrame] === 0 &&
    machine.shared[claimedFrame] === 0
  );
}
