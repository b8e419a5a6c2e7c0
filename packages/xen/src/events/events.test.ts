import { EVTCHNOP, hypercall, SCHEDOP, VCPUOP, VIRQ } from '@paravane/abi-xen';
import type { Maddr } from '@paravane/types';
import { describe, expect, it } from 'vitest';
import { createTestGuest, createTestHypervisor, type TestGuest } from '../testing/test-machine.js';
import { bindHost, sendVirq } from './channels.js';

const op = (guest: TestGuest, command: number, address: bigint): bigint =>
  guest.call(hypercall.event_channel_op, command, address);
const lo = (value: bigint): number => Number(value & 0xffffffffn);

function allocate(guest: TestGuest, remote: number): number {
  const request = guest.put(0x7ff0n | (BigInt(remote) << 16n));
  expect(op(guest, EVTCHNOP.alloc_unbound, request)).toBe(0n);
  return lo(guest.peek(request) >> 32n);
}
function bindVirq(guest: TestGuest, virq: number, vcpu = 0): number {
  const request = guest.put(BigInt(virq) | (BigInt(vcpu) << 32n), 0);
  expect(op(guest, EVTCHNOP.bind_virq, request)).toBe(0n);
  return lo(guest.peek(request + 8n));
}
const shared = (guest: TestGuest, offset: number): bigint =>
  guest.hypervisor.mmu.readU64((guest.pv.xen.sharedInfo * 4096 + offset) as Maddr);
const setMask = (guest: TestGuest, value: number): void =>
  guest.hypervisor.mmu.writeU8((guest.vcpu.vcpuInfo + 1) as Maddr, value);
const unmaskAll = (guest: TestGuest): void => {
  for (let at = 0; at < 512; at += 8) {
    guest.hypervisor.mmu.writeU64((guest.pv.xen.sharedInfo * 4096 + 0xa00 + at) as Maddr, 0n);
  }
};

