/** What the handlers of requests see of the connection that a request came by. */

import type { Cause } from './cause.js';
import type { StoreCore } from './core.js';
import type { Actor } from './permissions.js';
import type { Space } from './space.js';
import type { Watch } from './watches.js';

export interface Session {
  readonly core: StoreCore;
  readonly domid: number;
  readonly prefix: string;
  readonly actor: Actor;
  readonly transactions: Map<number, Space>;
  /** By path and token, separated by NUL. */
  readonly watches: Map<string, Watch>;
  newTransactionId(): number;
  sendEvent(path: string, token: string, cause: Cause | undefined): void;
  dropWatchesAndTransactions(): void;
}
