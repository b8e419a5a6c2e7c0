// A name server on the host's loopback, over UDP and TCP: the name `t1000.test` has a TXT record of 1,000 characters.
// Over UDP it sends no more than the query's EDNS option allows (512 bytes without one), and says that there is more.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

const TXT = 16;
const OPT = 41;
const truncated = 2;

/** The characters of the record of `count`. */
export function textOf(count) {
  return Array.from({ length: count }, (_, at) => String.fromCharCode(97 + ((at * 7 + count) % 26))).join('');
}

/** The answer to a query of one question, and the most that its sender takes over UDP. */
function answerTo(query) {
  let end = 12;
  while (query[end] !== 0) end += query[end] + 1;
  const name = query.toString('latin1', 13, 13 + query[12]);
  end += 5;
  const edns = query.readUInt16BE(10) === 1 && query.readUInt16BE(end + 1) === OPT;
  const text = Buffer.from(textOf(Number(/^t(\d+)$/.exec(name)?.[1])), 'latin1');
  const strings = [];
  for (let at = 0; at < text.length; at += 255) {
    const piece = text.subarray(at, at + 255);
    strings.push(Buffer.of(piece.length), piece);
  }
  const data = Buffer.concat(strings);
  const record = Buffer.from([0xc0, 12, 0, TXT, 0, 1, 0, 0, 0, 30, data.length >>> 8, data.length & 255]);
  const opt = edns ? Buffer.from([0, 0, OPT, 0x10, 0, 0, 0, 0, 0, 0, 0]) : Buffer.of();
  const message = (flags, ...parts) => {
    const header = Buffer.from(query.subarray(0, 12));
    header.writeUInt16BE(0x8180 | (flags << 8), 2);
    header.writeUInt16BE(parts.length, 6);
    header.writeUInt16BE(edns ? 1 : 0, 10);
    return Buffer.concat([header, query.subarray(12, end), ...parts, opt]);
  };
  return {
    whole: message(0, record, data).fill(1, 7, 8),
    cut: message(truncated),
    limit: edns ? Math.max(512, query.readUInt16BE(end + 3)) : 512,
  };
}

/** Starts it at a port of its own; `seen` tells of each answer. */
export async function startNameServer() {
  const seen = [];
  const server = createServer((socket) => {
    let got = Buffer.alloc(0);
    socket.on('error', () => socket.destroy());
    socket.on('data', (bytes) => {
      got = Buffer.concat([got, bytes]);
      if (got.length < 2 || got.length < 2 + got.readUInt16BE(0)) return;
      const { whole } = answerTo(got.subarray(2, 2 + got.readUInt16BE(0)));
      seen.push('TCP');
      socket.end(Buffer.concat([Buffer.from([whole.length >>> 8, whole.length & 255]), whole]));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  const socket = createSocket('udp4');
  socket.on('message', (query, from) => {
    const { whole, cut, limit } = answerTo(query);
    const answer = whole.length > limit ? cut : whole;
    seen.push(answer === cut ? 'UDP, cut' : 'UDP');
    socket.send(answer, from.port, from.address);
  });
  socket.bind(port, '127.0.0.1');
  await once(socket, 'listening');
  return {
    port,
    seen,
    close() {
      server.close();
      socket.close();
    },
  };
}