describe('two-level event channels', () => {
  it('set pending bit, selector and upcall flag, and enter the callback with events masked', () => {
    const guest = createTestGuest();
    guest.call(hypercall.set_callbacks, 0xffffffff80002000n, 0x3000n, 0x4000n);
    const port = bindVirq(guest, VIRQ.TIMER);
    guest.core.regs[4] = guest.page().address + 4096n;
    sendVirq(guest.pv.xen, 0, VIRQ.TIMER);
    expect(shared(guest, 0x800)).toBe(1n << BigInt(port));
    expect(shared(guest, 8)).toBe(1n);
    expect(shared(guest, 0) & 0xffffn).toBe(0x101n);
    guest.personality.beforeRun(guest.vcpu.hv);
    expect(guest.core.rip).not.toBe(0xffffffff80002000n);
    setMask(guest, 0);
    guest.personality.beforeRun(guest.vcpu.hv);
    expect(guest.core.rip).toBe(0xffffffff80002000n);
    expect(shared(guest, 0) & 0xff00n).toBe(0x100n);
  });

  it('keep a masked port pending until it is unmasked', () => {
    const guest = createTestGuest();
    const port = bindVirq(guest, VIRQ.TIMER);
    guest.hypervisor.mmu.writeU64((guest.pv.xen.sharedInfo * 4096 + 0xa00) as Maddr, 1n << BigInt(port));
    sendVirq(guest.pv.xen, 0, VIRQ.TIMER);
    expect(shared(guest, 8)).toBe(0n);
    expect(op(guest, EVTCHNOP.unmask, guest.put(port))).toBe(0n);
    expect(shared(guest, 8)).toBe(1n);
    expect(shared(guest, 0) & 0xffn).toBe(1n);
  });

  it('join two domains, and give back the port of the one that stays', () => {
    const on = createTestHypervisor();
    const a = createTestGuest({ name: 'a' }, on);
    const b = createTestGuest({ name: 'b' }, on);
    const port = allocate(a, b.pv.domain.id);
    const request = b.put(BigInt(a.pv.domain.id) | (BigInt(port) << 32n), 0);
    expect(op(b, EVTCHNOP.bind_interdomain, request)).toBe(0n);
    const other = lo(b.peek(request + 8n));
    unmaskAll(a);
    expect(op(b, EVTCHNOP.send, b.put(other))).toBe(0n);
    expect(shared(a, 0x800) & (1n << BigInt(port))).not.toBe(0n);
    expect(op(b, EVTCHNOP.close, b.put(other))).toBe(0n);
    const status = a.put(0x7ff0n | (BigInt(port) << 32n), 0, 0);
    expect(op(a, EVTCHNOP.status, status)).toBe(0n);
    expect(lo(a.peek(status + 8n))).toBe(1);
    b.pv.destroy();
    expect(op(a, EVTCHNOP.bind_interdomain, a.put(BigInt(b.pv.domain.id), 0))).toBe(-3n);
  });

  it('refuse what Xen refuses, with its errors', () => {
    const guest = createTestGuest();
    expect(op(guest, EVTCHNOP.send, guest.put(900))).toBe(-22n);
    expect(op(guest, EVTCHNOP.close, guest.put(0))).toBe(-22n);
    expect(op(guest, EVTCHNOP.bind_virq, guest.put(24, 0))).toBe(-22n);
    expect(op(guest, EVTCHNOP.bind_virq, guest.put(9n << 32n, 0))).toBe(-2n);
    bindVirq(guest, VIRQ.TIMER);
    expect(op(guest, EVTCHNOP.bind_virq, guest.put(0, 0))).toBe(-17n);
    expect(op(guest, EVTCHNOP.bind_ipi, guest.put(7))).toBe(-2n);
    expect(op(guest, EVTCHNOP.expand_array, guest.put(1))).toBe(-95n);
    expect(op(guest, EVTCHNOP.set_priority, guest.put(1n | (3n << 32n)))).toBe(-38n);
    expect(op(guest, 99, guest.put(0))).toBe(-38n);
    expect(op(guest, EVTCHNOP.send, 8n)).toBe(-14n);
    expect(op(guest, EVTCHNOP.alloc_unbound, guest.put(5n))).toBe(-3n);
  });

  it('unmask a port only while it is one', () => {
    const guest = createTestGuest();
    const port = allocate(guest, 0);
    op(guest, EVTCHNOP.close, guest.put(port));
    guest.hypervisor.mmu.writeU64((guest.pv.xen.sharedInfo * 4096 + 0xa00) as Maddr, 1n << BigInt(port));
    expect(op(guest, EVTCHNOP.unmask, guest.put(port))).toBe(0n);
    expect(shared(guest, 0xa00)).toBe(1n << BigInt(port));
  });

  it('run out of ports at the limit', () => {
    const guest = createTestGuest({ maxEventChannels: 4 });
    allocate(guest, 0);
    allocate(guest, 0);
    expect(op(guest, EVTCHNOP.alloc_unbound, guest.put(0x7ff0n))).toBe(-28n);
  });
});

describe("the host's end of a channel", () => {
  it('hears events between instructions, once for many', () => {
    const guest = createTestGuest();
    const port = allocate(guest, 0);
    let heard = 0;
    const host = bindHost(guest.pv.xen, port, () => heard++);
    guest.hypervisor.runSlice();
    heard = 0;
    for (let turn = 0; turn < 3; turn++) op(guest, EVTCHNOP.send, guest.put(port));
    guest.hypervisor.runSlice(1);
    expect(heard).toBe(1);
    expect(host?.notify()).toBe(true);
    expect(shared(guest, 0x800) & (1n << BigInt(port))).not.toBe(0n);
    op(guest, EVTCHNOP.close, guest.put(port));
    expect(host?.notify()).toBe(false);
  });

  it('can not be bound to a port meant for another', () => {
    const guest = createTestGuest();
    expect(bindHost(guest.pv.xen, allocate(guest, 5), () => undefined)).toBeNull();
  });
});

