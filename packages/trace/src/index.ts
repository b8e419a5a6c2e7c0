/** Traces of what a guest asked of the hypervisor: profiles of them, and what sets two profiles apart. */

export * from './allowances.js';
export * from './compare.js';
export * from './profile.js';
