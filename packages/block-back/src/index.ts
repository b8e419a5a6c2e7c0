/** The back end of PV disks: Xen's block protocol against a disk image. */
export { type BlockBackend, type BlockBackendOptions, createBlockBackend } from './backend.js';
export {
  type BlockRequest,
  decodeRequest,
  ENTRY_BYTES,
  encodeRequest,
  type Protocol,
  parseProtocol,
  readResponse,
  writeResponse,
} from './layout.js';
export type { BlockStats } from './stats.js';
