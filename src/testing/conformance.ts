/**
 * The conformance suite: what every backend must do, as sentences that are true. An adapter's own test is a few lines:
 *
 * ```ts
 * testBackend({ describe, it }, 'memory', ({ now, limits, windowTasks }) => openMemory({ now, limits, windowTasks }))
 * ```
 *
 * The test runner is passed in: that of vitest and that of `node:test` fit. Each sentence gets a store of its own,
 * which is opened through `open` again and again under the same name. What a backend lacks comes from its own
 * `lacks`: sentences about it are skipped with that reason, and a lack that its kind may not have fails.
 */
import type { Backend } from '../broker/broker.js';
import { batchTheme } from './conformance/batches.js';
import { claimTheme } from './conformance/claim.js';
import { controlTheme } from './conformance/control.js';
import { delayTheme } from './conformance/delay.js';
import { enqueueTheme } from './conformance/enqueue.js';
import { inspectTheme } from './conformance/inspect.js';
import { keyValueTheme } from './conformance/key-value.js';
import { lacksTheme } from './conformance/lacks.js';
import { listTheme } from './conformance/list.js';
import { releaseTheme } from './conformance/release.js';
import { reopenTheme } from './conformance/reopen.js';
import { resultTheme } from './conformance/results.js';
import { retentionTheme } from './conformance/retention.js';
import { settleTheme } from './conformance/settle.js';
import { type OpenForTest, Suite, type TestExtras, type TestRunner } from './conformance/suite.js';
import { unhandledTheme } from './conformance/unhandled.js';
import { uniqueTheme } from './conformance/unique.js';
import { windowTheme } from './conformance/windows.js';

export { ALLOWED_LACKS } from './conformance/lacks.js';
export type { OpenForTest, TestExtras, TestRunner } from './conformance/suite.js';

/**
 * Registers the whole suite for one backend.
 *
 * @param runner  `describe` and `it` of the test runner in use.
 * @param name  Heading of the report.
 * @param open  Opens the store of this name, empty at first. A durable one must find again what it held, a volatile
 *   one may begin anew. It must use the given clock and limits.
 * @since 0.1.0
 */
export function testBackend(
  runner: TestRunner,
  name: string,
  open: (options: OpenForTest) => Promise<Backend> | Backend,
  extras: TestExtras = {},
): void {
  runner.describe(`${name} backend`, () => {
    if (extras.skip !== undefined) {
      runner.it.skip(`is not tested: ${extras.skip}`, () => {});
      return;
    }
    const suite = new Suite(runner, name, open, extras);
    for (const theme of THEMES) theme(suite);
  });
}

const THEMES: readonly ((suite: Suite) => void)[] = [
  lacksTheme,
  enqueueTheme,
  batchTheme,
  claimTheme,
  settleTheme,
  releaseTheme,
  delayTheme,
  uniqueTheme,
  resultTheme,
  retentionTheme,
  controlTheme,
  unhandledTheme,
  inspectTheme,
  listTheme,
  keyValueTheme,
  windowTheme,
  reopenTheme,
];
