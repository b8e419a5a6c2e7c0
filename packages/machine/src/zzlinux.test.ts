import { openSync, readFileSync, writeSync } from 'node:fs';
import { Session } from 'node:inspector';
import { writeFileSync } from 'node:fs';
import { it } from 'vitest';
import { startGuest } from './index.js';

it('boots', async () => {
  const fd = openSync('/tmp/farm/xenb/linux.txt', 'w');
  let buf: string[] = [];
  const flush = () => {
    writeSync(fd, buf.join('\n') + '\n');
    buf = [];
  };
  let out = '';
  const trace = process.env.TRACE
    ? {
        trace: (l: string) => {
          buf.push(l);
          if (buf.length > 5000) flush();
        },
      }
    : {};
  const t = performance.now();
  const session = new Session();
  session.connect();
  if (process.env.PROF) { session.post('Profiler.enable'); session.post('Profiler.setSamplingInterval', { interval: 1000 }); session.post('Profiler.start'); }
  const guest = await startGuest({
    kernel: new Uint8Array(readFileSync('/tmp/elfx/vmlinux')),
    ramdisk: new Uint8Array(readFileSync('/tmp/farm/xenb/ird.cpio')),
    cmdline: process.env.CMD ?? 'console=hvc0 earlyprintk=xen panic=1',
    memory: 128,
    onOutput: (b) => {
      out += String.fromCharCode(...b);
    },
    ...trace,
  });
  try {
    guest.waitFor('type something:');
    console.log('userspace after', performance.now() - t);
    guest.type('paravane\r');
    console.log(guest.waitForEnd());
  } catch (e) {
    console.log(String(e).slice(0, 2000));
  }
  flush();
  console.log(
    performance.now() - t,
    JSON.stringify(guest.stats(), (k, v) => (typeof v === 'bigint' ? String(v) : v)),
  );
  console.log(out);
}, 600000);
