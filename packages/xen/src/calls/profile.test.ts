import { Errno, hypercall, XENOPROF, xenoprof_get_buffer, xenoprof_init } from '@paravane/abi-xen';
import { Pte } from '@paravane/mmu';
import { describe, expect, it } from 'vitest';
import { BASELINE_FEATURES } from '../emulate/cpuid.js';
import { compatImage } from '../testing/compat-image.js';
import { createTestGuest, type TestGuest } from '../testing/test-machine.js';

const EBUSY = BigInt(-Errno.EBUSY);

describe.each([64, 32] as const)('xenoprof_op of a PV%d guest', (width) => {
  const make = (setup = {}): TestGuest =>
    createTestGuest({ ...(width === 32 ? { image: compatImage() } : {}), ...setup });
  const view = (guest: TestGuest, at: bigint, length: number): DataView =>
    new DataView(guest.peekBytes(at, length).slice().buffer);
  function init(guest: TestGuest): { rc: bigint; answer: unknown } {
    const at = guest.putBytes(new Uint8Array(xenoprof_init.size(width)).fill(0xff));
    const rc = guest.call(hypercall.xenoprof_op, XENOPROF.init, at);
    return { rc, answer: xenoprof_init.read(view(guest, at, 72), 0, width) };
  }
  function getBuffer(guest: TestGuest, max_samples: number) {
    const bytes = new Uint8Array(xenoprof_get_buffer.size(width));
    xenoprof_get_buffer.write(new DataView(bytes.buffer), 0, { max_samples }, width);
    const at = guest.putBytes(bytes);
    const rc = guest.call(hypercall.xenoprof_op, XENOPROF.get_buffer, at);
    return { rc, ...xenoprof_get_buffer.read(view(guest, at, bytes.length), 0, width) };
  }
  const update = (guest: TestGuest, address: bigint, frame: number): bigint => {
    const entry = (frame << 12) | Pte.present | Pte.rw | (width === 64 ? Pte.user : 0);
    return guest.call(hypercall.update_va_mapping, address, entry, ...(width === 64 ? [2] : [0, 2]));
  };

  it('says which processor it is, and that the domain is not the profiler', () => {
    expect(init(make())).toEqual({ rc: 0n, answer: { num_events: 4, is_primary: 0, cpu_type: 'x86-64/hammer' } });
    const of = (signature: number) => init(make({ features: { ...BASELINE_FEATURES, signature } }));
    expect(of(0x600f20).answer).toEqual({ num_events: 6, is_primary: 0, cpu_type: 'x86-64/family15h' });
    // Of newer ones it knows none.
    expect(of(0x800f11).rc).toBe(BigInt(-Errno.ENODEV));
  });

  it('gives a buffer for each vCPU, in pages that the guest can map and write', () => {
    const guest = make({ vcpus: 3 });
    const { rc, nbuf, bufsize, buf_gmaddr } = getBuffer(guest, 100);
    const expected = width === 64 ? 64 + 99 * 16 : 60 + 99 * 12;
    expect([rc, nbuf, bufsize]).toEqual([0n, 3, expected]);
    const first = Number(buf_gmaddr >> 12n);
    const pages = [guest.page(), guest.page()].sort((a, b) => (a.address < b.address ? -1 : 1));
    const count = Math.ceil((3 * bufsize) / 4096);
    for (let page = 0; page < count; page++) expect(update(guest, pages[page]!.address, first + page)).toBe(0n);
    const words = view(guest, pages[0]!.address, 4096);
    expect([0, 1, 2].map((id) => id * bufsize + 16 <= 4096 && words.getUint32(id * bufsize + 12, true))).toEqual([
      0, 1, 2,
    ]);
    expect([words.getUint32(0, true), words.getUint32(4, true), words.getUint32(8, true)]).toEqual([0, 0, 100]);
    expect(guest.hypervisor.mmu.writeVirtual(guest.core.space, pages[0]!.address, Uint8Array.of(1))).toBe(true);
    // What follows is not the guest's.
    expect(update(guest, guest.page().address, first + count)).not.toBe(0n);
  });

  it('gives it once, and as much as 32 pages hold', () => {
    const guest = make();
    const samples = width === 64 ? (131072 - 64) / 16 + 1 : Math.floor((131072 - 60) / 12) + 1;
    const { rc, bufsize } = getBuffer(guest, -1);
    expect([rc, bufsize]).toEqual([0n, width === 64 ? 64 + (samples - 1) * 16 : 60 + (samples - 1) * 12]);
    expect(getBuffer(guest, 1).rc).toBe(EBUSY);
  });

  it('gives the pages back with the domain', () => {
    const guest = make();
    const { buf_gmaddr } = getBuffer(guest, 1);
    const frame = Number(buf_gmaddr >> 12n);
    const { frames } = guest.hypervisor.mmu;
    expect(frames.owner[frame]).toBe(guest.pv.domain.id);
    expect(update(guest, guest.page().address, frame)).toBe(0n);
    guest.hypervisor.destroyDomain(guest.pv.domain);
    expect(frames.refCount[frame]).toBe(0);
  });
});
