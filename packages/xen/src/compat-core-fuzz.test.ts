/** Random instructions in the kernel and the programs of a 32-bit guest, on the real core: nothing throws, a guest beside it keeps what it has. */
import { hypercall } from '@paravane/abi-xen';
import { createMmu } from '@paravane/mmu';
import { CORE_BYTES, createX86Engine } from '@paravane/x86';
import { expect, it } from 'vitest';
import { COMPAT_BASE, compatImage } from './testing/compat-image.js';
import { randomNumbers, seedsFrom } from './testing/fuzz.js';
import { createTestGuest, createTestHypervisor, type TestGuest } from './testing/test-machine.js';

/** Openings that random bytes rarely hit: calls, returns, loads of segments, port and control accesses. */
const OPENINGS = [
  [0xcd, 0x82],
  [0xcd, 0x80],
  [0xcf],
  [0xcb],
  [0x8e, 0xd8],
  [0x8e, 0xe0],
  [0x0f, 0x20, 0xd8],
  [0x0f, 0x22, 0xd8],
  [0x0f, 0x30],
  [0x0f, 0x05],
  [0x0f, 0xa2],
  [0x64, 0xa1],
  [0x9a],
  [0xff],
  [0x0f],
  [0xf3],
  [0x66],
];
const EVENTS = 1_500;

it.each(seedsFrom(0x3c6ef372))('random code in rings 1 and 3 (seed %i)', (seed) => {
  const random = randomNumbers(seed);
  const mmu = createMmu({ frames: 4096, coreBytes: CORE_BYTES });
  const on = createTestHypervisor({ mmu, engine: createX86Engine({ mmu }) });
  const canary = createTestGuest({ name: 'canary', memoryPages: 1024, maxPages: 1024 }, on);
  const before = on.hypervisor.stateHash(canary.pv.domain);
  let guest: TestGuest | null = null;
  let code = { address: 0n, frame: 0 };
  let data = { address: 0n, frame: 0 };
  for (let event = 0; event < EVENTS; event++) {
    if (guest === null || guest.pv.domain.state !== 'running' || event % 500 === 0) {
      guest?.pv.destroy();
      guest = createTestGuest({ image: compatImage(), memoryPages: 1024, maxPages: 1024 }, on);
      code = guest.page();
      data = guest.page();
      for (const page of [code, data]) {
        guest.call(hypercall.update_va_mapping, page.address, (page.frame << 12) | 7, 0, 2);
      }
      const traps = [0, 1, 3, 6, 13, 14, 0x80].flatMap((vector) => [vector | 0x300 | (0xe019 << 16), 0xc0000800]);
      mmu.writeVirtual(guest.core.space, data.address, new Uint8Array(Uint32Array.from([...traps, 0, 0]).buffer));
      guest.call(hypercall.set_trap_table, data.address);
      guest.call(hypercall.stack_switch, 0xe021, data.address + 4096n);
    }
    const { core, vcpu, personality } = guest;
    const bytes = Uint8Array.from({ length: 64 }, () => random(256));
    bytes.set(OPENINGS[random(OPENINGS.length)]);
    mmu.write(code.frame as never, 0, bytes);
    mmu.write(
      data.frame as never,
      0,
      Uint8Array.from({ length: 256 }, () => random(256)),
    );
    const ring = random(2) ? 1 : 3;
    core.selectors.set(ring === 1 ? [0xe021, 0xe019, 0xe021, 0xe021] : [0xe033, 0xe02b, 0xe033, 0xe033]);
    vcpu.guestKernel = ring === 1;
    core.space = { ...core.space, user: ring === 3 };
    core.mode = 32;
    core.rflags = 0x202 | random(0x1000);
    for (let register = 0; register < 8; register++) {
      core.regs[register] = BigInt([data.address, COMPAT_BASE, 0n, 0xf5800000n][random(4)]) + BigInt(random(300));
    }
    core.regs[0] = BigInt(random(60));
    core.regs[4] = data.address + 2048n;
    core.rip = code.address;
    for (let stop = 0; stop < 12 && guest.pv.domain.state === 'running' && vcpu.hv.state === 'runnable'; stop++) {
      personality.handleExit(vcpu.hv, core.run(40));
      if (vcpu.hv.state === 'runnable' && guest.pv.domain.state === 'running') personality.beforeRun(vcpu.hv);
    }
    if (vcpu.hv.state === 'blocked') vcpu.hv.wake();
    if (mmu.translate({ ...core.space, user: false }, code.address) === null) {
      guest.pv.destroy();
      guest = null;
    }
  }
  expect(on.hypervisor.stateHash(canary.pv.domain)).toBe(before);
});
