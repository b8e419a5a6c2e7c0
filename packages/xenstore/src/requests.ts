/**
 * The requests of the wire protocol: docs/misc/xenstore.txt. Each handler takes the claimed payload of a message and
 * answers with the payload of the reply or the name of an error; it keeps nothing of the message.
 */
import { DOMID_FIRST_RESERVED, XENSTORE_PAYLOAD_MAX, XS } from '@paravane/abi-xen';
import { canonicalize, isEventPath, isSpecialPath } from './path.js';
import { formatPermission, type Permission, type Permissions, parsePermissions, READ } from './permissions.js';
import type { Session } from './session.js';
import type { Space, XsError } from './space.js';
import { bytesOf, textOf } from './text.js';
import type { Watch } from './watches.js';

interface Request {
  readonly session: Session;
  /** The live store, or the transaction that the request belongs to. */
  readonly space: Space;
  readonly transaction: number;
  readonly payload: Uint8Array;
}

type Answer = Uint8Array | XsError;
type Handler = (request: Request) => Answer;

const OK = bytesOf('OK\0');

const ack = (error: XsError | undefined): Answer => error ?? OK;

/** The strings of a payload, each of which ends in NUL; what comes behind the last one is nobody's. */
const strings = (payload: Uint8Array): string[] => textOf(payload).split('\0').slice(0, -1);

/** The string of a payload that is one string and nothing else. */
function oneString(payload: Uint8Array): string | undefined {
  const list = strings(payload);
  return list.length === 1 && payload.at(-1) === 0 ? list[0] : undefined;
}

function decimal(claimedText: string | undefined): number | undefined {
  return claimedText !== undefined && /^\d{1,15}$/.test(claimedText) ? Number(claimedText) : undefined;
}

function domainId(claimedText: string | undefined): number | undefined {
  const value = decimal(claimedText);
  return value !== undefined && value < DOMID_FIRST_RESERVED ? value : undefined;
}

/** The handler of a request whose payload begins with a path; `rest` is what follows that path's NUL. */
function withPath(body: (request: Request, path: string, rest: Uint8Array) => Answer): Handler {
  return (request) => {
    const { payload, session } = request;
    const end = payload.indexOf(0);
    if (end < 0) return 'EINVAL';
    const path = canonicalize(textOf(payload.subarray(0, end)), session.prefix);
    return path === undefined ? 'EINVAL' : body(request, path, payload.subarray(end + 1));
  };
}

/** The handler of a request that is a path and nothing else. */
const withOnlyPath = (body: (request: Request, path: string) => Answer): Handler =>
  withPath((request, path, rest) => (rest.length === 0 ? body(request, path) : 'EINVAL'));

const read = withOnlyPath(({ session, space }, path) => {
  const node = space.read(session.actor, path);
  return typeof node === 'string' ? node : node.value;
});

const nameList = (names: Iterable<string>): string => [...names].map((name) => `${name}\0`).join('');

const directory = withOnlyPath(({ session, space }, path) => {
  const node = space.read(session.actor, path);
  return typeof node === 'string' ? node : bytesOf(nameList(node.children.keys()));
});

const directoryPart = withPath(({ session, space }, path, rest) => {
  const [offsetText, ...others] = strings(rest);
  if (offsetText === undefined || others.length > 0) return 'EINVAL';
  const node = space.read(session.actor, path);
  if (typeof node === 'string') return node;
  // As C reads numbers: what is none is 0, and what is negative is far behind the list.
  const parsed = Number.parseInt(offsetText, 10) || 0;
  const offset = parsed < 0 ? Number.MAX_SAFE_INTEGER : parsed;
  const list = nameList(node.children.keys());
  const generation = `${node.generation}\0`;
  const room = XENSTORE_PAYLOAD_MAX - generation.length - 1;
  const part = list.slice(offset, offset + room);
  const whole = part.slice(0, part.lastIndexOf('\0') + 1);
  const isLast = offset + whole.length >= list.length;
  return bytesOf(`${generation}${whole}${isLast ? '\0' : ''}`);
});

const write = withPath(({ session, space }, path, value) => ack(space.write(session.actor, path, value.slice())));
const mkdir = withOnlyPath(({ session, space }, path) => ack(space.mkdir(session.actor, path)));
const rm = withOnlyPath(({ session, space }, path) => ack(space.rm(session.actor, path)));

