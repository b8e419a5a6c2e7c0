/** What the generated program leaves in RAX and in memory, as a processor computes it (`native.ts`). */
export const PROGRAM_RESULT = { expected: { 0: 0x4863f3ef67db5e09n }, expectedData: 0x33058fbc };
