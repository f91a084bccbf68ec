/**
 * The exports of `millrace/testing`: for the tests of those who write tasks, and of those who write backends.
 */
export { ManualClock } from '../clock.js';
export {
  ALLOWED_LACKS,
  type OpenForTest,
  type TestExtras,
  type TestRunner,
  testBackend,
} from './conformance.js';
export {
  openTestRuntime,
  type PlannedFailure,
  type TestRuntime,
  type TestRuntimeOptions,
} from './test-runtime.js';
