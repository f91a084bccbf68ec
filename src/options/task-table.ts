/**
 * The options of tasks, queues and single enqueues: one row each, with unit, bounds, default and meaning. A
 * new option is a row here and a field in its type; the check, the error texts and the README follow from the
 * row.
 */
import { InvalidArgumentError } from '../errors.js';
import type { BackoffPolicy, RetentionMs, TaskOptions } from '../task/task-options.js';
import { PRIORITY_NAMES } from '../task/task-options.js';
import { choice, type FieldsOf, field, flag, list, name, number, type Rule, text, value } from './rule.js';
import { object } from './shape.js';
import type { EnqueueOptions, QueueOptions, UniqueOptions } from './types.js';

const DAY_MS = 86_400_000;
/** Ten years, the longest duration that is stored. */
export const MAX_DURATION_MS = 3_650 * DAY_MS;
/** The last millisecond of the year 9999; fits 48 bits. */
export const MAX_INSTANT = Date.UTC(9999, 11, 31, 23, 59, 59, 999);
/** Node's longest timer. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
/** The most threads a runtime takes. */
export const MAX_THREADS = 1_024;

const DURATION = { min: 0, max: MAX_DURATION_MS, unit: 'ms' } as const;
const kept = number({ ...DURATION, orInfinity: true });

const PRIORITIES = new Set<unknown>([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...Object.keys(PRIORITY_NAMES)]);
const priority: Rule = {
  ...value('integer or name', "an integer from 0 to 9, 'low', 'normal', 'high' or 'critical'", (given) =>
    PRIORITIES.has(given),
  ),
  bounds: '0 to 9; low 2, normal 5, high 7, critical 9',
};

export const BACKOFF_FIELDS = {
  kind: field(
    choice(['fixed', 'linear', 'exponential']),
    'exponential',
    'How the wait grows from attempt to attempt.',
  ),
  baseMs: field(number(DURATION), 1_000, 'The wait after the first failure.'),
  factor: field(
    number({ min: 1, max: 1_000, fraction: 'kept' }),
    2,
    'What the wait is multiplied with after each further failure; of `exponential` only.',
  ),
  capMs: field(number(DURATION), 300_000, 'The longest wait; a larger `baseMs` given without it raises it.'),
  jitter: field(
    choice(['full', 'equal', 'none']),
    'full',
    'Chance in the wait: anything up to it, its upper half, or none.',
  ),
} satisfies FieldsOf<BackoffPolicy>;

export const RETENTION_FIELDS = {
  completed: field(kept, DAY_MS, 'How long a completed task and its result are kept.'),
  dead: field(kept, 7 * DAY_MS, 'How long a dead task is kept.'),
  cancelled: field(kept, DAY_MS, 'How long a cancelled task is kept.'),
} satisfies FieldsOf<RetentionMs>;

export const TASK_FIELDS = {
  queue: field(name('queue'), 'default', 'The queue the task waits in.'),
  priority: field(priority, 5, '9 runs first; within a level the oldest first.'),
  maxAttempts: field(
    number({ min: 1, max: 1_000_000 }),
    3,
    'Attempts until a failing task is dead, the first one included.',
  ),
  timeoutMs: field(
    number({ min: 1, max: MAX_TIMEOUT_MS, unit: 'ms', orInfinity: true }),
    300_000,
    'How long one attempt may run before it is aborted.',
  ),
  killGraceMs: field(
    number({ min: 0, max: 3_600_000, unit: 'ms' }),
    1_000,
    'From the abort of an attempt to the end of its thread.',
  ),
  backoff: field(
    object(BACKOFF_FIELDS),
    undefined,
    'The wait before the next attempt; what is absent keeps its default.',
  ),
  notRetryable: field(
    list(text(128), 100),
    [],
    'Names or codes of errors after which the task is dead at once.',
  ),
  maxCrashes: field(
    number({ min: 1, max: 1_000 }),
    3,
    'Threads or child processes that may die under the task until it is dead.',
  ),
  retentionMs: field(
    object(RETENTION_FIELDS),
    undefined,
    'How long a settled task is kept, by how it ended.',
  ),
  isolation: field(
    choice(['thread', 'process']),
    'thread',
    'Where attempts run: in a worker thread, or in a child process that takes nothing with it when it dies.',
  ),
  startAfterCommit: field(flag, false, 'Never starts before it is stored and flushed.'),
  codec: field(name('codec'), undefined, "Format of payload and result; by default the runtime's own."),
  cost: field(
    number({ min: 1, max: 1_000_000 }),
    1,
    'Tokens and quota points that one start takes; more than there can be counts as all.',
  ),
  sensitive: field(flag, false, 'Hides the payload and result from lists, dashboards and exports.'),
} satisfies FieldsOf<TaskOptions>;