const getPermissions: Handler = (request) => {
  const special = oneString(request.payload);
  const permissions = special === undefined ? undefined : request.session.core.special.get(special);
  if (!permissions || !request.session.actor.privileged) return getNodePermissions(request);
  return bytesOf(nameList(permissions.map(formatPermission)));
};

const getNodePermissions = withOnlyPath(({ session, space }, path) => {
  const node = space.get(session.actor, path, READ);
  return typeof node === 'string' ? node : bytesOf(nameList(node.permissions.map(formatPermission)));
});

const voided = (permission: Permission): Permission => ({ ...permission, isVoid: true });

const setPermissions: Handler = ({ session, space, payload }) => {
  const { core, actor, prefix } = session;
  const [claimedPath, ...texts] = strings(payload);
  if (claimedPath === undefined || texts.length === 0) return 'EINVAL';
  if (!actor.privileged && texts.length > core.quotas.permissions) return 'ENOSPC';
  const parsed = parsePermissions(texts);
  if (!parsed) return 'EINVAL';
  const [owner, ...others] = parsed;
  const exists = ({ domid }: Permission): boolean => domid === actor.domid || core.exists(domid);
  if (!exists(owner)) return 'ENOENT';
  const permissions: Permissions = [owner, ...others.map((other) => (exists(other) ? other : voided(other)))];
  if (isSpecialPath(claimedPath)) {
    if (!actor.privileged) return 'EACCES';
    core.special.set(claimedPath, permissions);
    return OK;
  }
  const path = canonicalize(claimedPath, prefix);
  return path === undefined ? 'EINVAL' : ack(space.setPermissions(actor, path, permissions));
};

/** What a watch counts for: its path and token, which its key has with a NUL between them. */
export const watchBytes = (key: string): number => key.length - 1;

/** The path and token of WATCH and UNWATCH. */
function watchArguments({ session, payload }: Request): { claimedPath: string; path: string; key: string } | undefined {
  const [claimedPath, token, ...others] = strings(payload);
  if (claimedPath === undefined || token === undefined || others.length > 0) return undefined;
  const path = isEventPath(claimedPath) ? claimedPath : canonicalize(claimedPath, session.prefix);
  return path === undefined ? undefined : { claimedPath, path, key: `${path}\0${token}` };
}

const watch: Handler = (request) => {
  const { session } = request;
  const args = watchArguments(request);
  if (!args) return 'EINVAL';
  if (session.watches.has(args.key)) return 'EEXIST';
  const { actor, core } = session;
  if (!actor.privileged && session.watches.size > core.quotas.watches) return 'E2BIG';
  const token = args.key.slice(args.path.length + 1);
  const isRelative = args.claimedPath !== args.path;
  const added: Watch = {
    path: args.path,
    actor,
    isHosts: false,
    deliver: (path, cause) =>
      session.sendEvent(isRelative ? path.slice(session.prefix.length + 1) : path, token, cause),
  };
  if (!core.accounts.tryAdd(session.domid, watchBytes(args.key))) return 'ENOMEM';
  core.watches.add(added);
  session.watches.set(args.key, added);
  core.announceTo(added, args.path);
  return OK;
};

const unwatch: Handler = (request) => {
  const args = watchArguments(request);
  if (!args) return 'EINVAL';
  const existing = request.session.watches.get(args.key);
  if (!existing) return 'ENOENT';
  request.session.core.watches.remove(existing);
  request.session.watches.delete(args.key);
  request.session.core.accounts.add(request.session.domid, -watchBytes(args.key));
  return OK;
};

const transactionStart: Handler = ({ session, transaction }) => {
  if (transaction !== 0) return 'EBUSY';
  const { actor, core, transactions } = session;
  if (!actor.privileged && transactions.size > core.quotas.transactions) return 'ENOSPC';
  const id = session.newTransactionId();
  transactions.set(id, core.live.begin(session.domid));
  return bytesOf(`${id}\0`);
};

