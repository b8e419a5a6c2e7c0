// What the hostile domain does: one event at a time, each a hypercall, a mutation of something in use, or a run of
// random instructions. The fuzzer plays its kernel: it writes registers, code and data that a guest could write
// itself, and lets the vCPU run; nothing here reaches behind the hypervisor's back.
import { hypercall } from '../../packages/abi-xen/dist/index.js';
import { createArguments } from './arguments.mjs';
import { randomCode } from './code.mjs';
import { createHostile } from './world.mjs';

/** Pages behind the boot stack, by what they are for. */
const GATES = 0;
const CODE = 1;
const STACK = 2;
export const FIRST_DATA = 3;
export const DATA_PAGES = 24;
/** Offsets in the page of gates: where all traps lead, a hypercall, a program's system call. */
const SPIN = 0;
const CALL = 16;
const USER_CALL = 32;
const RETURN = 48;
/** Turns of a hypercall that is re-issued, and instructions of a run of random ones. */
const MOST_TURNS = 100_000;
const RUN = 600;
const SLICE = 60;
const DOMID_SELF = 0x7ff0n;
const WRITABLE_PAGETABLES = 2;
const NEW_USER_BASEPTR = 15n;

export const ENDLESS = 'a hypercall is re-issued without end';

export function createActor(world, choose, stopwatch) {
  const { mmu, hypervisor, bits } = world;
  const { below, one, rarely } = choose;
  const long = bits === 64;
  const wordBytes = bits / 8;
  const registers = long ? [7, 6, 2, 10, 8, 9] : [3, 1, 2, 6, 7, 5];
  const call = long ? [0x0f, 0x05] : [0xcd, 0x82];
  const selectors = long ? { kernel: 0xe033, stack: 0xe02b } : { kernel: 0xe019, stack: 0xe021 };
  let guest;
  let values;
  /** The event, in words. */
  let last = '';
  let domains = 0;

  const at = (page, offset = 0) => guest.pages[page].address + BigInt(offset);
  const alive = () => guest !== undefined && guest.pv.domain.state === 'running';

  function poke(address, words, size = wordBytes) {
    const bytes = new Uint8Array(words.length * size);
    const view = new DataView(bytes.buffer);
    words.forEach((word, index) => {
      const value = BigInt.asUintN(size * 8, BigInt(word));
      if (size === 8) view.setBigUint64(index * 8, value, true);
      else view.setUint32(index * 4, Number(value), true);
    });
    return mmu.writeVirtual(guest.core.space, address, bytes);
  }

  /** The kernel about to execute at an address, with registers of its choice. */
  function enterKernel(address) {
    const { core } = guest;
    core.rip = address;
    core.rflags = 0x202;
    core.regs[4] = at(STACK, 3072);
  }

  function slice(limit) {
    stopwatch.start();
    const result = hypervisor.runSlice(limit);
    stopwatch.stop();
    return result;
  }

  /** Runs until the vCPU stands still or has had its time; undefined, or what is wrong. */
  function run(limit) {
    const { core, vcpu } = guest;
    const until = hypervisor.instructions + limit;
    while (alive() && hypervisor.instructions < until) {
      const before = core.rip;
      if (slice(SLICE) !== 'ran') break;
      if (core.rip === before || vcpu.hv.state !== 'runnable') break;
    }
    return undefined;
  }

  /** A hypercall of the kernel, as often as it is re-issued. */
  function hyper(number, args) {
    const { core, vcpu } = guest;
    last = `hypercall ${number}(${args.map((arg) => BigInt(arg).toString(16)).join(', ')})`;
    enterKernel(at(GATES, CALL));
    registers.forEach((register, index) => {
      core.regs[register] = BigInt.asUintN(bits, BigInt(args[index] ?? 0));
    });
    core.regs[0] = BigInt.asUintN(bits, BigInt(number));
    const start = core.rip;
    for (let turn = 0; turn < MOST_TURNS; turn++) {
      if (slice(1) !== 'ran' || !alive()) return undefined;
      // A call that left for elsewhere, or a vCPU that waits, is done.
      if (core.rip !== start || vcpu.hv.state !== 'runnable') return undefined;
    }
    return ENDLESS;
  }

  function setUp() {
    guest?.pv.destroy();
    guest = createHostile(world);
    world.witness.grantTo(guest.pv.domain.id);
    domains++;
    values = createArguments({ world, guest, choose, data: guest.pages.slice(FIRST_DATA, FIRST_DATA + DATA_PAGES) });
    const { vcpu } = guest;
    const gates = guest.pages[GATES].frame;
    mmu.write(gates, SPIN, Uint8Array.of(0xeb, 0xfe));
    mmu.write(gates, CALL, Uint8Array.of(...call, 0xeb, 0xfe));
    mmu.write(gates, USER_CALL, Uint8Array.of(...(long ? [0x0f, 0x05] : [0xcd, 0x80]), 0xeb, 0xfe));
    mmu.write(gates, RETURN, Uint8Array.of(...call));
    const spin = at(GATES, SPIN);
    const traps = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19, 0x80];
    const table = at(FIRST_DATA);
    const info = (vector) => vector | ((vector === 0x80 || vector === 3 ? 7 : 4) << 8) | (selectors.kernel << 16);
    poke(table, [...traps.flatMap((vector) => (long ? [info(vector), spin] : [info(vector), spin])), 0, 0]);
    hyper(hypercall.set_trap_table, [table]);
    hyper(hypercall.stack_switch, [selectors.stack, at(STACK, 4096)]);
    if (long) {
      hyper(hypercall.set_callbacks, [spin, spin, spin]);
      poke(table, [NEW_USER_BASEPTR, vcpu.kernelRoot, 0]);
      hyper(hypercall.mmuext_op, [table, 1, 0, DOMID_SELF]);
    } else {
      hyper(hypercall.set_callbacks, [selectors.kernel, spin, selectors.kernel, spin]);
      for (let page = 0; page < FIRST_DATA + DATA_PAGES; page++) {
        hyper(hypercall.update_va_mapping, [at(page), (guest.pages[page].frame << 12) | 7, 0, 2]);
      }
    }
    hyper(hypercall.vm_assist, [0, WRITABLE_PAGETABLES]);
  }

  /** Back in the kernel, where the event before left a program or a vCPU that waits; false where there is no way back. */
  function comeBack() {
    if (!alive()) return false;
    const { vcpu, core } = guest;
    const { hv } = vcpu;
    if (hv.state === 'blocked') hv.wake();
    if (hv.state !== 'runnable') return false;
    if (!vcpu.guestKernel) {
      core.rip = at(GATES, USER_CALL);
      core.rflags = 0x202;
      if (core.mode !== (long ? 64 : 32)) return false;
      run(4);
      if (!alive() || !vcpu.guestKernel) return false;
    }
    if (core.mode !== (long ? 64 : 32)) return false;
    if (!long && (core.segment(1).limit !== 0xffffffff || core.segment(2).limit !== 0xffffffff)) return false;
    return (
      mmu.translate(core.space, at(GATES), 'fetch') !== null &&
      [CODE, STACK, FIRST_DATA].every((page) => mmu.translate(core.space, at(page), 'write') !== null)
    );
  }

  function randomInstructions() {
    const { core } = guest;
    const bytes = randomCode(choose, bits);
    const address = mmu.translate(core.space, at(CODE), 'write');
    mmu.write(Math.floor(address / 4096), 0, bytes);
    last = `code ${[...bytes.subarray(0, 32)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')}`;
    // What the code does not know of its own registers it gets here.
    const place = below(2) === 0 ? 0 : below(64);
    const kernel = below(2) === 0;
    if (kernel) {
      enterKernel(at(CODE, place));
      core.rflags = 0x202 | (below(0x10000) & 0xcd5) | (rarely(6) ? 0x100 : 0) | (rarely(8) ? 0x40000 : 0);
      for (const register of values.generalRegisters) core.regs[register] = values.register();
      run(RUN);
      return undefined;
    }
    // To a program, by the return that the kernel would make.
    const compat = long && rarely(4);
    const flags = 0x202 | (below(0x10000) & 0xcd5) | (rarely(6) ? 0x100 : 0);
    const stack = at(STACK, 2048);
    const target = at(CODE, place);
    const cs = long
      ? compat
        ? 0xe023
        : rarely(10)
          ? values.selector() | 3
          : 0xe033
      : rarely(10)
        ? values.selector() | 3
        : 0xe02b;
    const ss = long ? 0xe02b : 0xe033;
    const frame = long
      ? [values.register(), 0, 0, rarely(2) ? 0x100 : 0, target, cs, flags, stack, ss]
      : [values.register(), target, cs, flags, stack, ss];
    enterKernel(at(GATES, RETURN));
    core.regs[4] = at(STACK, 1024);
    if (!poke(core.regs[4], frame)) return undefined;
    for (const register of values.generalRegisters) core.regs[register] = values.register();
    core.regs[0] = BigInt(hypercall.iret);
    run(RUN);
    return undefined;
  }

  /** A store of the kernel's own to a page table that it sees read-only. */
  function storeToTable() {
    const { core } = guest;
    const entry = values.tableAddress();
    if (entry === undefined) return undefined;
    const stores = long
      ? [
          [0x48, 0x89, 0x07],
          [0x89, 0x07],
          [0x48, 0x87, 0x07],
          [0xf0, 0x48, 0x0f, 0xb1, 0x0f],
          [0x48, 0x0f, 0xc1, 0x07],
          [0x66, 0x89, 0x07],
          [0x48, 0xab],
        ]
      : [[0x89, 0x07], [0x87, 0x07], [0xf0, 0x0f, 0xb1, 0x0f], [0xf0, 0x0f, 0xc7, 0x0f], [0x66, 0x89, 0x07], [0xab]];
    const address = mmu.translate(core.space, at(CODE), 'write');
    mmu.write(Math.floor(address / 4096), 0, Uint8Array.of(...one(stores), 0xeb, 0xfe));
    enterKernel(at(CODE));
    core.regs[7] = BigInt.asUintN(bits, entry);
    core.regs[0] = BigInt.asUintN(bits, values.entry());
    core.regs[1] = BigInt.asUintN(bits, values.entry());
    run(40);
    return undefined;
  }

  const mutations = [
    // A table of one's own: any contents, read-only, and pinned or hung into another.
    () => {
      const { address, frame } = values.dataPage();
      const words = Array.from({ length: 512 }, () => (rarely(12) ? values.entry() : 0n));
      if (!poke(address, words, 8)) return undefined;
      const readOnly = (BigInt(frame) << 12n) | 0x65n;
      const wrong = hyper(
        hypercall.update_va_mapping,
        long ? [address, readOnly, 2] : [address, readOnly & 0xffffffffn, readOnly >> 32n, 2],
      );
      if (wrong !== undefined || !alive() || !guest.vcpu.guestKernel || guest.vcpu.hv.state !== 'runnable')
        return wrong;
      if (!poke(at(FIRST_DATA), [BigInt(below(5)), frame, 0])) return undefined;
      return hyper(hypercall.mmuext_op, [at(FIRST_DATA), 1, 0, DOMID_SELF]);
    },
    () => {
      const count = 1 + below(4);
      const words = Array.from({ length: count }, () => [values.tablePointer(), values.entry()]).flat();
      if (!poke(at(FIRST_DATA), words, 8)) return undefined;
      return hyper(hypercall.mmu_update, [at(FIRST_DATA), count, 0, DOMID_SELF]);
    },
    () => {
      const address = rarely(3) ? values.address() : values.dataPage().address;
      const entry = values.entry();
      return hyper(
        hypercall.update_va_mapping,
        long ? [address, entry, below(8)] : [address, entry & 0xffffffffn, entry >> 32n, below(8)],
      );
    },
    storeToTable,
    () => {
      const [pointer, descriptor] = [values.descriptorPointer(), values.descriptor()];
      return hyper(
        hypercall.update_descriptor,
        long
          ? [pointer, descriptor]
          : [pointer & 0xffffffffn, pointer >> 32n, descriptor & 0xffffffffn, descriptor >> 32n],
      );
    },
    // A GDT or an LDT of a page of one's own.
    () => {
      const { address, frame } = values.dataPage();
      if (
        !poke(
          address,
          Array.from({ length: 512 }, () => (rarely(3) ? values.descriptor() : 0n)),
          8,
        )
      )
        return undefined;
      const readOnly = (BigInt(frame) << 12n) | 0x65n;
      const wrong = hyper(
        hypercall.update_va_mapping,
        long ? [address, readOnly, 2] : [address, readOnly & 0xffffffffn, readOnly >> 32n, 2],
      );
      if (wrong !== undefined || !alive() || !guest.vcpu.guestKernel || guest.vcpu.hv.state !== 'runnable')
        return wrong;
      if (rarely(2)) {
        if (!poke(at(FIRST_DATA), [frame])) return undefined;
        return hyper(hypercall.set_gdt, [at(FIRST_DATA), 1 + below(512)]);
      }
      if (!poke(at(FIRST_DATA), [13n, address, 1 + below(512)])) return undefined;
      return hyper(hypercall.mmuext_op, [at(FIRST_DATA), 1, 0, DOMID_SELF]);
    },
    // What guest and hypervisor share, in use.
    () => {
      if (rarely(2)) values.grant();
      else for (let word = 1 + below(8); word > 0; word--) values.scribble();
      enterKernel(at(GATES, SPIN));
      run(4);
      return undefined;
    },
  ];

  function randomHypercall() {
    const { number, args } = values.hypercall();
    if (rarely(24)) return hyper(hypercall.multicall, values.multicall());
    return hyper(number, args);
  }

  return {
    get guest() {
      return guest;
    },
    get last() {
      return last;
    },
    get domains() {
      return domains;
    },
    /** Brings the kernel back to where it can do something, or makes a new domain. */
    prepare() {
      if (!comeBack()) setUp();
    },
    /** Does one event; undefined, or what is wrong. */
    event() {
      const kind = below(20);
      if (kind < 9) return randomHypercall();
      if (kind < 13) return one(mutations)();
      return randomInstructions();
    },
    /** Ends the domain. */
    end() {
      guest?.pv.destroy();
      guest = undefined;
    },
  };
}
