/**
 * The conformance suite: what every backend must do, as sentences that are true. An adapter's own test is a
 * few lines:
 *
 * ```ts testBackend({ describe, it }, 'memory', ({ now, limits, windowTasks }) => openMemory({ now, limits,
 * windowTasks })) ```
 *
 * The test runner is passed in: that of vitest and that of `node:test` fit. Each sentence gets a store of its
 * own, which is opened through `open` again and again under the same name. What a backend lacks comes from
 * its own `lacks`: sentences about it are skipped with that reason, and a lack that its kind may not have
 * fails.
 */
import type { Backend } from '../broker/broker.js';
import { ageingThemes } from './conformance/ageing.js';
import { batchThemes } from './conformance/batches.js';
import { blobThemes } from './conformance/blobs.js';
import { claimThemes } from './conformance/claim.js';
import { controlThemes } from './conformance/control.js';
import { delayThemes } from './conformance/delay.js';
import { enqueueThemes } from './conformance/enqueue.js';
import { flowEndThemes } from './conformance/flow-ends.js';
import { flowMemberThemes } from './conformance/flow-members.js';
import { flowNewsThemes } from './conformance/flow-news.js';
import { flowSizeThemes } from './conformance/flow-sizes.js';
import { flowUniqueThemes } from './conformance/flow-uniques.js';
import { flowThemes } from './conformance/flows.js';
import { inspectThemes } from './conformance/inspect.js';
import { keyValueThemes } from './conformance/key-value.js';
import { lacksThemes } from './conformance/lacks.js';
import { laneMoveThemes } from './conformance/lane-moves.js';
import { laneThemes } from './conformance/lanes.js';
import { limitThemes } from './conformance/limits.js';
import { listThemes } from './conformance/list.js';
import { releaseThemes } from './conformance/release.js';
import { reopenThemes } from './conformance/reopen.js';
import { resultThemes } from './conformance/results.js';
import { retentionThemes } from './conformance/retention.js';
import { scheduleFireThemes } from './conformance/schedule-fires.js';
import { scheduleThemes } from './conformance/schedules.js';
import { settleThemes } from './conformance/settle.js';
import { shedThemes } from './conformance/shed.js';
import { stageThemes } from './conformance/stages.js';
import {
  type OpenForTest,
  Suite,
  type TestExtras,
  type TestRunner,
  type Theme,
} from './conformance/suite.js';
import { unhandledThemes } from './conformance/unhandled.js';
import { uniqueThemes } from './conformance/unique.js';
import { windowThemes } from './conformance/windows.js';

export { ALLOWED_LACKS } from './conformance/lacks.js';
export type { OpenForTest, TestExtras, TestRunner } from './conformance/suite.js';

/**
 * Registers the whole suite for one backend.
 *
 * @param runner  `describe` and `it` of the test runner in use.
 * @param name  Heading of the report.
 * @param open  Opens the store of this name, empty at first. A durable one must find again what it held, a
 *   volatile
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
    for (const theme of THEMES) suite.describe(theme);
  });
}

const THEMES: readonly Theme[] = [
  ...lacksThemes,
  ...enqueueThemes,
  ...batchThemes,
  ...stageThemes,
  ...claimThemes,
  ...settleThemes,
  ...releaseThemes,
  ...delayThemes,
  ...uniqueThemes,
  ...resultThemes,
  ...blobThemes,
  ...retentionThemes,
  ...controlThemes,
  ...shedThemes,
  ...unhandledThemes,
  ...laneThemes,
  ...laneMoveThemes,
  ...ageingThemes,
  ...limitThemes,
  ...inspectThemes,
  ...listThemes,
  ...keyValueThemes,
  ...scheduleThemes,
  ...scheduleFireThemes,
  ...flowThemes,
  ...flowMemberThemes,
  ...flowEndThemes,
  ...flowSizeThemes,
  ...flowNewsThemes,
  ...flowUniqueThemes,
  ...windowThemes,
  ...reopenThemes,
];
