// One engine with a vCPU on flat page tables: pages of code that may be written to, and pages of data around a stack.
import { createMmu, Pte } from '../../packages/mmu/dist/index.js';
import { CORE_BYTES, createX86Engine } from '../../packages/x86/dist/index.js';

const GUEST = 1;
export const CODE = 0x400000;
export const DATA = 0x800000;
const DATA_PAGES = 8;
/** What rbp holds: programs address up from here, their loops' counters are below. */
const MIDDLE = DATA + 0x2000;
const STACK = DATA + 0x1800;

/** @param pages of code */
export function createEqualityMachine(engineOptions, pages) {
  const mmu = createMmu({ frames: pages + 64, coreBytes: CORE_BYTES });
  const engine = createX86Engine({ mmu, ...engineOptions });
  const vcpu = engine.createVcpu();
  const take = () => mmu.frames.allocate(GUEST);
  const tables = BigInt(Pte.present | Pte.rw | Pte.user);
  const below = (table, index) => {
    const at = table * 4096 + index * 8;
    if (mmu.readU64(at) === 0n) mmu.writeU64(at, (BigInt(take()) << 12n) | tables);
    return Number(mmu.readU64(at) >> 12n);
  };
  const root = take();
  const map = (address, count) =>
    Array.from({ length: count }, (_, i) => {
      const va = address + i * 4096;
      const l1 = below(below(below(root, 0), va >>> 30), (va >>> 21) & 511);
      return below(l1, (va >>> 12) & 511);
    });
  const code = map(CODE, pages);
  const data = map(DATA, DATA_PAGES);
  vcpu.space = { root, domid: GUEST, paging: 'long', user: true, wp: true, nxe: true, physical: null };
  vcpu.cr0 = 0x80050033;
  vcpu.cr4 = 0x620;
  const fresh = vcpu.save();
  return {
    engine,
    vcpu,
    /** Writes bytes of code at an offset from CODE. */
    load(offset, bytes) {
      for (let done = 0; done < bytes.length; ) {
        const [page, within] = [(offset + done) >> 12, (offset + done) & 4095];
        const part = bytes.subarray(done, done + 4096 - within);
        mmu.write(code[page], within, part);
        done += part.length;
      }
    },
    /** The state in which a program begins. */
    enter({ mode, offset, registers, data: bytes }) {
      vcpu.restore(fresh);
      vcpu.mode = mode;
      data.forEach((mfn, i) => mmu.write(mfn, 0, bytes.subarray(i * 4096, (i + 1) * 4096)));
      vcpu.regs.set(registers);
      vcpu.regs[4] = BigInt(STACK);
      vcpu.regs[5] = BigInt(MIDDLE);
      vcpu.rip = BigInt(CODE + offset);
    },
    /** All bytes of data, and those of the code from an offset. */
    memory(offset, length) {
      const parts = data.map((mfn) => mmu.read(mfn, 0, 4096));
      for (let page = offset >> 12; page <= (offset + length - 1) >> 12; page++)
        parts.push(mmu.read(code[page], 0, 4096));
      return Buffer.concat(parts);
    },
  };
}
export const DATA_BYTES = DATA_PAGES * 4096;
