/**
 * The entries of a network interface's rings (public/io/netif.h). Flags of the two directions look alike and are not:
 * a blank checksum is bit 0 on the way out of the guest and bit 1 on the way in.
 */

export const TX_ENTRY_BYTES = 12;
export const RX_ENTRY_BYTES = 8;

export const NETTXF = { csum_blank: 1, data_validated: 2, more_data: 4, extra_info: 8 } as const;
export const NETRXF = { data_validated: 1, csum_blank: 2, more_data: 4, extra_info: 8 } as const;
export const GSO_TYPE = { tcp4: 1, tcp6: 2 } as const;

export interface TxRequest {
  readonly gref: number;
  readonly offset: number;
  readonly flags: number;
  readonly id: number;
  readonly size: number;
}

export function readTxRequest(view: DataView): TxRequest {
  return {
    gref: view.getUint32(0, true),
    offset: view.getUint16(4, true),
    flags: view.getUint16(6, true),
    id: view.getUint16(8, true),
    size: view.getUint16(10, true),
  };
}

export interface ExtraInfo {
  readonly type: number;
  readonly flags: number;
  /** Of a segmentation: payload bytes for each segment, and what is segmented. */
  readonly size: number;
  readonly gsoType: number;
  /** Of a group. */
  readonly address: Uint8Array;
}

export function readExtraInfo(view: DataView): ExtraInfo {
  return {
    type: view.getUint8(0),
    flags: view.getUint8(1),
    size: view.getUint16(2, true),
    gsoType: view.getUint8(4),
    address: new Uint8Array(view.buffer, view.byteOffset + 2, 6).slice(),
  };
}

export function writeTxResponse(view: DataView, id: number, status: number): void {
  view.setUint16(0, id, true);
  view.setInt16(2, status, true);
}

export interface RxRequest {
  readonly id: number;
  readonly gref: number;
}

export const readRxRequest = (view: DataView): RxRequest => ({
  id: view.getUint16(0, true),
  gref: view.getUint32(4, true),
});

export function writeRxResponse(view: DataView, id: number, flags: number, status: number): void {
  view.setUint16(0, id, true);
  view.setUint16(2, 0, true);
  view.setUint16(4, flags, true);
  view.setInt16(6, status, true);
}

/** A segmentation, in the place of a response. */
export function writeGsoInfo(view: DataView, size: number, type: number): void {
  view.setUint8(0, 1);
  view.setUint8(1, 0);
  view.setUint16(2, size, true);
  view.setUint8(4, type);
}
