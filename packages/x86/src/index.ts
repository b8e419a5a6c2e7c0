export { type AssembleOptions, assemble, assembleProgram, type Program } from './assemble.js';
export { type CoverageLine, coverage, type DefinitionKind, formatCoverage } from './coverage.js';
export { decode, type Instruction } from './decode.js';
export { disassemble } from './disassemble.js';
export { CORE_BYTES, createX86Engine, type EngineOptions, type X86Engine } from './engine.js';
export { CORE_FEATURES } from './features.js';
export type { Operand } from './operands.js';
