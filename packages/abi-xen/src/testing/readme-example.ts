import { hypercall, hypercallLabel, XENMEM, xen_memory_reservation } from '@paravane/abi-xen';

const memory = new DataView(new ArrayBuffer(32));
xen_memory_reservation.write(memory, 0, { extent_start: 0x1000n, nr_extents: 4n, domid: 0x7ff0 }, 64);
console.log(xen_memory_reservation.read(memory, 0, 64).nr_extents); // 4n
console.log(xen_memory_reservation.size(32)); // 20
console.log(hypercallLabel(hypercall.memory_op, XENMEM.populate_physmap)); // memory_op.populate_physmap
