/** What the generated program leaves, as processors compute it (`native.ts`). */
export const PROGRAM_RESULT = { expected: {} };
