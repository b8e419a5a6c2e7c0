/**
 * Names for a kernel's addresses, for crash reports. They are whatever the kernel's builder (or, in memory, the guest)
 * wrote there: good for a report, never for a decision.
 */
import type { Gva } from '@paravane/types';

export interface SymbolHit {
  readonly name: string;
  /** Where the symbol begins. */
  readonly address: Gva;
  /** How far the looked-up address is into it. */
  readonly offset: number;
  /** Whether it names code, and the looked-up address lies where code is. */
  readonly code: boolean;
}

export interface KernelSymbols {
  /** Number of symbols. */
  readonly size: number;
  /** The symbol that an address falls into; undefined before the first and after the last. */
  lookup(address: Gva): SymbolHit | undefined;
  /** The address of the first symbol with this name. */
  addressOf(name: string): Gva | undefined;
}

/** What a symbol table has to tell of each of its symbols, by number. */
export interface SymbolSource {
  /** Addresses in any order. */
  readonly addresses: BigUint64Array;
  name(index: number): string;
  /** Whether the symbol names code, and an address that falls to it lies where code is. */
  isCode(index: number, address: Gva): boolean;
  /** First address that belongs to no symbol any more. */
  readonly end: Gva;
}

/** Orders a source's symbols by address. Of several at one address the first in the source's order is the name. */
export function sortedSymbols(source: SymbolSource): KernelSymbols {
  const { addresses } = source;
  const order = Uint32Array.from(addresses, (_, index) => index);
  const ordered = addresses.every((address, index) => index === 0 || addresses[index - 1] <= address);
  if (!ordered) {
    order.sort((a, b) => (addresses[a] < addresses[b] ? -1 : addresses[a] > addresses[b] ? 1 : a - b));
  }
  /** The last place in `order` whose address is not above; -1 where all are. */
  const placeOf = (address: Gva): number => {
    let low = 0;
    let high = order.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (addresses[order[middle]] <= address) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  };
  return {
    size: order.length,
    lookup(address) {
      let place = placeOf(address);
      if (place < 0 || address >= source.end) return undefined;
      const start = addresses[order[place]];
      while (place > 0 && addresses[order[place - 1]] === start) place--;
      const index = order[place];
      const code = source.isCode(index, address);
      return { name: source.name(index), address: start, offset: Number(address - start), code };
    },
    addressOf(name) {
      for (let index = 0; index < addresses.length; index++) {
        if (source.name(index) === name) return addresses[index];
      }
      return undefined;
    },
  };
}
