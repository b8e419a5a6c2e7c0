/** The back end of PV network interfaces: Xen's network protocol against a link. */
export { createNetBackend, type NetBackend, type NetBackendOptions } from './backend.js';
export type { RateClock, RateLimit } from './credit.js';
export {
  type ExtraInfo,
  GSO_TYPE,
  NETRXF,
  NETTXF,
  RX_ENTRY_BYTES,
  type RxRequest,
  readExtraInfo,
  readRxRequest,
  readTxRequest,
  TX_ENTRY_BYTES,
  type TxRequest,
  writeGsoInfo,
  writeRxResponse,
  writeTxResponse,
} from './layout.js';
export type { NetStats } from './stats.js';
