/**
 * The options of `openRuntime` and of its calls `run`, `result` and `stop`: one row each, with unit, bounds,
 * default and meaning. What only the host can know (threads, clock, logger) is named here and supplied by it.
 */
import type { CheckedLimits } from '../task/limit-rule.js';
import { aFunction, codecs, env, hasMethods, location, modules, schema, services } from './host-rules.js';
import { AGEING_FIELDS, LIMITS_FIELDS } from './limit-table.js';
import {
  choice,
  type FieldsOf,
  field,
  flag,
  hosted,
  list,
  name,
  number,
  type Rule,
  required,
  text,
  value,
} from './rule.js';
import { object, record } from './shape.js';
import {
  abortSignal,
  MAX_DURATION_MS,
  MAX_THREADS,
  maxWaiting,
  QUEUE_FIELDS,
  TASK_FIELDS,
  whenFull,
} from './task-table.js';
import type {
  ClientOptions,
  OpenOptions,
  RecycleOptions,
  ResultOptions,
  RunOptions,
  StopOptions,
  TaskHooks,
  ThreadLimits,
} from './types.js';

const MIB = 1_048_576;
const GIB = 1_024 * MIB;
const MAX_NAMES = 10_000;
const WAIT = { min: 0, max: MAX_DURATION_MS, unit: 'ms', orInfinity: true, fraction: 'rounded up' } as const;

function bytes(max: number, min = 1, orInfinity = false): Rule {
  return number({ min, max, unit: 'bytes', ...(orInfinity ? { orInfinity } : {}) });
}

export const HOOK_FIELDS = {
  backoff: field(
    aFunction,
    undefined,
    'Returns the wait before the next attempt, ms, instead of the backoff policy.',
  ),
  validate: field(schema, undefined, 'Checks the payload at enqueue; what it puts out becomes the payload.'),
  limitKey: field(
    aFunction,
    undefined,
    'Returns the limit key of a payload at enqueue, instead of a path into it.',
  ),
} satisfies FieldsOf<TaskHooks>;

const megabytes = number({ min: 1, max: 1_048_576, unit: 'MiB', fraction: 'kept' });
const LIMIT_FIELDS = {
  maxOldGenerationSizeMb: field(megabytes, undefined, "A thread's main heap; by default Node's."),
  maxYoungGenerationSizeMb: field(
    megabytes,
    undefined,
    "A thread's heap for new objects; by default Node's.",
  ),
  codeRangeSizeMb: field(megabytes, undefined, "A thread's memory for generated code; by default Node's."),
  stackSizeMb: field(megabytes, undefined, "A thread's stack; by default Node's, 4."),
} satisfies FieldsOf<ThreadLimits>;

const RECYCLE_FIELDS = {
  tasks: field(
    number({ min: 1, max: Number.MAX_SAFE_INTEGER, unit: 'tasks', orInfinity: true }),
    Infinity,
    'A thread is replaced after this many tasks.',
  ),
  heapBytes: field(
    bytes(Number.MAX_SAFE_INTEGER, 1, true),
    Infinity,
    'A thread is replaced when its heap and buffers are above this after a batch.',
  ),
} satisfies FieldsOf<RecycleOptions>;
const RECYCLE_NEVER: Required<RecycleOptions> = Object.freeze({ tasks: Infinity, heapBytes: Infinity });

const { queue: _queue, ...QUEUE_TASK_FIELDS } = TASK_FIELDS;
const queue = object({ ...QUEUE_TASK_FIELDS, ...QUEUE_FIELDS }, QUEUE_FIELDS);

/** Its rows stand in a group of their own. */
const { fields: _fields, ...limits } = object(LIMITS_FIELDS, LIMITS_FIELDS);
const NO_LIMITS: CheckedLimits = Object.freeze({ queues: new Map(), tasks: new Map() });