describe('FIFO event channels', () => {
  function fifo(guest: TestGuest): { control: number; words: number } {
    const control = guest.page();
    const array = guest.page();
    const request = guest.put(control.frame, 0, 0);
    expect(op(guest, EVTCHNOP.init_control, request)).toBe(0n);
    expect(guest.peek(request + 16n) & 0xffn).toBe(17n);
    expect(op(guest, EVTCHNOP.init_control, request)).toBe(-22n);
    expect(op(guest, EVTCHNOP.expand_array, guest.put(array.frame))).toBe(0n);
    return { control: control.frame * 4096, words: array.frame * 4096 };
  }
  const word = (guest: TestGuest, at: number): number => guest.hypervisor.mmu.readU32(at as Maddr);

  it('link raised ports in the order they came, per priority', () => {
    const guest = createTestGuest({ vcpus: 1 });
    const { control, words } = fifo(guest);
    const first = bindVirq(guest, VIRQ.TIMER);
    const second = bindVirq(guest, VIRQ.DEBUG);
    const third = bindVirq(guest, VIRQ.ARGO);
    op(guest, EVTCHNOP.set_priority, guest.put(BigInt(third) | (2n << 32n)));
    sendVirq(guest.pv.xen, 0, VIRQ.TIMER);
    sendVirq(guest.pv.xen, 0, VIRQ.DEBUG);
    sendVirq(guest.pv.xen, 0, VIRQ.ARGO);
    expect(word(guest, control)).toBe((1 << 7) | (1 << 2));
    expect(word(guest, control + 8 + 4 * 7)).toBe(first);
    expect(word(guest, control + 8 + 4 * 2)).toBe(third);
    expect(word(guest, words + 4 * first)).toBe((0xa0000000 | second) >>> 0);
    expect(word(guest, words + 4 * second)).toBe(0xa0000000);
    expect(shared(guest, 0) & 0xffn).toBe(1n);
    // Raised again while linked: nothing moves.
    sendVirq(guest.pv.xen, 0, VIRQ.TIMER);
    expect(word(guest, words + 4 * second)).toBe(0xa0000000);
  });

  it('raise what came before its page of the array', () => {
    const guest = createTestGuest();
    const port = bindVirq(guest, VIRQ.TIMER);
    sendVirq(guest.pv.xen, 0, VIRQ.TIMER);
    const { words, control } = fifo(guest);
    expect(word(guest, words + 4 * port)).toBe(0xa0000000);
    expect(word(guest, control + 8 + 4 * 7)).toBe(port);
  });

  it('are lost to a vCPU that has no control block yet', () => {
    const guest = createTestGuest({ vcpus: 2 });
    const { words } = fifo(guest);
    const request = guest.put(BigInt(VIRQ.TIMER) | (1n << 32n), 0);
    expect(op(guest, EVTCHNOP.bind_virq, request)).toBe(0n);
    const port = lo(guest.peek(request + 8n));
    const before = word(guest, words + 4 * port);
    sendVirq(guest.pv.xen, 1, VIRQ.TIMER);
    expect(word(guest, words + 4 * port)).toBe(before);
  });

  it('go back to two levels by reset', () => {
    const guest = createTestGuest();
    fifo(guest);
    expect(op(guest, EVTCHNOP.reset, guest.put(0x7ff0))).toBe(0n);
    expect(op(guest, EVTCHNOP.expand_array, guest.put(1))).toBe(-95n);
  });
});

describe('waiting', () => {
  it('block unmasks events and sleeps until one comes', () => {
    const guest = createTestGuest();
    guest.call(hypercall.set_callbacks, 0xffffffff80002000n, 0x3000n, 0x4000n);
    guest.core.regs[4] = guest.page().address + 4096n;
    bindVirq(guest, VIRQ.TIMER);
    guest.call(hypercall.vcpu_op, VCPUOP.stop_periodic_timer, 0, 0);
    guest.call(hypercall.vcpu_op, VCPUOP.set_singleshot_timer, 0, guest.put(5_000_000, 0));
    expect(guest.call(hypercall.sched_op, SCHEDOP.block, 0)).toBe(0n);
    expect(guest.vcpu.hv.state).toBe('blocked');
    guest.hypervisor.run(10);
    expect(guest.hypervisor.now()).toBe(5_000_010);
    expect(guest.core.rip).toBe(0xffffffff80002000n);
  });

  it('poll ends when a listed port is raised, or at its time', () => {
    const guest = createTestGuest();
    const port = allocate(guest, 0);
    guest.call(hypercall.vcpu_op, VCPUOP.stop_periodic_timer, 0, 0);
    const list = guest.put(port);
    expect(guest.call(hypercall.sched_op, SCHEDOP.poll, guest.put(list, 1, 1_000_000))).toBe(0n);
    expect(guest.vcpu.hv.state).toBe('blocked');
    guest.hypervisor.run(100);
    expect(guest.hypervisor.now()).toBe(1_000_100);
    expect(guest.call(hypercall.sched_op, SCHEDOP.poll, guest.put(list, 200, 0))).toBe(-22n);
    expect(guest.call(hypercall.sched_op, SCHEDOP.poll, guest.put(guest.put(77), 1, 0))).toBe(-22n);
  });
});
