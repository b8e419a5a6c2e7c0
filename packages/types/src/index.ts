/** The vocabulary that every floor shares: addresses, the page, the one error class, and `WebAssembly`'s types. */
import './webassembly.js';

export * from './addresses.js';
export * from './error.js';
