// Values as a hostile kernel would choose them: small, huge, boundaries, and ones that name its own frames, tables,
// pages and neighbours, so that a call gets past its first checks.
import { hasSubOps, hypercall } from '../../packages/abi-xen/dist/index.js';

const NUMBERS = Object.values(hypercall);
const DOMAINS = [0x7ff0, 0x7ff0, 0x7ff0, 0, 0x7ff1, 0x7ff2, 0x7fff, 0x7ff4];
const PRESENT = 1n;

export function createArguments({ world, guest, choose, data }) {
  const { mmu, bits, witness } = world;
  const { below, one, rarely, wide } = choose;
  const { core, vcpu, pv } = guest;
  const long = bits === 64;
  const { xen } = pv;
  const own = pv.domain.id;
  const { u32, frameBase } = mmu.machine;

  /** Places of grants that were mapped lately. */
  const mapped = [];

  const dataPage = () => one(data);
  const place = () => dataPage().address + BigInt(below(512) * 8);
  const anyFrame = () => {
    switch (below(8)) {
      case 0:
        return vcpu.kernelRoot;
      case 1:
        return table(1 + below(4)).frame;
      case 2:
        return 1 + below(mmu.frames.frames + 8);
      case 3:
        return xen.sharedInfo;
      default:
        return dataPage().frame;
    }
  };
  const address = () => {
    switch (below(10)) {
      case 0:
        return wide();
      case 1:
        return long ? 0xffff800000000000n + BigInt(below(0x7fffffff)) * 4096n : 0xf5800000n + BigInt(below(0xa7fffff));
      case 2:
        return long ? 0x00007ffffffff000n + BigInt(below(8192)) : 0xfffff000n + BigInt(below(4096));
      case 3:
        return dataPage().address + 4090n;
      default:
        return place();
    }
  };
  const value = () => {
    switch (below(12)) {
      case 0:
        return 0n;
      case 1:
      case 2:
      case 3:
        return BigInt(below(40));
      case 4:
        return BigInt.asUintN(64, -BigInt(below(5000)));
      case 5:
        return wide();
      case 6:
        return BigInt(anyFrame());
      case 7:
        return BigInt(anyFrame()) << 12n;
      case 8:
        return BigInt(one(DOMAINS));
      case 9:
        return 1n << BigInt(below(64));
      default:
        return address();
    }
  };

  /** A table on the way to an address of the domain's, of the level given. */
  function table(level) {
    const va = rarely(3) ? address() : dataPage().address;
    let frame = vcpu.kernelRoot;
    let depth = long ? 4 : 3;
    for (; depth > level; depth--) {
      const shift = BigInt(12 + 9 * (depth - 1));
      const index = Number((va >> shift) & 511n);
      const word = (frameBase + frame * 4096 + index * 8) >>> 2;
      const next = (u32[word + 1] & 0xfffff) * 0x100000 + (u32[word] >>> 12);
      if (!(u32[word] & 1) || !(next > 0 && next < mmu.frames.frames) || mmu.frames.owner[next] !== own) break;
      frame = next;
    }
    return { frame, index: Number((va >> BigInt(12 + 9 * (depth - 1))) & 511n) };
  }

  const entry = () => {
    if (rarely(6)) return rarely(2) ? 0n : wide();
    let flags = PRESENT | (rarely(2) ? 2n : 0n) | (rarely(4) ? 0n : 4n) | (rarely(2) ? 0x60n : 0n);
    if (rarely(8)) flags |= 1n << BigInt(below(12));
    if (rarely(12)) flags &= ~PRESENT;
    const high = rarely(6) ? 1n << BigInt(52 + below(12)) : 0n;
    return (BigInt(anyFrame()) << 12n) | flags | high;
  };
  const tablePointer = () => {
    const { frame, index } = rarely(5) ? { frame: anyFrame(), index: below(512) } : table(1 + below(4));
    return (BigInt(frame) << 12n) | BigInt((rarely(4) ? below(512) : index) * 8 + (rarely(8) ? below(8) : 0));
  };
  const descriptor = () => {
    if (rarely(6)) return wide();
    const type = [0x9a, 0x92, 0xfa, 0xf2, 0xfb, 0xf3, 0xf6, 0x96, 0xec, 0x8c, 0x82, 0x89, 0xfe][below(13)];
    const flags = [0xc, 0xa, 0x4, 0x0, 0x8, 0xe][below(6)];
    const limit = rarely(2) ? 0xfffffn : BigInt(below(0x100000));
    const base = rarely(2) ? 0n : BigInt(below(0x7fffffff));
    return (
      (limit & 0xffffn) |
      ((base & 0xffffffn) << 16n) |
      (BigInt(type) << 40n) |
      ((limit >> 16n) << 48n) |
      (BigInt(flags) << 52n) |
      ((base >> 24n) << 56n)
    );
  };
  const descriptorPointer = () => {
    const [first] = vcpu.mm.gdtFrames;
    const frame = first === undefined || rarely(3) ? anyFrame() : first;
    return (BigInt(frame) << 12n) + BigInt(below(512) * 8 + (rarely(8) ? below(8) : 0));
  };

  /** Frames that hypervisor and guest both write to. */
  const sharedFrames = () => {
    const { grants, events } = xen;
    return [
      xen.sharedInfo,
      xen.sharedInfo,
      ...grants.frames,
      ...grants.statusFrames,
      ...(events.fifo?.array ?? []),
      ...xen.vcpus.flatMap(({ vcpuInfoFrame, events: { controlFrame } }) => [vcpuInfoFrame, controlFrame]),
      pv.consoleChannel.frame,
      pv.storeChannel.frame,
    ].filter((frame) => frame !== 0 && mmu.frames.owner[frame] === own);
  };
  function scribble() {
    const frame = one(sharedFrames());
    // Only what the guest itself could write to.
    if (mmu.frames.typeCount[frame] !== 0 && mmu.frames.type[frame] !== 6) return;
    const ranges = [128, 4096, 4096, 512];
    const offset = below(one(ranges)) & ~3;
    const low = rarely(3) ? below(16) : Number(value() & 0xffffffffn);
    mmu.writeU32(frame * 4096 + offset, low);
  }

  /** Fills the beginning of a page with what a structure could hold. */
  function fill(at, words = 16) {
    const bytes = new Uint8Array(words * 8);
    const view = new DataView(bytes.buffer);
    for (let offset = 0; offset < bytes.length; offset += 4) {
      if (rarely(3)) {
        if (offset % 8 === 0) view.setBigUint64(offset, BigInt.asUintN(64, value()), true);
        continue;
      }
      const small = [below(4), below(16), 0, anyFrame(), one(DOMAINS), own, witness.pv.domain.id, 8];
      view.setUint32(offset, one(small) | (rarely(4) ? one(DOMAINS) << 16 : 0), true);
      if (offset % 8 === 0 && rarely(3)) view.setBigUint64(offset, rarely(2) ? place() : entry(), true);
    }
    mmu.writeVirtual(core.space, at, bytes);
  }

  function pointer() {
    if (rarely(12)) return address();
    const at = dataPage().address + BigInt(below(64) * 8);
    fill(at);
    return at;
  }

  /** Grants of the witness's page and of pages of its own, mapped, unmapped and copied so that much of it succeeds. */
  function grantArguments() {
    const at = dataPage().address;
    const bytes = new Uint8Array(64);
    const view = new DataView(bytes.buffer);
    const word = (offset, number) =>
      long
        ? view.setBigUint64(offset, BigInt.asUintN(64, number), true)
        : view.setUint32(offset, Number(number & 0xffffffffn), true);
    const fromWitness = rarely(3);
    const ref = fromWitness ? 8 : 8 + below(6);
    const other = fromWitness ? witness.pv.domain.id : own;
    const where = rarely(4) ? { address: tablePointer(), flags: 16 } : { address: dataPage().address, flags: 0 };
    const { handles, version } = xen.grants;
    const command = [0, 0, 0, 1, 1, 5, 7, 8, 11, 4][below(10)];
    switch (command) {
      case 0:
        view.setBigUint64(0, where.address, true);
        view.setUint32(8, one([2, 2, 6, 3, 1, 7]) | where.flags | (rarely(4) ? 8 : 0), true);
        view.setUint32(12, ref, true);
        view.setUint16(16, other, true);
        break;
      case 1:
      case 7: {
        const { address } = mapped.length > 0 && !rarely(5) ? one(mapped) : where;
        view.setBigUint64(0, address, true);
        if (command === 7) view.setBigUint64(8, dataPage().address, true);
        view.setUint32(16, below(handles.length + 1), true);
        break;
      }
      case 5: {
        const half = long ? 16 : 12;
        for (const side of [0, half]) {
          const byRef = side === 0 || rarely(2);
          word(side, byRef ? BigInt(ref) : BigInt(dataPage().frame));
          view.setUint16(side + half - (long ? 8 : 8), byRef ? other : 0x7ff0, true);
          view.setUint16(side + half - (long ? 6 : 6), below(4096), true);
        }
        view.setUint16(2 * half, below(4096), true);
        view.setUint16(2 * half + 2, 1 + below(3), true);
        break;
      }
      case 8:
        view.setUint32(0, 3 - version, true);
        break;
      case 11:
        view.setUint32(0, ref, true);
        view.setUint32(4, 8 + below(6), true);
        break;
      default:
        word(0, BigInt(dataPage().frame));
        view.setUint16(long ? 8 : 4, other, true);
        view.setUint32(long ? 12 : 8, ref, true);
    }
    if (command === 0) {
      mapped.push(where);
      if (mapped.length > 8) mapped.shift();
    }
    mmu.writeVirtual(core.space, at, bytes);
    return [command, at, 1];
  }

  /** Writes an entry of the domain's own grant table, as it does to offer a page. */
  function grant() {
    const { frames: tables, version } = xen.grants;
    const frame = tables[0];
    if (mmu.frames.owner[frame] !== own) return;
    const entry = frame * 4096 + (8 + below(6)) * (version === 1 ? 8 : 16);
    const flags = one([1, 1, 1, 5, 0, 2, 3, 0x101]);
    mmu.writeU32(entry, flags | ((rarely(6) ? one(DOMAINS) : own) << 16));
    if (version === 1) mmu.writeU32(entry + 4, anyFrame());
    else {
      mmu.writeU32(entry + 4, rarely(2) ? below(0x10000) : own);
      mmu.writeU64(entry + 8, BigInt(anyFrame()));
    }
  }

  function hypercallArguments(number) {
    if (rarely(6)) return Array.from({ length: 6 }, value);
    const self = rarely(8) ? value() : 0x7ff0n;
    switch (number) {
      case hypercall.mmu_update: {
        const at = dataPage().address;
        const count = 1 + below(5);
        const bytes = new Uint8Array(count * 16);
        const view = new DataView(bytes.buffer);
        for (let index = 0; index < count; index++) {
          view.setBigUint64(index * 16, BigInt.asUintN(64, tablePointer()), true);
          view.setBigUint64(index * 16 + 8, BigInt.asUintN(64, entry()), true);
        }
        mmu.writeVirtual(core.space, at, bytes);
        return [at, rarely(20) ? value() : count, rarely(2) ? 0 : place(), self];
      }
      case hypercall.mmuext_op: {
        const at = dataPage().address;
        const size = long ? 24 : 12;
        const count = 1 + below(4);
        const bytes = new Uint8Array(count * size);
        const view = new DataView(bytes.buffer);
        for (let index = 0; index < count; index++) {
          const first = rarely(2) ? BigInt(anyFrame()) : address();
          view.setUint32(index * size, below(22), true);
          if (long) {
            view.setBigUint64(index * size + 8, BigInt.asUintN(64, first), true);
            view.setBigUint64(index * size + 16, BigInt.asUintN(64, rarely(2) ? BigInt(anyFrame()) : value()), true);
          } else {
            view.setUint32(index * size + 4, Number(BigInt.asUintN(32, first)), true);
            view.setUint32(index * size + 8, Number(BigInt.asUintN(32, value())), true);
          }
        }
        mmu.writeVirtual(core.space, at, bytes);
        return [at, rarely(20) ? value() : count, rarely(2) ? 0 : place(), self];
      }
      case hypercall.update_va_mapping:
      case hypercall.update_va_mapping_otherdomain: {
        const [va, to] = [address(), entry()];
        return long ? [va, to, below(8), self] : [va, to & 0xffffffffn, to >> 32n, below(8), self];
      }
      case hypercall.memory_op:
        return [below(30), pointer()];
      case hypercall.grant_table_op:
        return rarely(3) ? [below(13), pointer(), rarely(8) ? value() : 1 + below(2)] : grantArguments();
      case hypercall.vcpu_op:
        return [below(16), below(3), pointer()];
      case hypercall.sched_op: {
        // Those that end the domain come rarely, or little else would be tried.
        const command = below(8);
        return [command === 2 && !rarely(50) ? 3 : command, pointer()];
      }
      case hypercall.sched_op_compat:
        return [rarely(50) ? 2 : below(2), 0];
      case hypercall.stack_switch:
        return [long ? 0xe02b : 0xe021, rarely(4) ? address() : data[0].address];
      case hypercall.set_gdt:
        return [pointer(), below(1024)];
      case hypercall.set_trap_table:
        return [rarely(20) ? pointer() : 0xffff880000000000n];
      default:
        if (hasSubOps(number)) return [below(34), pointer(), rarely(4) ? value() : below(3)];
        return [pointer(), value(), value(), value()];
    }
  }

  function randomHypercall() {
    let number = rarely(12) ? below(80) : one(NUMBERS);
    if (rarely(10)) number = hypercall.grant_table_op;
    // These have their turn in the mutations and at the end of traps, and end the domain when they go wrong.
    if ((number === hypercall.iret || number === hypercall.set_callbacks) && !rarely(20)) number = hypercall.memory_op;
    return { number, args: hypercallArguments(number) };
  }

  function multicall() {
    const at = dataPage().address + 2048n;
    const count = 1 + below(6);
    const size = long ? 64 : 32;
    const bytes = new Uint8Array(count * size);
    const view = new DataView(bytes.buffer);
    const word = (offset, number) => {
      const wideNumber = BigInt.asUintN(bits, BigInt(number));
      if (long) view.setBigUint64(offset, wideNumber, true);
      else view.setUint32(offset, Number(wideNumber), true);
    };
    for (let index = 0; index < count; index++) {
      const { number, args } = randomHypercall();
      word(index * size, number);
      args.slice(0, 6).forEach((arg, which) => word(index * size + (2 + which) * (size / 8), arg));
    }
    mmu.writeVirtual(core.space, at, bytes);
    return [at, rarely(20) ? value() : count];
  }

  /** Where the domain sees one of its tables, and the place of an entry in it. */
  function tableAddress() {
    const { frame, index } = table(1);
    const pfn = xen.mm.machine.m2p.get(frame);
    if (pfn > 0xfffffn) return undefined;
    const base = long ? 0xffffffff80000000n : 0xc0000000n;
    return base + (pfn << 12n) + BigInt((rarely(3) ? below(512) : index) * 8 + (rarely(4) ? below(8) : 0));
  }

  return {
    generalRegisters: long ? [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] : [0, 1, 2, 3, 5, 6, 7],
    dataPage,
    address: () => BigInt.asUintN(bits, address()),
    entry: () => BigInt.asUintN(64, entry()),
    tablePointer,
    tableAddress,
    descriptor,
    descriptorPointer,
    scribble,
    grant,
    selector: () => (rarely(2) ? below(0x10000) : below(64) * 8),
    register: () => BigInt.asUintN(bits, rarely(3) ? BigInt(below(64)) : rarely(2) ? address() : value()),
    hypercall: randomHypercall,
    multicall,
  };
}
