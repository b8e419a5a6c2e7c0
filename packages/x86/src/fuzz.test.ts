import { createMmu, Pte } from '@paravane/mmu';
import type { DomId, Maddr, Mfn } from '@paravane/types';
import { describe, expect, it } from 'vitest';
import { CORE_BYTES, createX86Engine } from './index.js';
import { TABLE } from './notation.js';

const GUEST = 1 as DomId;
const OTHER = 2 as DomId;
const BASE = 0x400000;
const PAGES = 6;
const PROGRAMS = Number(process.env.PARAVANE_FUZZ_PROGRAMS ?? 4000);

/** xorshift32: the same programs every time. */
function createRandom(seed: number): () => number {
  let x = seed | 0;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

describe('a hostile guest', () => {
  it('can run any bytes: they end in a stop, in bounded time, within the guest', { timeout: 300_000 }, () => {
    const random = createRandom(0x5eed);
    const mmu = createMmu({ frames: 48, coreBytes: CORE_BYTES });
    const engine = createX86Engine({ mmu, limits: { regions: 100 }, compileAfter: 0 });
    const vcpu = engine.createVcpu();
    const take = (owner: DomId): Mfn => mmu.frames.allocate(owner) as Mfn;
    const [root, l3, l2, l1] = [take(GUEST), take(GUEST), take(GUEST), take(GUEST)];
    const canaries = Array.from({ length: 8 }, () => take(OTHER));
    const canary = Uint8Array.from({ length: 4096 }, (_, i) => (i * 7) & 0xff);
    for (const mfn of canaries) mmu.write(mfn, 0, canary);
    const pages = Array.from({ length: PAGES }, () => take(GUEST));
    const bits = BigInt(Pte.present | Pte.rw | Pte.user);
    const set = (table: Mfn, index: number, mfn: Mfn, flags = bits): void =>
      mmu.writeU64((table * 4096 + index * 8) as Maddr, (BigInt(mfn) << 12n) | flags);
    set(root, 0, l3);
    set(l3, 0, l2);
    set(l2, BASE >> 21, l1);
    // Readable and writable pages, a read-only one, one of another domain, and nothing behind them.
    pages.forEach((mfn, i) => set(l1, i, mfn, i === 4 ? BigInt(Pte.present | Pte.user) : bits));
    set(l1, PAGES, canaries[0]!);
    const opcodes = TABLE.map(({ map, opcode, prefix, digit }) => [
      ...(prefix === '66' ? [0x66] : prefix === 'F2' ? [0xf2] : prefix === 'F3' ? [0xf3] : []),
      ...(map === 0 ? [] : map === 1 ? [0x0f] : map === 2 ? [0x0f, 0x38] : [0x0f, 0x3a]),
      opcode,
      ...(digit >= 0 ? [(digit << 3) | (random() & 0xc7)] : []),
    ]);
    const reasons = new Set<string>();
    let slowest = 0;
    for (let program = 0; program < PROGRAMS; program++) {
      const bytes = new Uint8Array(256);
      for (let i = 0; i < bytes.length; ) {
        const opcode = random() % 4 === 0 ? [random() & 0xff] : opcodes[random() % opcodes.length]!;
        if (random() % 3 === 0) bytes[i++] = 0x40 | (random() & 15);
        for (const byte of opcode) if (i < bytes.length) bytes[i++] = byte;
        for (let n = random() % 5; n > 0 && i < bytes.length; n--) bytes[i++] = random() & 0xff;
      }
      // Near the end of a page now and then, so that instructions go over it.
      const at = random() % 3 === 0 ? 4096 - (random() % 64) : random() % 2048;
      const here = Math.min(bytes.length, 4096 - at);
      mmu.write(pages[0]!, at, bytes.subarray(0, here));
      mmu.write(pages[1]!, 0, bytes.subarray(here));
      for (let n = 0; n < 16; n++) {
        const kind = random() % 4;
        const near = BigInt(BASE + (random() % ((PAGES + 2) * 4096)));
        vcpu.regs[n] = kind < 2 ? near : kind === 2 ? BigInt(random()) : (BigInt(random()) << 32n) | BigInt(random());
      }
      vcpu.mode = random() % 4 === 0 ? 32 : 64;
      vcpu.rflags = random() & 0xcd5;
      vcpu.cr0 = 0x80050033 | (random() & 8);
      vcpu.cr4 = 0x50660;
      vcpu.space = { root, domid: GUEST, paging: 'long', user: true, wp: true, nxe: true, physical: null };
      vcpu.rip = BigInt(BASE + at);
      const before = performance.now();
      const counted = vcpu.count;
      for (let stops = 0; stops < 20 && vcpu.count - counted < 20_000; stops++) {
        const budget = 1 + (random() % 3000);
        const from = vcpu.count;
        const exit = vcpu.run(budget);
        reasons.add(exit.reason);
        expect(vcpu.count - from).toBeGreaterThan(0);
        expect(vcpu.count - from).toBeLessThanOrEqual(budget);
        // What a personality would do: go on behind the instruction, or give the program up.
        if (exit.reason === 'privileged') vcpu.rip += BigInt(exit.instruction!.length);
        else if (exit.reason === 'exception') vcpu.rip += 1n;
      }
      slowest = Math.max(slowest, performance.now() - before);
    }
    for (const mfn of canaries) expect(mmu.read(mfn, 0, 4096)).toEqual(canary);
    expect([...reasons]).toEqual(
      expect.arrayContaining(['budget', 'exception', 'privileged', 'interrupt', 'syscall', 'cpuid']),
    );
    // On a busy machine; what it must not be is endless.
    expect(slowest).toBeLessThan(5000);
  });
});
