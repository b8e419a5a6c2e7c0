/** The Xen ABI as numbers, names and layouts. */

export * from './arguments.js';
export * from './constants.js';
export * from './cpu-features.js';
export * from './errno.js';
export * from './hypercall.js';
export * from './io.js';
export * from './layouts.js';
export * from './names.js';
export * from './offsets.js';
export * from './struct.js';
