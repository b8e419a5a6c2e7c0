/**
 * Shared pages and ring entries of the PV protocols: public/io/{xs_wire, console, ring, blkif, netif, xenbus}.h.
 * Indices in these pages are free running; whoever serves a page treats each as a claim of the other side.
 */
import { array, s16, struct, u8, u16, u32, u64 } from './struct.js';

/** `enum xsd_sockmsg_type`. */
export const XS = {
  CONTROL: 0,
  DIRECTORY: 1,
  READ: 2,
  GET_PERMS: 3,
  WATCH: 4,
  UNWATCH: 5,
  TRANSACTION_START: 6,
  TRANSACTION_END: 7,
  INTRODUCE: 8,
  RELEASE: 9,
  GET_DOMAIN_PATH: 10,
  WRITE: 11,
  MKDIR: 12,
  RM: 13,
  SET_PERMS: 14,
  WATCH_EVENT: 15,
  ERROR: 16,
  IS_DOMAIN_INTRODUCED: 17,
  RESUME: 18,
  SET_TARGET: 19,
  RESET_WATCHES: 21,
  DIRECTORY_PART: 22,
} as const;
export const xsd_sockmsg = struct({ type: u32, req_id: u32, tx_id: u32, len: u32 });
export const XENSTORE_PAYLOAD_MAX = 4096;
export const XENSTORE_ABS_PATH_MAX = 3072;
export const XENSTORE_REL_PATH_MAX = 2048;

/** `struct xenstore_domain_interface`: offsets of the shared page. */
export const XENSTORE_RING_SIZE = 1024;
export const XENSTORE_RING = {
  req: 0,
  rsp: 0x400,
  req_cons: 0x800,
  req_prod: 0x804,
  rsp_cons: 0x808,
  rsp_prod: 0x80c,
  server_features: 0x810,
  connection: 0x814,
  error: 0x818,
} as const;
export const XENSTORE_SERVER_FEATURE_RECONNECTION = 1;
export const XENSTORE_SERVER_FEATURE_ERROR = 2;
export const XENSTORE_CONNECTED = 0;
export const XENSTORE_RECONNECT = 1;
export const XENSTORE_ERROR = { NONE: 0, COMM: 1, RINGIDX: 2, PROTO: 3 } as const;

/** `struct xencons_interface`: `in` is host to guest, `out` guest to host. */
export const XENCONS_IN_SIZE = 1024;
export const XENCONS_OUT_SIZE = 2048;
export const XENCONS = { in: 0, out: 0x400, in_cons: 0xc00, in_prod: 0xc04, out_cons: 0xc08, out_prod: 0xc0c } as const;

/** `enum xenbus_state`. */
export const XenbusState = {
  Unknown: 0,
  Initialising: 1,
  InitWait: 2,
  Initialised: 3,
  Connected: 4,
  Closing: 5,
  Closed: 6,
  Reconfiguring: 7,
  Reconfigured: 8,
} as const;

/** Header of a request/response ring, and where its entries begin. */
export const RING = { req_prod: 0, req_event: 4, rsp_prod: 8, rsp_event: 12, entries: 64 } as const;

/** Entries of a ring of `pages` pages with entries of `bytes` bytes: the largest power of two that fits. */
export function ringEntries(bytes: number, pages = 1): number {
  return 2 ** Math.floor(Math.log2((pages * 4096 - RING.entries) / bytes));
}

export const BLKIF_OP = {
  READ: 0,
  WRITE: 1,
  WRITE_BARRIER: 2,
  FLUSH_DISKCACHE: 3,
  RESERVED_1: 4,
  DISCARD: 5,
  INDIRECT: 6,
} as const;
export const BLKIF_RSP = { OKAY: 0, ERROR: -1, EOPNOTSUPP: -2 } as const;
export const BLKIF_MAX_SEGMENTS_PER_REQUEST = 11;
export const BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST = 8;
export const blkif_request_segment = struct({ gref: u32, first_sect: u8, last_sect: u8, _pad: u16 });
export const blkif_request = struct({
  operation: u8,
  nr_segments: u8,
  handle: u16,
  id: u64,
  sector_number: u64,
  seg: array(blkif_request_segment, BLKIF_MAX_SEGMENTS_PER_REQUEST),
});
export const blkif_request_discard = struct({
  operation: u8,
  flag: u8,
  handle: u16,
  id: u64,
  sector_number: u64,
  nr_sectors: u64,
});
export const blkif_request_indirect = struct({
  operation: u8,
  indirect_op: u8,
  nr_segments: u16,
  id: u64,
  sector_number: u64,
  handle: u16,
  _pad: u16,
  indirect_grefs: array(u32, BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST),
});
export const blkif_response = struct({ id: u64, operation: u8, status: s16 });

export const NETTXF = { csum_blank: 1, data_validated: 2, more_data: 4, extra_info: 8 } as const;
export const NETRXF = { data_validated: 1, csum_blank: 2, more_data: 4, extra_info: 8, gso_prefix: 16 } as const;
export const NETIF_RSP = { OKAY: 0, ERROR: -1, DROPPED: -2, NULL: 1 } as const;
export const XEN_NETIF_EXTRA_TYPE = { NONE: 0, GSO: 1, MCAST_ADD: 2, MCAST_DEL: 3, HASH: 4 } as const;
export const XEN_NETIF_EXTRA_FLAG_MORE = 1;
export const netif_tx_request = struct({ gref: u32, offset: u16, flags: u16, id: u16, size: u16 });
export const netif_tx_response = struct({ id: u16, status: s16 });
export const netif_rx_request = struct({ id: u16, pad: u16, gref: u32 });
export const netif_rx_response = struct({ id: u16, offset: u16, flags: u16, status: s16 });
export const netif_extra_info = struct({ type: u8, flags: u8, u: array(u16, 3) });
