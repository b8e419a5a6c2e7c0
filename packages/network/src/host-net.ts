/**
 * What a user-mode network asks of the host's sockets. Whoever implements it is trusted; it answers later only (never
 * from within a call), and at moments that suit the guest's time.
 */

export type HostNetFailure = 'refused' | 'unreachable' | 'timeout' | 'reset' | 'other';

/** What a host's TCP socket tells. */
export interface HostStreamUser {
  /** For connections that we opened. */
  connected(): void;
  /** Bytes in order, the receiver's to keep. */
  data(bytes: Uint8Array): void;
  /** The far end sends no more. */
  ended(): void;
  /** The end, once; without a failure both sides had ended. Nothing follows. */
  closed(failure?: HostNetFailure): void;
}

export interface HostStream {
  /** Writes bytes, which stay as they are; `done` is called when the host has taken them. */
  write(bytes: Uint8Array, done: () => void): void;
  /** No more is written. */
  end(): void;
  /** No more `data` until `resume`. What was under way may still come, at most a few reads. */
  pause(): void;
  resume(): void;
  /** Ends at once, with a RST if the host can. Nothing is told afterwards. */
  destroy(): void;
}

export interface HostListener {
  /** The port that was taken, where 0 was asked for. */
  readonly port: number;
  close(): void;
}

export interface HostDatagrams {
  readonly port: number;
  /** Datagrams that the host can't send are lost. */
  send(bytes: Uint8Array, address: string, port: number): void;
  close(): void;
}

export interface HostEndpoint {
  /** IP address. */
  readonly address: string;
  readonly port: number;
}

export interface HostNet {
  connectTcp(to: HostEndpoint, user: HostStreamUser): HostStream;
  /** Rejects with a `ParavaneError` where the port can't be had. `accept` is called for each connection. */
  listenTcp(
    at: HostEndpoint,
    accept: (stream: HostStream, from: HostEndpoint) => HostStreamUser,
  ): Promise<HostListener>;
  /** Without an address and port: any. Rejects as `listenTcp`. */
  bindUdp(
    at: { readonly version: 4 | 6 } & Partial<HostEndpoint>,
    receive: (bytes: Uint8Array, from: HostEndpoint) => void,
  ): Promise<HostDatagrams>;
  /** The answer to a DNS message (RFC 1035), whose one question was looked at; rejects where there is none. */
  resolve(query: Uint8Array): Promise<Uint8Array>;
  /** The addresses of the host's own interfaces, now. */
  ownAddresses(): readonly string[];
}
