/** What the generated program leaves in RAX and in memory, as a processor computes it (`native.ts`). */
export const PROGRAM_RESULT = { expected: { 0: 0x874c6e42c1e2e8a7n }, expectedData: 0x59219a07 };
