import { hypercall, type ValueOf, VCPUOP, vcpu_guest_context } from '@paravane/abi-xen';
import { describe, expect, it } from 'vitest';
import { createTestGuest } from './testing/test-machine.js';

type Context = ValueOf<typeof vcpu_guest_context>;

const KERNEL = 0xffffffff80002000n;
const OUTSIDE = 0x8000_0000_0000n;

/** A guest, and what initialising its second vCPU answers, by what is changed in the context. */
function start() {
  const guest = createTestGuest({ vcpus: 2 });
  const other = guest.pv.xen.vcpus[1]!;
  const initialise = (
    changed: Partial<Omit<Context, 'user_regs'>> & { user_regs?: Partial<Context['user_regs']> },
  ): bigint => {
    const bytes = new Uint8Array(vcpu_guest_context.size(64));
    const { user_regs: registers, ...rest } = changed;
    const context = {
      flags: 4n,
      user_regs: { rip: KERNEL, rsp: guest.vcpu.kernelSp, cs: 0xe033, ss: 0xe02b, rflags: 0x202n, ...registers },
      kernel_ss: 0xe02bn,
      kernel_sp: guest.vcpu.kernelSp,
      ctrlreg: [0n, 0n, 0n, BigInt(guest.vcpu.kernelRoot) << 12n],
      failsafe_callback_eip: KERNEL + 0x100n,
      ...rest,
    };
    vcpu_guest_context.write(new DataView(bytes.buffer), 0, context, 64);
    return guest.call(hypercall.vcpu_op, VCPUOP.initialise, 1, guest.putBytes(bytes));
  };
  return { guest, other, initialise };
}

describe('the context of a 64-bit vCPU', () => {
  it.each<[string, Parameters<ReturnType<typeof start>['initialise']>[0]]>([
    ['a kernel stack', { kernel_sp: OUTSIDE }],
    ['a stack', { user_regs: { rsp: OUTSIDE } }],
    ['code', { user_regs: { rip: OUTSIDE } }],
    ['a handler', { trap_ctxt: [{ vector: 13, flags: 0, cs: 0xe033, address: OUTSIDE }] }],
    ['a base', { gs_base_user: OUTSIDE }],
  ])('is refused with %s where no address is', (_, changed) => {
    const { other, initialise } = start();
    expect(initialise(changed)).toBe(-22n);
    expect(other.initialised).toBe(false);
  });

  it('is refused with an LDT that begins within a page, is too long, or is in Xen', () => {
    const { guest, initialise } = start();
    const page = guest.page().address;
    expect(initialise({ ldt_base: page + 8n, ldt_ents: 1n })).toBe(-22n);
    expect(initialise({ ldt_base: page, ldt_ents: 8193n })).toBe(-22n);
    expect(initialise({ ldt_base: 0xffff800000000000n, ldt_ents: 1n })).toBe(-22n);
    expect(initialise({ ldt_base: page, ldt_ents: 1n })).toBe(0n);
  });

  it('gives control registers', () => {
    const { guest, other, initialise } = start();
    const ctrlreg = [8n, 0n, 0x1234n, BigInt(guest.vcpu.kernelRoot) << 12n, 4n];
    expect(initialise({ ctrlreg })).toBe(0n);
    expect([other.core.cr0 & 8, other.cr2, other.core.cr4 & 4]).toEqual([8, 0x1234n, 4]);
  });

  it('starts in the failsafe callback where a segment can not be loaded', () => {
    const { guest, other, initialise } = start();
    expect(initialise({ user_regs: { fs: 0x1238 } })).toBe(0n);
    expect(other.core.rip).toBe(KERNEL + 0x100n);
    expect([...other.core.selectors].slice(3, 6)).toEqual([0, 0, 0]);
    const words = Array.from({ length: 4 }, (_, at) => guest.peek(other.core.regs[4]! + BigInt(16 + 8 * at)) & 0xffffn);
    expect(words).toEqual([0n, 0n, 0x1238n, 0n]);
  });
});
