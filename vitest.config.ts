import { defineConfig } from 'vitest/config';

const conditions = ['@paravane/source', 'node', 'import', 'module', 'default'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: ['{packages,apps}/*/src/**/*.test.ts', 'benchmarks/src/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // Ends what hangs; what only takes long on a busy host must pass.
    testTimeout: 1_800_000,
    hookTimeout: 1_800_000,
    reporters: ['default', ['json', { outputFile: '.cache/vitest.json' }]],
  },
});
