/** A vCPU that goes offline and comes back, on the real core: by its own call, and by another vCPU's in its midst. */
import { hypercall, RUNSTATE, VCPUOP, vcpu_guest_context } from '@paravane/abi-xen';
import { createMmu } from '@paravane/mmu';
import { CORE_BYTES, createX86Engine } from '@paravane/x86';
import { describe, expect, it } from 'vitest';
import { xenTransitions } from './index.js';
import { compatImage } from './testing/compat-image.js';
import { createTestGuest, createTestHypervisor } from './testing/test-machine.js';

const ROUND = 1000;
/** Counts to 1000 at [ebp], takes vCPU 1 down, counts at [ebp + 4] that it came back, and begins anew. */
function program(bits: 64 | 32): number[] {
  const count = [0xb9, ROUND & 255, ROUND >> 8, 0, 0, 0xff, 0x45, 0x00, 0xff, 0xc9, 0x75, 0xf9];
  const [first, second] = bits === 64 ? [0xbf, 0xbe] : [0xbb, 0xb9];
  const down = [0xb8, hypercall.vcpu_op, 0, 0, 0, first, VCPUOP.down, 0, 0, 0, second, 1, 0, 0, 0, 0x31, 0xd2];
  const body = [...count, ...down, ...(bits === 64 ? [0x0f, 0x05] : [0xcd, 0x82]), 0xff, 0x45, 0x04];
  return [...body, 0xeb, 256 - body.length - 2];
}

describe.each([64, 32] as const)('vCPU 1 of a %d-bit guest', (bits) => {
  const start = () => {
    const mmu = createMmu({ frames: 4096, coreBytes: CORE_BYTES });
    const on = createTestHypervisor({ mmu, engine: createX86Engine({ mmu, transitions: xenTransitions }) });
    const guest = createTestGuest({ vcpus: 2, ...(bits === 32 ? { image: compatImage() } : {}) }, on);
    const [code, idle, counters, stack] = [guest.page(), guest.page(), guest.page(), guest.page()] as const;
    mmu.writeVirtual(guest.core.space, code.address, Uint8Array.from(program(bits)));
    mmu.writeVirtual(guest.core.space, idle.address, Uint8Array.of(0xeb, 0xfe));
    const bytes = new Uint8Array(vcpu_guest_context.size(bits));
    const [cs, ss] = bits === 64 ? [0xe033, 0xe02b] : [0xe019, 0xe021];
    const registers = { rip: code.address, rsp: stack.address + 4096n, rbp: counters.address, rflags: 0x202n };
    vcpu_guest_context.write(
      new DataView(bytes.buffer),
      0,
      {
        flags: 4n,
        user_regs: { ...registers, cs, ss, ...(bits === 32 ? { ds: ss, es: ss } : {}) },
        kernel_ss: BigInt(ss),
        kernel_sp: stack.address + 4096n,
        ctrlreg: [0n, 0n, 0n, BigInt(guest.vcpu.kernelRoot) << 12n],
      },
      bits,
    );
    const context = guest.page();
    guest.page();
    mmu.writeVirtual(guest.core.space, context.address, bytes);
    const op = (command: number, argument: bigint = 0n) => {
      const result = guest.call(hypercall.vcpu_op, command, 1, argument);
      guest.core.rip = idle.address;
      return result;
    };
    expect(op(VCPUOP.initialise, context.address)).toBe(0n);
    return {
      guest,
      op,
      run: (instructions: number) => on.hypervisor.run(instructions),
      counted: () => mmu.readU32((counters.frame * 4096) as never),
      returned: () => mmu.readU32((counters.frame * 4096 + 4) as never),
      state: () => {
        const area = guest.put(0, 0, 0, 0, 0, 0);
        expect(op(VCPUOP.get_runstate_info, area)).toBe(0n);
        return Number(guest.peek(area) & 0xffffffffn);
      },
    };
  };

  it('goes down by its own call, and comes out of it when it is up again', () => {
    const { op, run, counted, returned, state } = start();
    expect(op(VCPUOP.is_up)).toBe(0n);
    for (let round = 1; round <= 3; round++) {
      expect(op(VCPUOP.up)).toBe(0n);
      run(500_000);
      expect([counted(), returned()]).toEqual([round * ROUND, round - 1]);
      expect([op(VCPUOP.is_up), state()]).toEqual([0n, RUNSTATE.offline]);
    }
    run(500_000);
    expect([counted(), returned()]).toEqual([3 * ROUND, 2]);
  });

  it('stops where another takes it down, and goes on from there', () => {
    const { guest, op, run, counted, returned, state } = start();
    expect(op(VCPUOP.up)).toBe(0n);
    expect([op(VCPUOP.is_up), state()]).toEqual([1n, RUNSTATE.runnable]);
    for (let turn = 0; turn < 50 && counted() === 0; turn++) run(300);
    expect(op(VCPUOP.down)).toBe(0n);
    const stopped = counted();
    expect(stopped).toBeGreaterThan(0);
    expect(stopped).toBeLessThan(ROUND);
    run(500_000);
    expect([counted(), op(VCPUOP.is_up), state()]).toEqual([stopped, 0n, RUNSTATE.offline]);
    // Down again is down; up again goes on with the registers that it had.
    expect([op(VCPUOP.down), op(VCPUOP.up), op(VCPUOP.up)]).toEqual([0n, 0n, 0n]);
    run(500_000);
    expect([counted(), returned()]).toEqual([ROUND, 0]);
    // It is down, so vCPU 0 is the last one.
    guest.call(hypercall.vcpu_op, VCPUOP.down, 0);
    expect(guest.pv.domain.shutdownRecord).toMatchObject({ reason: 'poweroff' });
  });
});
