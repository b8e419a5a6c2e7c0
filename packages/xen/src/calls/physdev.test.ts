import * as abi from '@paravane/abi-xen';
import { Errno, hypercall, MAP_PIRQ_TYPE, PHYSDEVOP } from '@paravane/abi-xen';
import { Pte } from '@paravane/mmu';
import { describe, expect, it } from 'vitest';
import { compatImage } from '../testing/compat-image.js';
import { createTestGuest, type TestGuest } from '../testing/test-machine.js';

const { GSI, MSI, UNKNOWN } = MAP_PIRQ_TYPE;
const EINVAL = -Errno.EINVAL;
const ENOSPC = -Errno.ENOSPC;

/** The number that PHYSDEVOP_get_free_pirq gives, or its error. */
function freePirq(guest: TestGuest, type: number): number {
  const at = guest.putBytes(new Uint8Array(Int32Array.of(type, -1).buffer));
  const rc = Number(guest.call(hypercall.physdev_op, PHYSDEVOP.get_free_pirq, at));
  return rc === 0 ? new Uint32Array(guest.peekBytes(at, 8).slice().buffer)[1]! : rc;
}
const eoi = (guest: TestGuest, irq: number): number =>
  Number(guest.call(hypercall.physdev_op, PHYSDEVOP.eoi, guest.put(irq)));

describe.each([64, 32] as const)('PHYSDEVOP_get_free_pirq of a PV%d guest', (width) => {
  const make = (): TestGuest => createTestGuest(width === 32 ? { image: compatImage() } : {});

  it('gives the pins above the ISA bus from the first on, and then what is left for messages', () => {
    const guest = make();
    const pins = Array.from({ length: 9 }, () => freePirq(guest, GSI));
    expect(pins).toEqual([16, 17, 18, 19, 20, 21, 22, 23, 55]);
  });

  it('gives numbers for messages from the last on, of any other type, until there are none', () => {
    const guest = make();
    expect([freePirq(guest, MSI), freePirq(guest, UNKNOWN), freePirq(guest, -1)]).toEqual([55, 54, 53]);
    const rest = Array.from({ length: 29 }, () => freePirq(guest, MSI));
    expect([rest[0], rest[28]]).toEqual([52, 24]);
    expect([freePirq(guest, MSI), freePirq(guest, GSI)]).toEqual([ENOSPC, 16]);
  });

  it('makes an interrupt known, whose end can be told', () => {
    const guest = make();
    expect(eoi(guest, 55)).toBe(EINVAL);
    freePirq(guest, MSI);
    expect([eoi(guest, 55), eoi(guest, 54), eoi(guest, 56)]).toEqual([0, EINVAL, EINVAL]);
    // Nobody has the right to bind it.
    const request = guest.putBytes(new Uint8Array(Uint32Array.of(55, 0, 0).buffer));
    expect(guest.call(hypercall.event_channel_op, abi.EVTCHNOP.bind_pirq, request)).toBe(BigInt(-Errno.EPERM));
  });

  it('keeps the number where the answer can not be written', () => {
    const guest = make();
    const { address, frame } = guest.page();
    guest.hypervisor.mmu.writeVirtual(guest.core.space, address, Uint8Array.of(GSI, 0, 0, 0));
    const update = [address, (frame << 12) | Pte.present | (width === 64 ? Pte.user : 0)];
    const rest = width === 64 ? [0] : [0, 0];
    expect(guest.call(hypercall.update_va_mapping, ...update, ...rest)).toBe(0n);
    expect(guest.call(hypercall.physdev_op, PHYSDEVOP.get_free_pirq, address)).toBe(BigInt(-Errno.EFAULT));
    expect(freePirq(guest, GSI)).toBe(17);
  });
});
