/**
 * How the tests run. They test what users get: `dist`, loaded by Node itself (`external`), not a transformed
 * copy. Each test file has a process of its own, since tests spawn threads and processes and own folders; two
 * at a time, so that a machine with two cores keeps its deadlines.
 */
import { defineConfig } from 'vitest/config';

/** Where the counts go, for `.ci/run`. */
const resultsFile = process.env.TEST_RESULTS_FILE;

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['dist/**', 'node_modules/**'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 20_000,
    server: { deps: { external: [/\/dist\//] } },
    reporters: resultsFile === undefined ? ['default'] : ['default', ['json', { outputFile: resultsFile }]],
  },
});
