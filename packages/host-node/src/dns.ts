/**
 * Names for guests: the host's own look-up for addresses, its name servers for the rest. An answer that a server cuts
 * short for UDP is asked for again over TCP (RFC 7766), so a guest gets all of it by the way that it chose.
 */
import { createSocket } from 'node:dgram';
import dns from 'node:dns';
import { lookup } from 'node:dns/promises';
import { connect, isIPv6 } from 'node:net';
import { DnsCode, type DnsRecord, DnsType, dnsAnswer, parseDnsQuestion, parseIpAddress } from '@paravane/network';
import { ParavaneError } from '@paravane/types';

const patienceMilliseconds = 5000;
const ttlSeconds = 30;
const largestAnswer = 65_535;
/** The flag TC, in the third byte of a message: there is more than UDP takes. */
const truncated = 2;

interface NameServer {
  readonly address: string;
  readonly port: number;
}

function nameServers(): NameServer[] {
  // By the object: the name alone keeps to the servers of the start when others are set.
  return dns.getServers().map((server) => {
    const [, bracketed, plain, port] =
      /^(?:\[([^\]]+)\]|([^:]+|[^[\]]*:[^[\]]*:[^[\]]*))(?::(\d+))?$/.exec(server) ?? [];
    return { address: bracketed ?? plain ?? server, port: Number(port ?? 53) };
  });
}

/** Whether a message answers the query, as far as its identifier says. */
const isAnswer = (query: Uint8Array, answer: Uint8Array): boolean =>
  answer.length >= 12 && answer.length <= largestAnswer && answer[0] === query[0] && answer[1] === query[1];

function askByUdp({ address, port }: NameServer, query: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
    const finish = (run: () => void): void => {
      clearTimeout(timer);
      socket.close();
      run();
    };
    const timer = setTimeout(() => finish(() => reject(new Error('no answer'))), patienceMilliseconds);
    socket.once('error', (error) => finish(() => reject(error)));
    // A connected socket hears its server only.
    socket.connect(port, address, () => socket.send(query));
    socket.on('message', (answer) => {
      if (isAnswer(query, answer)) finish(() => resolve(answer));
    });
  });
}

/** A message behind its length goes each way. */
function askByTcp({ address, port }: NameServer, query: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, address);
    let got: Buffer = Buffer.alloc(0);
    const finish = (run: () => void): void => {
      clearTimeout(timer);
      socket.destroy();
      run();
    };
    const timer = setTimeout(() => finish(() => reject(new Error('no answer'))), patienceMilliseconds);
    socket.once('error', (error) => finish(() => reject(error)));
    socket.once('end', () => finish(() => reject(new Error('the answer ends too soon'))));
    socket.once('connect', () => socket.write(Buffer.of(query.length >>> 8, query.length & 0xff, ...query)));
    socket.on('data', (bytes) => {
      got = Buffer.concat([got, bytes]);
      if (got.length < 2 || got.length < 2 + got.readUInt16BE(0)) return;
      const answer = got.subarray(2, 2 + got.readUInt16BE(0));
      finish(() => (isAnswer(query, answer) ? resolve(answer) : reject(new Error('the answer is to something else'))));
    });
  });
}

/** Asks the host's own name servers, in turn, with the guest's bytes. */
async function forward(query: Uint8Array): Promise<Uint8Array> {
  for (const server of nameServers()) {
    const answer = await askByUdp(server, query).catch(() => undefined);
    if (!answer) continue;
    if (((answer[2] ?? 0) & truncated) === 0) return answer;
    return askByTcp(server, query).catch(() => answer);
  }
  throw new ParavaneError('dns-failed', 'no name server of this host answers: check its resolver settings');
}

/**
 * Addresses are looked up as the host's programs do it, hosts file included; what else is asked for goes to the host's
 * name servers.
 */
export async function resolveDns(query: Uint8Array): Promise<Uint8Array> {
  const question = parseDnsQuestion(query);
  if (!question) throw new ParavaneError('dns-failed', 'the message is no DNS query');
  const isAddress = question.dnsClass === 1 && (question.type === DnsType.a || question.type === DnsType.aaaa);
  if (!isAddress) return forward(query);
  try {
    const found = await lookup(question.name, { all: true });
    const version = question.type === DnsType.a ? 4 : 6;
    const records: DnsRecord[] = found.flatMap(({ address }) => {
      const parsed = parseIpAddress(address.replace(/%.*$/, ''));
      return parsed?.version === version ? [{ type: question.type, seconds: ttlSeconds, data: parsed.bytes }] : [];
    });
    return dnsAnswer(query, question, DnsCode.ok, records);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return dnsAnswer(query, question, code === 'ENOTFOUND' ? DnsCode.noName : DnsCode.serverFailure);
  }
}
