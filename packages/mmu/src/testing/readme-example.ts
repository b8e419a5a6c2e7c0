import { createMmu, emptySpace } from '@paravane/mmu';
import { domId, type Maddr, type Mfn } from '@paravane/types';

const mmu = createMmu({ frames: 1024, coreBytes: 0x80000 });
const guest = domId(1);
const [l4, l3, l2, l1, page] = Array.from({ length: 5 }, () => mmu.frames.allocate(guest)) as [Mfn, Mfn, Mfn, Mfn, Mfn];

/** Entry 0 of a table: present, writable, user. */
const link = (table: Mfn, to: Mfn) => mmu.writeU64((table * 4096) as Maddr, (BigInt(to) << 12n) | 7n);
link(l4, l3);
link(l3, l2);
link(l2, l1);
link(l1, page);

const space = { ...emptySpace(guest), root: l4 };
console.log(mmu.writeVirtual(space, 0x10n, new TextEncoder().encode('hello'))); // true: mapped, writable, the guest's own
console.log(mmu.read(page, 0x10, 5).join(' ')); // 104 101 108 108 111
console.log(mmu.translate(space, 0x1000n)); // null: nothing is mapped there
