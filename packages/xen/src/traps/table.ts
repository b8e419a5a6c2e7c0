/** What set_trap_table of both ABIs shares: how much of a table one call takes, and taking all handlers out. */
import type { XenVcpu } from '../domain.js';
import { work } from '../mm/index.js';

/** Entries of a table that one call takes before it is re-issued for the rest. */
export const TRAP_BATCH = 64;
/** What an entry costs, in table entries. */
const TRAP_COST = 16;

export const chargeBatch = (vcpu: XenVcpu): void => work(vcpu.domain.mm, TRAP_COST * TRAP_BATCH);

export function clearTraps(vcpu: XenVcpu): void {
  work(vcpu.domain.mm, vcpu.traps.length);
  for (const trap of vcpu.traps) {
    trap.address = 0n;
    trap.cs = 0;
    trap.dpl = 0;
    trap.masksEvents = false;
  }
}
