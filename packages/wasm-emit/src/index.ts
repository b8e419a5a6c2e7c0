export * from './expr.js';
export * from './function-builder.js';
export * from './module-builder.js';
export * from './operators.js';
export { leb, Writer } from './writer.js';
