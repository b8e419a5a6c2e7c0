/** DNS over TCP (RFC 7766) at the name server's address: messages behind their length, as a stream of the host would be. */
import { get16, put16 } from '../bytes.js';
import type { HostStream, HostStreamUser } from '../host-net.js';
import type { DnsForwarder } from './dns.js';

const mostBytes = 65537;
const mostOpen = 16;

export function createDnsStream(dns: DnsForwarder, user: HostStreamUser): HostStream {
  let pending = new Uint8Array(0);
  let open = 0;
  let ended = false;
  let destroyed = false;

  function finish(): void {
    if (!ended || open > 0 || destroyed) return;
    destroyed = true;
    user.ended();
    user.closed();
  }

  function take(): void {
    while (pending.length >= 2 && open < mostOpen) {
      const length = get16(pending, 0);
      if (pending.length < 2 + length) break;
      const query = pending.slice(2, 2 + length);
      pending = pending.slice(2 + length);
      open++;
      let answered = false;
      dns.query(query, (answer) => {
        answered = true;
        open--;
        if (destroyed) return;
        const framed = new Uint8Array(2 + answer.length);
        put16(framed, 0, answer.length);
        framed.set(answer, 2);
        user.data(framed);
        take();
        finish();
      });
      // What is no query gets no answer.
      if (!answered && length < 17) open--;
    }
  }

  return {
    write(bytes, done) {
      const joined = new Uint8Array(Math.min(pending.length + bytes.length, 2 * mostBytes));
      joined.set(pending);
      joined.set(bytes.subarray(0, joined.length - pending.length), pending.length);
      pending = joined;
      done();
      take();
    },
    end() {
      ended = true;
      finish();
    },
    pause: () => undefined,
    resume: () => undefined,
    destroy() {
      destroyed = true;
    },
  };
}