const transactionEnd: Handler = ({ session, space, transaction, payload }) => {
  const verdict = oneString(payload);
  if (verdict !== 'T' && verdict !== 'F') return 'EINVAL';
  if (transaction === 0) return 'ENOENT';
  session.transactions.delete(transaction);
  space.close();
  if (verdict === 'F') return OK;
  const merged = space.mergedInto(session.core.live, session.actor);
  if (typeof merged === 'string') return merged;
  session.core.live = merged;
  return OK;
};

const getDomainPath: Handler = ({ payload }) => {
  const domid = domainId(oneString(payload));
  return domid === undefined ? 'EINVAL' : bytesOf(`/local/domain/${domid}\0`);
};

const resetWatches: Handler = ({ session }) => {
  session.dropWatchesAndTransactions();
  return OK;
};

/** A request about the domain that its only string names. */
const aboutDomain =
  (body: (session: Session, domid: number) => Answer): Handler =>
  ({ session, payload }) => {
    const domid = domainId(oneString(payload));
    return domid === undefined ? 'EINVAL' : body(session, domid);
  };

const introduce: Handler = ({ session, payload }) => {
  const [domText, frameText, portText] = strings(payload);
  const domid = domainId(domText);
  const frame = decimal(frameText);
  const port = decimal(portText);
  if (domid === undefined || frame === undefined || port === undefined) return 'EINVAL';
  const answer = session.core.onIntroduce?.(domid, frame, port) ?? 'ENOSYS';
  if (answer !== 0) return answer;
  session.core.introduce(domid);
  return OK;
};

const release = aboutDomain(({ core }, domid) => {
  if (!core.introduced.has(domid)) return 'ENOENT';
  core.release(domid);
  return OK;
});

const isIntroduced: Handler = ({ session, payload }) => {
  const domid = domainId(oneString(payload));
  if (domid === undefined) return 'EINVAL';
  return bytesOf(session.core.exists(domid) ? 'T\0' : 'F\0');
};

const resume = aboutDomain(({ core }, domid) => (core.introduced.has(domid) ? OK : 'ENOENT'));

const setTarget: Handler = ({ session, payload }) => {
  const [domText, targetText, ...others] = strings(payload);
  const domid = domainId(domText);
  const target = domainId(targetText);
  if (domid === undefined || target === undefined || others.length > 0) return 'EINVAL';
  session.core.setTarget(domid, target);
  return OK;
};

const handlers: ReadonlyMap<number, Handler> = new Map([
  [XS.DIRECTORY, directory],
  [XS.READ, read],
  [XS.GET_PERMS, getPermissions],
  [XS.WATCH, watch],
  [XS.UNWATCH, unwatch],
  [XS.TRANSACTION_START, transactionStart],
  [XS.TRANSACTION_END, transactionEnd],
  [XS.INTRODUCE, introduce],
  [XS.RELEASE, release],
  [XS.GET_DOMAIN_PATH, getDomainPath],
  [XS.WRITE, write],
  [XS.MKDIR, mkdir],
  [XS.RM, rm],
  [XS.SET_PERMS, setPermissions],
  [XS.IS_DOMAIN_INTRODUCED, isIntroduced],
  [XS.RESUME, resume],
  [XS.SET_TARGET, setTarget],
  [XS.RESET_WATCHES, resetWatches],
  [XS.DIRECTORY_PART, directoryPart],
]);

/** Requests that only a privileged domain may make. */
const PRIVILEGED: ReadonlySet<number> = new Set([
  XS.CONTROL,
  XS.INTRODUCE,
  XS.RELEASE,
  XS.IS_DOMAIN_INTRODUCED,
  XS.RESUME,
  XS.SET_TARGET,
]);
/** Requests that are none of a transaction, whatever they say. */
const ALONE: ReadonlySet<number> = new Set([XS.WATCH, XS.UNWATCH]);

/** The answer to one message. */
export function serve(session: Session, type: number, claimedTransaction: number, payload: Uint8Array): Answer {
  if (PRIVILEGED.has(type) && !session.actor.privileged) return 'EACCES';
  const handler = handlers.get(type);
  if (!handler) return 'ENOSYS';
  const transaction = ALONE.has(type) ? 0 : claimedTransaction;
  const space = transaction === 0 ? session.core.live : session.transactions.get(transaction);
  return space ? handler({ session, space, transaction, payload }) : 'ENOENT';
}
