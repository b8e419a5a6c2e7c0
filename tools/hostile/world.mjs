// A machine with two domains: a hostile one, whose kernel does what the fuzzer decides, and a witness beside it, whose
// program reads its own memory over and over, compares what it finds, and counts.
import { createConsoleBackend } from '../../packages/console-back/dist/index.js';
import { readKernelImage } from '../../packages/domain-builder/dist/index.js';
import { helloKernel } from '../../packages/guest-stubs/dist/index.js';
import { createHypervisor } from '../../packages/hypervisor/dist/index.js';
import { createMmu } from '../../packages/mmu/dist/index.js';
import { CORE_BYTES, CORE_FEATURES, createX86Engine } from '../../packages/x86/dist/index.js';
import { createPvDomain, createXenPersonality, xenTransitions } from '../../packages/xen/dist/index.js';
import { createXenstore, createXenstoreRing, populateHost } from '../../packages/xenstore/dist/index.js';

export const MEMORY_PAGES = 1024;
const MAX_PAGES = 1100;
const FRAMES = 4096;
const WITNESS_PAGES = 16;
const GRANTED_REF = 8;

/** Kernels of which nothing but their place in memory is used. */
const images = { 64: readKernelImage(helloKernel(64)), 32: readKernelImage(helloKernel(32)) };

export function createWorld(bits) {
  const mmu = createMmu({ frames: FRAMES, coreBytes: CORE_BYTES });
  const engine = createX86Engine({ mmu, transitions: xenTransitions });
  const hypervisor = createHypervisor({ mmu, engine, clock: 'virtual' });
  const personality = createXenPersonality(hypervisor.services);
  const world = { mmu, engine, hypervisor, personality, bits, witness: undefined };
  world.witness = createWitness(world);
  // What a domain leaves behind when it goes is compared with this.
  const first = createHostile(world);
  first.pv.destroy();
  world.freeFrames = mmu.frames.freeCount;
  return world;
}

function build({ hypervisor, personality }, name, kernel, vcpus) {
  const store = createXenstore();
  populateHost(store);
  return createPvDomain(hypervisor, personality, {
    name,
    image: kernel,
    memoryPages: MEMORY_PAGES,
    maxPages: name === 'witness' ? MEMORY_PAGES : MAX_PAGES,
    vcpus,
    features: CORE_FEATURES,
    console: ({ page, notify }) => createConsoleBackend({ page, notify, onOutput: () => undefined }),
    store: ({ page, notify }, { id }) => createXenstoreRing({ connection: store.connect(id), page, notify }),
  });
}

/** Where the pages begin that nothing is in: behind the stack that the domain boots with. */
const freeMemory = ({ xen }) => (xen.vcpus[0].kernelSp + 4095n) & ~4095n;

/** The next hostile domain, as its kernel has set itself up: handlers for all traps, callbacks, a root for programs. */
export function createHostile(world) {
  const { mmu, hypervisor, bits } = world;
  const pv = build(world, 'hostile', images[bits], 2);
  const [vcpu] = pv.xen.vcpus;
  const { core } = vcpu;
  const pages = [];
  for (let address = freeMemory(pv); ; address += 4096n) {
    const maddr = mmu.translate(core.space, address, 'write');
    if (maddr === null) break;
    pages.push({ address, frame: maddr / 4096 });
  }
  pv.unpause();
  return { pv, vcpu, core, pages, hypervisor, bits };
}

