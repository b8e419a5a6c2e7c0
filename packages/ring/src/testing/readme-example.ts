import { createBackRing, createFrontRing } from '@paravane/ring';

const page = new Uint8Array(4096);
const front = createFrontRing(() => [page], 1, 16);
const back = createBackRing({ pages: () => [page], pageCount: 1, entryBytes: 16 });

front.put((request) => request.setUint32(0, 42, true));
front.publish(); // true: the back end wants an event
const request = back?.take()?.getUint32(0, true); // 42, copied out of the ring
back?.respond((response) => response.setUint32(0, 43, true));
back?.publish(); // true: the front end wants an event
console.log(request, front.take()?.getUint32(0, true)); // 42 43
