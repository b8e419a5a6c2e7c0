import { createMmu, emptySpace } from '@paravane/mmu';
import { domId, type Maddr, type Mfn } from '@paravane/types';
import { assembleProgram, CORE_BYTES, createX86Engine } from '@paravane/x86';

const mmu = createMmu({ frames: 64, coreBytes: CORE_BYTES });
const guest = domId(1);
const take = () => mmu.frames.allocate(guest) as Mfn;
const [l4, l3, l2, l1, page] = [take(), take(), take(), take(), take()];
const link = (table: Mfn, to: Mfn) => mmu.writeU64((table * 4096) as Maddr, (BigInt(to) << 12n) | 7n);
link(l4, l3);
link(l3, l2);
link(l2, l1);
link(l1, page);

const program = `
        mov ecx, 100
        xor eax, eax
again:  add rax, rcx
        dec rcx
        jnz again
        hlt`;
mmu.write(page, 0, assembleProgram(program, 0n).bytes);

const vcpu = createX86Engine({ mmu }).createVcpu();
vcpu.space = { ...emptySpace(guest), root: l4 };
const exit = vcpu.run(1_000_000);
console.log(exit.instruction?.mnemonic, vcpu.regs[0], vcpu.count); // HLT 5050n 303
