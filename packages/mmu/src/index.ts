export * from './frame-table.js';
export * from './grant-holds.js';
export * from './halves.js';
export * from './machine-memory.js';
export * from './mmu.js';
export * from './tlb.js';
export * from './walk.js';
