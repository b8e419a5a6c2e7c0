import { guestKernel } from '@paravane/guest-stubs';
import { startGuest } from '@paravane/machine';

const guest = await startGuest({ kernel: guestKernel(), memory: 32 });
guest.waitFor('paravane> ');
guest.type('echo hello\r');
console.log(guest.waitFor('\r\nhello')); // what the console showed: the typing, and the answer
guest.type('poweroff\r');
console.log(guest.waitForEnd().kind); // poweroff
