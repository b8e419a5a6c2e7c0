/** The part of xenstore that devices need; `Xenstore` of @paravane/xenstore is one. All paths are absolute. */
export interface DeviceStore {
  /** The value, or undefined if there is no such node. */
  read(path: string): string | undefined;
  /** Creates the node and its parents if need be; `permissions` such as `['n0', 'r1']` apply to the node alone. */
  write(path: string, value: string, permissions?: readonly string[]): void;
  mkdir(path: string, permissions?: readonly string[]): void;
  /** The names below a node, or undefined if there is no such node. */
  ls(path: string): string[] | undefined;
  /** Removes a node and all below it; nothing happens if there is none. */
  rm(path: string): void;
  /** Calls `onChange` once now, and after every change at or below the path. The result ends the watch. */
  watch(path: string, onChange: (path: string) => void): () => void;
  /** Runs `body`; watches hear of what it changes when it is done. */
  batch<Result>(body: () => Result): Result;
}