export const RUNTIME_FIELDS = {
  backend: required(
    location,
    'Where tasks are kept: a folder (`./data` or `lmdb:./data`), `memory:`, or an engine.',
  ),
  tasks: required(modules, 'Modules whose exports are the handlers; imported by the worker threads only.'),
  threads: hosted(
    number({ min: 1, max: MAX_THREADS, unit: 'threads' }),
    'min(availableParallelism, cgroup quota)',
    'Worker threads; a child process at work takes the place of one.',
  ),
  queues: field(
    { ...record('queue', queue, MAX_NAMES), type: 'Record<queue, QueueOptions>' },
    new Map(),
    'Queues with defaults of their own.',
  ),
  serve: field(list(name('queue'), MAX_NAMES), undefined, 'Runs these queues only; by default all.'),
  hooks: field(
    { ...record('task', object(HOOK_FIELDS), MAX_NAMES), type: 'Record<task, TaskHooks>' },
    new Map(),
    'What must be a function of the host, by task name.',
  ),
  calendars: field(
    { ...record('calendar', aFunction, MAX_NAMES), type: 'Record<calendar, function>' },
    new Map(),
    'Functions that say when schedules fire, by name.',
  ),
  limits: field(limits, NO_LIMITS, 'How often tasks start, and how many at once.'),
  ageing: field(
    object(AGEING_FIELDS, AGEING_FIELDS),
    undefined,
    'Lets low levels have a turn when higher ones never end; by default they wait.',
  ),
  services: field(services, {}, 'Host objects that handlers call through `context.services`.'),
  codecs: field(
    codecs,
    [],
    'Formats beside the built-in ones; threads know those that the tasks module exports.',
  ),
  logger: hosted(
    value('Logger', 'a logger with debug, info, warn and error', (given) =>
      hasMethods(given, 'debug', 'info', 'warn', 'error'),
    ),
    'warnings and errors on stderr',
    'Takes the log lines; shaped like pino.',
  ),
  signal: field(abortSignal, undefined, 'Stops the runtime when aborted.'),
  stopOn: field(
    list(choice(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGBREAK', 'SIGUSR2']), 6),
    [],
    'Process signals that stop the runtime; a second one stops it at once.',
  ),
  ifLocked: field(
    choice(['fail', 'wait', 'join']),
    'fail',
    'When another process owns the folder: throw, wait for its end, or be its client until then.',
  ),
  autostart: field(flag, true, 'Starts tasks at once; otherwise after `runtime.start()`.'),
  waitForTasks: field(
    flag,
    true,
    'Opens when the handlers are known; otherwise at once with those of the last run.',
  ),
  execArgv: field(
    list(text(4_096), 100),
    undefined,
    "Node options of worker threads and children; by default the host's.",
  ),
  resourceLimits: field(
    object(LIMIT_FIELDS),
    undefined,
    "Limits of each thread's heap, and of each child's but for code and stack.",
  ),
  env: field(env, undefined, "Environment of worker threads and children; by default a copy of the host's."),
  recycle: field(
    object(RECYCLE_FIELDS, RECYCLE_FIELDS),
    RECYCLE_NEVER,
    'When a thread or child is replaced by a fresh one.',
  ),
  clock: hosted(
    value('Clock', 'a clock with now, monotonic and arm', (given) =>
      hasMethods(given, 'now', 'monotonic', 'arm'),
    ),
    'the system clock',
    'Time; for tests.',
  ),
  maxPayloadBytes: field(bytes(GIB), MIB, 'Largest encoded payload, its binary parts not counted.'),
  maxBufferBytes: field(
    bytes(GIB),
    64 * MIB,
    'Binary parts of a payload or result together, or of `transfer`.',
  ),
  maxResultBytes: field(bytes(GIB), 16 * MIB, 'Largest encoded result, its binary parts not counted.'),
  maxWaiting: field(maxWaiting, Infinity, 'Tasks of all queues that may wait: ready, scheduled or blocked.'),
  whenFull: field(
    whenFull,
    'reject',
    'What an enqueue does that finds no room: wait for some, reject, or shed less important tasks.',
  ),
  maxPendingEnqueues: field(
    number({ min: 1, max: 10_000_000, unit: 'tasks' }),
    100_000,
    'Enqueues not yet flushed, and those that wait for room; beyond, `enqueue` rejects in any case.',
  ),
  maxPendingBytes: field(bytes(64 * GIB), 64 * MIB, 'Their payloads together, in each case.'),
  maxBytes: field(bytes(Number.MAX_SAFE_INTEGER, MIB, true), Infinity, 'Size of the store.'),
  minFreeBytes: field(
    bytes(Number.MAX_SAFE_INTEGER, 0),
    64 * MIB,
    "Space that stays free on the store's disk.",
  ),
} satisfies FieldsOf<OpenOptions>;

export const CLIENT_FIELDS = {
  backend: required(location, 'The folder of the tasks (`./data` or `lmdb:./data`).'),
  codecs: RUNTIME_FIELDS.codecs,
  logger: RUNTIME_FIELDS.logger,
  signal: field(abortSignal, undefined, 'Closes the client when aborted.'),
  clock: RUNTIME_FIELDS.clock,
} satisfies FieldsOf<ClientOptions>;

export const RUN_FIELDS = {
  signal: field(abortSignal, undefined, 'Cancels the task when aborted.'),
  waitMs: field(number(WAIT), Infinity, 'How long to wait for the result; the task goes on afterwards.'),
} satisfies FieldsOf<Pick<RunOptions, 'signal' | 'waitMs'>>;

export const RESULT_FIELDS = {
  timeoutMs: field(number(WAIT), Infinity, 'How long to wait for the result; the task goes on afterwards.'),
  signal: field(abortSignal, undefined, 'Ends the wait when aborted; the task goes on.'),
} satisfies FieldsOf<ResultOptions>;

const GRACE = { min: 0, max: 86_400_000, unit: 'ms', fraction: 'rounded up' } as const;

export const STOP_FIELDS = {
  graceMs: field(number(GRACE), 10_000, 'How long running tasks may go on before they are aborted.'),
  killMs: field(number(GRACE), 1_000, 'From their abort to the end of their threads.'),
} satisfies FieldsOf<StopOptions>;