const UNIQUE_FIELDS = {
  key: {
    ...field(text(512), undefined, 'The key; those of different task names never meet.'),
    isRequired: true,
  },
  forMs: field(
    number({ ...DURATION, min: 1 }),
    undefined,
    'How long the key stays taken; by default until the task is final.',
  ),
  onConflict: field(
    choice(['keep', 'replace', 'reject']),
    'keep',
    'With the key taken: lead to that task, take its place while it waits, or throw.',
  ),
} satisfies FieldsOf<UniqueOptions>;

const INSTANT = 'a Date or whole epoch milliseconds up to the year 9999';
export const instant: Rule = {
  type: 'number | Date',
  unit: 'epoch ms',
  bounds: '1970 to 9999',
  expected: INSTANT,
  check(given, at) {
    const epochMs = given instanceof Date ? given.getTime() : given;
    if (typeof epochMs !== 'number' || !(epochMs >= 0 && epochMs <= MAX_INSTANT)) {
      throw new InvalidArgumentError(at, INSTANT, given);
    }
    return Math.ceil(epochMs) + 0;
  },
};

const buffer = value('ArrayBuffer', 'an ArrayBuffer that has not been moved', (given) => {
  if (!(given instanceof ArrayBuffer)) return false;
  if (given.byteLength > 0) return true;
  try {
    return new Uint8Array(given).length === 0;
  } catch {
    return false; // Detached: no view can be made of it.
  }
});

export const abortSignal: Rule = value('AbortSignal', 'an AbortSignal', (given) => {
  const { aborted, addEventListener } = (given ?? {}) as Partial<AbortSignal>;
  return typeof given === 'object' && typeof aborted === 'boolean' && typeof addEventListener === 'function';
});

const WAITING = { min: 1, max: Number.MAX_SAFE_INTEGER, unit: 'tasks', orInfinity: true } as const;
/** Of a queue, and of all together. */
export const maxWaiting: Rule = number(WAITING);
export const whenFull: Rule = choice(['wait', 'reject', 'shed']);

/** What an enqueue takes beside {@link TASK_FIELDS}. */
export const ENQUEUE_FIELDS = {
  delayMs: field(
    number({ ...DURATION, fraction: 'rounded up' }),
    undefined,
    'Not before so long from now; not together with `runAt`.',
  ),
  runAt: field(instant, undefined, 'Not before this instant; a past one is at once.'),
  staleAt: field(instant, undefined, 'Not worth starting after this instant: the task is then cancelled.'),
  unique: field(object(UNIQUE_FIELDS, UNIQUE_FIELDS), undefined, 'At most one task of this name and key.'),
  transfer: field(
    list(buffer, 1_000),
    undefined,
    'Buffers of the payload that are moved into the runtime instead of copied.',
  ),
  whenFull: field(
    whenFull,
    undefined,
    "With no room: wait, reject, or shed waiting tasks of lower priorities; by default the runtime's.",
  ),
  signal: field(abortSignal, undefined, 'Ends the wait for room when aborted.'),
} satisfies FieldsOf<Omit<EnqueueOptions, keyof TaskOptions>>;

/** What a queue takes beside {@link TASK_FIELDS} without `queue`. */
export const QUEUE_FIELDS = {
  maxThreads: field(
    number({ min: 1, max: MAX_THREADS, unit: 'threads' }),
    undefined,
    'Threads that run tasks of this queue at once; by default all.',
  ),
  perThread: field(
    number({ min: 1, max: 1_000, unit: 'tasks' }),
    1,
    'Tasks of this queue at once on each of its threads, for handlers that wait for I/O.',
  ),
  maxWaiting: field(maxWaiting, undefined, 'Tasks of this queue that may wait; by default any number.'),
  paused: field(flag, undefined, 'Begins paused or not; by default as `pause` and `resume` last left it.'),
} satisfies FieldsOf<Omit<QueueOptions, keyof TaskOptions>>;
