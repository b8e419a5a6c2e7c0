import { createConsoleBackend } from '@paravane/console-back';

const page = new Uint8Array(4096);
let text = '';
const backend = createConsoleBackend({
  page: { bytes: () => page },
  notify: () => {}, // send the guest's event channel
  onOutput: (bytes) => {
    text += String.fromCharCode(...bytes);
  },
});

// What a guest does to say "hi": bytes from 0x400, then out_prod.
page.set([0x68, 0x69], 0x400);
new DataView(page.buffer).setUint32(0xc0c, 2, true);
backend.kick();
console.log(text); // hi
console.log(backend.input(Uint8Array.of(0x0d))); // 1: taken, and in the guest's ring
