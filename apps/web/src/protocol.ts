/** What page and worker say to each other. Byte arrays are transferred, not copied. */
import type { EngineKind } from '@paravane/toolstack';

export interface GuestChoice {
  readonly name: string;
  /** Undefined for our own small kernel, which the worker has. */
  readonly kernel?: Uint8Array;
  readonly ramdisk?: Uint8Array;
  /** The whole URL of an image, which is the guest's xvda. */
  readonly disk?: string;
  readonly cmdline: string;
  /** MiB. */
  readonly memory: number;
  readonly engine: EngineKind;
}

export type ToWorker =
  | { readonly kind: 'boot'; readonly guest: GuestChoice }
  | { readonly kind: 'input'; readonly bytes: Uint8Array }
  /** Ends the guest as pulling a plug does. */
  | { readonly kind: 'end' }
  | { readonly kind: 'figures' };

export interface Figures {
  /** Of the guest that runs, or ran last. */
  readonly instructions: number;
  /** Since it was started, by the host's clock. */
  readonly seconds: number;
  readonly counters: Readonly<Record<string, number>>;
}

export type FromWorker =
  | { readonly kind: 'output'; readonly bytes: Uint8Array }
  | { readonly kind: 'figures'; readonly figures: Figures }
  /** `how` in words; the figures of the whole run. */
  | { readonly kind: 'ended'; readonly how: string; readonly figures: Figures };