/** The witness's loop, in 64-bit code: r14 where to count, r15 what the words must come to. */
function witnessCode(pattern, words) {
  const bytes = [];
  const put = (...code) => bytes.push(...code);
  const wide = (value) => {
    for (let at = 0n; at < 64n; at += 8n) bytes.push(Number((value >> at) & 0xffn));
  };
  put(0x48, 0xbe); // mov rsi, pattern
  wide(pattern);
  put(0xb9, words & 255, (words >> 8) & 255, 0, 0); // mov ecx, words
  put(0x31, 0xc0); // xor eax, eax
  const loop = bytes.length;
  put(0x48, 0xc1, 0xc0, 0x05); // rol rax, 5
  put(0x48, 0x33, 0x06); // xor rax, [rsi]
  put(0x48, 0x83, 0xc6, 0x08); // add rsi, 8
  put(0xff, 0xc9); // dec ecx
  put(0x75, (loop - (bytes.length + 2)) & 255); // jnz loop
  put(0x4c, 0x39, 0xf8); // cmp rax, r15
  put(0x75, 0x19); // jne bad
  put(0xb8, 17, 0, 0, 0); // mov eax, xen_version
  put(0x31, 0xff, 0x31, 0xf6); // xor edi, edi; xor esi, esi
  put(0x0f, 0x05); // syscall
  put(0x3d, 0x11, 0x00, 0x04, 0x00); // cmp eax, 4.17
  put(0x75, 0x07); // jne bad
  put(0x49, 0xff, 0x06); // inc qword [r14]
  put(0xe9); // jmp start
  const back = -(bytes.length + 4);
  for (let at = 0; at < 32; at += 8) put((back >> at) & 255);
  put(0x0f, 0x0b); // bad: ud2
  return Uint8Array.from(bytes);
}

function createWitness(world) {
  const { mmu, hypervisor } = world;
  const pv = build(world, 'witness', images[64], 1);
  const { core } = pv.xen.vcpus[0];
  const base = freeMemory(pv);
  const frameOf = (page) => mmu.translate(core.space, base + BigInt(page * 4096), 'write') / 4096;
  const words = (WITNESS_PAGES * 4096) / 8;
  let sum = 0n;
  const contents = [];
  for (let page = 0; page < WITNESS_PAGES; page++) {
    const bytes = new Uint8Array(4096);
    const view = new DataView(bytes.buffer);
    for (let at = 0; at < 512; at++) {
      const value = BigInt.asUintN(64, BigInt(page * 512 + at + 1) * 0x9e3779b97f4a7c15n);
      view.setBigUint64(at * 8, value, true);
      sum = BigInt.asUintN(64, (sum << 5n) | (sum >> 59n)) ^ value;
    }
    mmu.write(frameOf(page), 0, bytes);
    contents.push({ frame: frameOf(page), bytes });
  }
  const code = WITNESS_PAGES;
  const counter = WITNESS_PAGES + 1;
  mmu.write(frameOf(code), 0, witnessCode(base, words));
  // One of its pages is granted to the next domain, to read.
  const { grants } = pv.xen;
  const entry = grants.frames[0] * 4096 + GRANTED_REF * 8;
  mmu.writeU32(entry, 5 | ((pv.domain.id + 1) << 16));
  mmu.writeU32(entry + 4, contents[0].frame);
  core.rip = base + BigInt(code * 4096);
  core.regs[14] = base + BigInt(counter * 4096);
  core.regs[15] = sum;
  const count = () => mmu.readU64(frameOf(counter) * 4096);
  return {
    pv,
    grantTo(id) {
      mmu.writeU16(entry + 2, id);
    },
    /** Lets the witness run, and says what is wrong with it, if anything. */
    check() {
      const before = count();
      pv.unpause();
      for (let turn = 0; turn < 8 && count() < before + 1n; turn++) hypervisor.run(60_000);
      pv.domain.pause();
      if (pv.domain.state !== 'paused') {
        const { shutdownRecord } = pv.domain;
        return `the witness is ${pv.domain.state}: ${shutdownRecord?.reason} ${shutdownRecord?.detail ?? ''}`;
      }
      if (count() <= before) return 'the witness does not get on';
      for (const { frame, bytes } of contents) {
        if (mmu.frames.owner[frame] !== pv.domain.id) return `frame ${frame} is no more the witness's`;
        const now = mmu.read(frame, 0, 4096);
        if (!bytes.every((byte, at) => byte === now[at])) return `the witness's frame ${frame} was written to`;
      }
      return undefined;
    },
  };
}
