/** INT n on the real core, with prefixes before it: where Xen goes on, and where it tells of a fault. */
import { hypercall } from '@paravane/abi-xen';
import { createMmu } from '@paravane/mmu';
import { CORE_BYTES, createX86Engine } from '@paravane/x86';
import { beforeAll, describe, expect, it } from 'vitest';
import { compatImage } from '../testing/compat-image.js';
import { createTestGuest, createTestHypervisor, type TestGuest } from '../testing/test-machine.js';

const PREFIXES = [0x66, 0x2e];
const OPEN = 0x81;
const CLOSED = 0x90;
const SYSTEM_CALL = 0x80;
const NO_HANDLER = 0x55;

describe.each([64, 32] as const)('INT n of a PV%d kernel', (width) => {
  let guest: TestGuest;
  let code: bigint;
  let handlers: bigint;
  const word = BigInt(width / 8);

  function setTraps(traps: readonly (readonly [vector: number, flags: number])[]): void {
    const cs = width === 64 ? 0xe033n : 0xe019n;
    const table = traps.flatMap(([vector, flags]) => {
      const [first, address] = [BigInt(vector) | (BigInt(flags) << 8n) | (cs << 16n), handlers + BigInt(vector)];
      return width === 64 ? [first, address] : [first | (address << 32n)];
    });
    expect(guest.call(hypercall.set_trap_table, 0)).toBe(0n);
    expect(guest.call(hypercall.set_trap_table, guest.put(...table, 0, 0))).toBe(0n);
  }
  beforeAll(() => {
    const mmu = createMmu({ frames: 4096, coreBytes: CORE_BYTES });
    const setup = width === 32 ? { image: compatImage() } : {};
    guest = createTestGuest(setup, createTestHypervisor({ mmu, engine: createX86Engine({ mmu }) }));
    code = guest.page().address;
    handlers = guest.page().address;
  });
  /** Runs one instruction of the kernel: the handler that is entered, its error code, and the saved RIP from the code's start. */
  function run(...bytes: number[]): { vector: number; errorCode?: number; rip: number } {
    const { core, vcpu, personality } = guest;
    guest.hypervisor.mmu.writeVirtual(core.space, code, Uint8Array.from(bytes));
    core.regs[4] = guest.page().address + 2048n;
    core.rip = code;
    const exit = core.run(1);
    if (exit.reason !== 'budget') personality.handleExit(vcpu.hv, exit);
    const vector = Number(core.rip - handlers);
    // RCX and R11 come first for 64-bit kernels.
    let at = core.regs[4]! + (width === 64 ? 2n * word : 0n);
    const read = (): number => {
      const value = BigInt.asUintN(width, guest.peek(at));
      at += word;
      return Number(value >= code ? value - code : value);
    };
    return vector === 13 ? { vector, errorCode: read(), rip: read() } : { vector, rip: read() };
  }

  it('is taken for two bytes long where Xen carries it out, whatever its prefixes', () => {
    setTraps([[OPEN, 3]]);
    expect(run(0xcd, OPEN)).toEqual({ vector: OPEN, rip: 2 });
    expect(run(...PREFIXES, 0xcd, OPEN)).toEqual({ vector: OPEN, rip: 2 });
  });

  it('of vectors 3, 4 and 80, which the processor does by itself, ends behind it', () => {
    setTraps([
      [3, 0],
      [4, 0],
      [SYSTEM_CALL, 0],
    ]);
    expect(run(...PREFIXES, 0xcd, 3)).toEqual({ vector: 3, rip: 4 });
    expect(run(...PREFIXES, 0xcd, 4)).toEqual({ vector: 4, rip: 4 });
    expect(run(...PREFIXES, 0xcd, SYSTEM_CALL)).toEqual({ vector: SYSTEM_CALL, rip: 4 });
  });

  it('without the right is a fault at its first prefix, with the vector in the error code', () => {
    setTraps([
      [13, 0],
      [CLOSED, 0],
    ]);
    expect(run(...PREFIXES, 0xcd, CLOSED)).toEqual({ vector: 13, errorCode: CLOSED * 8 + 2, rip: 0 });
    expect(run(...PREFIXES, 0xcd, NO_HANDLER)).toEqual({ vector: 13, errorCode: NO_HANDLER * 8 + 2, rip: 0 });
  });

  it('of vector 80 without a handler is a fault two bytes before its end', () => {
    setTraps([[13, 0]]);
    expect(run(...PREFIXES, 0xcd, SYSTEM_CALL)).toEqual({ vector: 13, errorCode: 0x402, rip: 2 });
  });

  it('of the vector of hypercalls is a hypercall of a 32-bit kernel, and goes on behind its prefixes', () => {
    setTraps([
      [13, 0],
      [0x82, 3],
    ]);
    const { core } = guest;
    core.regs[0] = BigInt(hypercall.xen_version);
    core.regs[3] = 0n;
    const { vector, rip } = run(...PREFIXES, 0xcd, 0x82);
    const done = [core.regs[0], core.rip - code];
    expect(width === 64 ? [vector, rip] : done).toEqual(width === 64 ? [0x82, 2] : [0x40011n, 4n]);
  });

  it('that is open, with its handler gone, ends the domain', () => {
    setTraps([[OPEN, 3]]);
    Object.assign(guest.vcpu.traps[OPEN]!, { address: 0n, cs: 0 });
    run(0xcd, OPEN);
    expect(guest.pv.domain.state).toBe('crashed');
  });
});
