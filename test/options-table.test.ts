/**
 * Every option of the table, one line each: values at and within its bounds are taken, values beyond are
 * refused with code and place. An option without a line here fails.
 */

import { describe, expect, it } from 'vitest';
import { OPTION_TABLE, type OptionGroup } from '#src/options/listing.js';
import {
  validateClientOptions,
  validateEnqueueOptions,
  validateFlowOptions,
  validateFlowTaskOptions,
  validateParentsOptions,
  validateResultOptions,
  validateRule,
  validateRunOptions,
  validateRuntimeOptions,
  validateScheduleOptions,
  validateStopOptions,
  validateStreamOptions,
  validateTaskOptions,
} from '#src/options.js';

interface Case {
  readonly takes: readonly unknown[];
  readonly refuses: readonly unknown[];
}

const TEN_YEARS_MS = 315_360_000_000;
const NOT_NUMBERS = [NaN, '5', null, true, {}, 5n];
const GIB = 1_073_741_824;
const noop = () => {};

/** Takes both bounds and refuses what is just beyond them, fractions and all that is no number. */
function integer(min: number, max: number, extra: readonly unknown[] = []): Case {
  const isOpen = extra.includes(Infinity);
  const refuses = [min - 1, min + 0.5, -Infinity, ...NOT_NUMBERS, ...(isOpen ? [] : [Infinity])];
  return {
    takes: [min, max, ...extra],
    refuses: max < Number.MAX_SAFE_INTEGER ? [max + 1, ...refuses] : refuses,
  };
}

/** As {@link integer}, but fractions are taken. */
function real(min: number, max: number, extra: readonly unknown[] = []): Case {
  const { takes, refuses } = integer(min, max, extra);
  return { takes: [...takes, min + 0.5], refuses: refuses.filter((each) => each !== min + 0.5) };
}

function choice(...values: readonly string[]): Case {
  return { takes: values, refuses: ['', 'other', values[0]?.toUpperCase(), 'toString', 0, null, values] };
}

const NAME: Case = {
  takes: ['a', '9', 'images.small', 'a:b-c_d', 'x'.repeat(128)],
  refuses: ['', '_a', '.', 'a/b', 'a b', 'ä', 'a\n', '__proto__', 'x'.repeat(129), 1, null, ['a']],
};
const FLAG: Case = { takes: [true, false], refuses: [0, 1, 'true', null, {}] };
const OBJECT: Case = {
  takes: [{}, Object.create(null)],
  refuses: [[], null, 'x', 1, new Date(), new Map(), noop],
};
const DURATION = integer(0, TEN_YEARS_MS);
const KEPT = integer(0, TEN_YEARS_MS, [Infinity]);
const WAIT = real(0, TEN_YEARS_MS, [Infinity]);
const WAITING = integer(1, Number.MAX_SAFE_INTEGER, [Infinity]);
const IN_FLIGHT = integer(1, 100_000);
const INSTANT: Case = {
  takes: [0, 1.5, Date.now(), new Date(), new Date('9999-12-31T23:59:59.999Z')],
  refuses: [
    -1,
    new Date(-1),
    new Date(Number.NaN),
    new Date('+010000-01-01'),
    '2026-01-01',
    Infinity,
    NaN,
    null,
  ],
};
const SIGNAL: Case = {
  takes: [new AbortController().signal],
  refuses: [new AbortController(), {}, null, true],
};
const OF_EACH: Case = {
  takes: [{}, { priority: 9, whenFull: 'shed', delayMs: 5 }],
  refuses: [...OBJECT.refuses, { priority: 10 }],
};
const MEGABYTES = real(1, 1_048_576);
const bytes = (max: number) => integer(1, max);
const text = (max: number): Case => ({
  takes: ['a', 'x'.repeat(max)],
  refuses: ['', 'x'.repeat(max + 1), 'a\ud800', 1, null],
});
const locations: Case = {
  takes: ['./data', 'redis://h', new URL('file:///x')],
  refuses: ['', 'a\0b', 'x'.repeat(4_097), 1, null, {}],
};
const methods = (...names: readonly string[]) => Object.fromEntries(names.map((name) => [name, noop]));
const codec = { name: 'zip', encode: noop, decode: noop };

const detached = new ArrayBuffer(8);
structuredClone(detached, { transfer: [detached] });

const CODECS: Case = {
  takes: [[], [codec]],
  refuses: [codec, [{}], [{ ...codec, name: '' }], [codec, codec], [null]],
};
const LOGGER: Case = {
  takes: [methods('debug', 'info', 'warn', 'error'), console],
  refuses: [{}, null, noop, methods('info')],
};
const CLOCK: Case = {
  takes: [methods('now', 'monotonic', 'arm')],
  refuses: [{}, null, Date, methods('now')],
};

const BUCKET = { capacity: 1, refillPerSec: 1 };
const QUOTA = { limit: 1, perMs: 1_000 };
/** Rules that say something wrong, wherever they stand. */
const BAD_RULES = [{ concurrency: 0 }, { tokenBucket: { capacity: 1 } }, { quota: { perMs: 1_000 } }];
const PATH: Case = {
  takes: ['tenant', 'tenant.id', 'a.0.b', 'x'.repeat(256)],
  refuses: ['', '.', 'a.', '.a', 'a..b', 'x'.repeat(257), 1, null, ['a']],
};
const RULE: Readonly<Record<string, Case>> = {
  tokenBucket: { takes: [BUCKET], refuses: [...OBJECT.refuses, {}, { capacity: 1 }, { refillPerSec: 1 }] },
  'tokenBucket.capacity': integer(1, 1_000_000_000),
  'tokenBucket.refillPerSec': {
    takes: [0.000_001, 0.5, 1_000_000],
    refuses: [0, -1, 1_000_001, Infinity, ...NOT_NUMBERS],
  },
  concurrency: integer(1, 1_000_000, [Infinity]),
  quota: { takes: [QUOTA], refuses: [...OBJECT.refuses, {}, { limit: 1 }, { perMs: 1_000 }] },
  'quota.limit': integer(1, 1_000_000_000),
  'quota.perMs': integer(1_000, 366 * 86_400_000),
};

const CASES: Readonly<Record<OptionGroup, Readonly<Record<string, Case>>>> = {
  task: {
    queue: NAME,
    priority: {
      takes: [0, 5, 9, 'low', 'normal', 'high', 'critical'],
      refuses: [-1, 10, 4.5, 'urgent', 'toString', '5', null, NaN],
    },
    maxAttempts: integer(1, 1_000_000),
    timeoutMs: integer(1, 2 ** 31 - 1, [Infinity]),
    killGraceMs: integer(0, 3_600_000),
    backoff: OBJECT,
    'backoff.kind': choice('fixed', 'linear', 'exponential'),
    'backoff.baseMs': DURATION,
    'backoff.factor': real(1, 1_000),
    'backoff.capMs': DURATION,
    'backoff.jitter': choice('full', 'equal', 'none'),
    notRetryable: {
      takes: [[], ['TypeError', 'ERR_X'], Array(100).fill('x')],
      refuses: ['TypeError', [1], [''], Array(1), Array(101).fill('x'), null, { 0: 'a', length: 1 }],
    },
    maxCrashes: integer(1, 1_000),
    isolation: choice('thread', 'process'),
    retentionMs: OBJECT,
    'retentionMs.completed': KEPT,
    'retentionMs.dead': KEPT,
    'retentionMs.cancelled': KEPT,
    startAfterCommit: FLAG,
    codec: NAME,
    cost: integer(1, 1_000_000),
    sensitive: FLAG,
  },
  definition: { limitKey: PATH, ...RULE },
  limits: {
    perRuntime: { takes: [{}, { concurrency: 1 }], refuses: [...OBJECT.refuses, ...BAD_RULES] },
    queues: {
      takes: [{}, { images: { concurrency: 1 } }],
      refuses: [[], null, new Map(), { images: 1 }, { '': {} }, ...BAD_RULES.map((images) => ({ images }))],
    },
    tasks: {
      takes: [{}, { sum: { weight: 2 } }, { sum: { limitKey: 'a', keys: { b: { weight: 2 } } } }],
      refuses: [[], null, new Map(), { sum: 1 }, { 'a b': {} }, ...BAD_RULES.map((sum) => ({ sum }))],
    },
  },
  limit: {
    ...RULE,
    weight: integer(1, 1_000),
    limitKey: PATH,
    total: { takes: [{}, { quota: QUOTA }], refuses: [...OBJECT.refuses, ...BAD_RULES] },
    keys: {
      takes: [{}, { '': {} }, { 'any text / at all': { weight: 3 } }, { ['x'.repeat(256)]: {} }],
      refuses: [[], null, { a: 1 }, { ['x'.repeat(257)]: {} }, { 'a\ud800': {} }, { a: { weight: 0 } }],
    },
  },
  enqueue: {
    delayMs: real(0, TEN_YEARS_MS),
    runAt: INSTANT,
    staleAt: INSTANT,
    unique: { takes: [{ key: 'a' }], refuses: [...OBJECT.refuses, {}] },
    'unique.key': text(512),
    'unique.forMs': integer(1, TEN_YEARS_MS),
    'unique.onConflict': choice('keep', 'replace', 'reject'),
    transfer: {
      takes: [[], [new ArrayBuffer(0), new ArrayBuffer(8)]],
      refuses: [
        new ArrayBuffer(8),
        [new Uint8Array(8)],
        [new SharedArrayBuffer(8)],
        [detached],
        [null],
        Array(1_001),
      ],
    },
    whenFull: choice('wait', 'reject', 'shed'),
    signal: SIGNAL,
  },
  queue: { maxThreads: integer(1, 1_024), perThread: integer(1, 1_000), maxWaiting: WAITING, paused: FLAG },
  hook: {
    backoff: { takes: [noop], refuses: [1, {}, null] },
    validate: {
      takes: [{ '~standard': { version: 1, vendor: 'x', validate: noop } }],
      refuses: [
        {},
        noop,
        null,
        { '~standard': { version: 2, validate: noop } },
        { '~standard': { version: 1 } },
      ],
    },
    limitKey: { takes: [noop], refuses: ['tenant.id', {}, null] },
  },
  client: { backend: locations, codecs: CODECS, logger: LOGGER, signal: SIGNAL, clock: CLOCK },
  run: { signal: SIGNAL, waitMs: WAIT },
  map: { concurrency: IN_FLIGHT, ordered: FLAG, options: OF_EACH, signal: SIGNAL },
  writable: { concurrency: IN_FLIGHT, options: OF_EACH, signal: SIGNAL, web: FLAG },
  transform: { concurrency: IN_FLIGHT, ordered: FLAG, options: OF_EACH, signal: SIGNAL, web: FLAG },
  result: { timeoutMs: WAIT, signal: SIGNAL },
  stop: { graceMs: real(0, 86_400_000), killMs: real(0, 86_400_000) },
  rule: {
    cron: text(256),
    timeZone: text(64),
    everyMs: integer(100, TEN_YEARS_MS),
    anchorAt: INSTANT,
    at: INSTANT,
    next: NAME,
  },
  schedule: {
    misfire: choice('skip', 'latest', 'all'),
    catchUpMs: DURATION,
    catchUpFires: integer(1, 1_000),
    overlap: choice('allow', 'skip', 'cancel'),
    jitterMs: integer(0, 86_400_000),
    startAt: INSTANT,
    endAt: INSTANT,
    maxRuns: integer(1, Number.MAX_SAFE_INTEGER),
  },
  flow: {
    name: NAME,
    retentionMs: OBJECT,
    'retentionMs.completed': KEPT,
    'retentionMs.dead': KEPT,
    'retentionMs.cancelled': KEPT,
  },
  flowTask: {
    after: { takes: [{}, { pages: [] }], refuses: [[], null, 'a', 1, noop] },
    whenParentDies: choice('fail', 'run', 'wait'),
  },
  parents: { outcomes: FLAG },
  runtime: {
    backend: locations,
    tasks: {
      takes: [...locations.takes, ['./a.js', new URL('file:///b.js')]],
      refuses: [...locations.refuses, [], [1], Array(1_001).fill('a')],
    },
    threads: integer(1, 1_024),
    queues: {
      takes: [{}, { images: {} }, { images: { maxAttempts: 1, perThread: 4 } }],
      refuses: [[], null, new Map(), { images: 1 }, { '': {} }, JSON.parse('{"__proto__":{}}')],
    },
    serve: { takes: [[], ['a', 'b']], refuses: ['a', [''], [1], null] },
    hooks: { takes: [{}, { sum: {} }], refuses: [[], null, { sum: noop }, { 'a b': {} }] },
    calendars: { takes: [{}, { bank: noop }], refuses: [[], null, noop, { bank: 1 }, { 'a b': noop }] },
    limits: { takes: [{}, { perRuntime: {} }], refuses: OBJECT.refuses },
    ageing: { takes: [{ afterStarts: 1 }], refuses: [...OBJECT.refuses, {}, 5] },
    'ageing.afterStarts': integer(1, 1_000_000),
    services: { takes: [{}, { db: noop, app: {} }], refuses: [[], null, { db: 1 }, { db: null }, new Map()] },
    codecs: CODECS,
    logger: LOGGER,
    signal: SIGNAL,
    stopOn: { takes: [[], ['SIGTERM', 'SIGINT']], refuses: ['SIGTERM', ['SIGKILL'], ['TERM'], [15], null] },
    ifLocked: choice('fail', 'wait', 'join'),
    autostart: FLAG,
    waitForTasks: FLAG,
    execArgv: { takes: [[], ['--expose-gc']], refuses: ['--expose-gc', [1], null] },
    resourceLimits: OBJECT,
    'resourceLimits.maxOldGenerationSizeMb': MEGABYTES,
    'resourceLimits.maxYoungGenerationSizeMb': MEGABYTES,
    'resourceLimits.codeRangeSizeMb': MEGABYTES,
    'resourceLimits.stackSizeMb': MEGABYTES,
    env: { takes: [{}, { A: 'b', C: undefined }, process.env], refuses: [null, 'A=b', ['A'], { A: 1 }] },
    recycle: OBJECT,
    'recycle.tasks': integer(1, Number.MAX_SAFE_INTEGER, [Infinity]),
    'recycle.heapBytes': integer(1, Number.MAX_SAFE_INTEGER, [Infinity]),
    clock: CLOCK,
    maxPayloadBytes: bytes(GIB),
    maxBufferBytes: bytes(GIB),
    maxResultBytes: bytes(GIB),
    maxWaiting: WAITING,
    whenFull: choice('wait', 'reject', 'shed'),
    maxPendingEnqueues: integer(1, 10_000_000),
    maxPendingBytes: bytes(64 * GIB),
    maxBytes: integer(1_048_576, Number.MAX_SAFE_INTEGER, [Infinity]),
    minFreeBytes: integer(0, Number.MAX_SAFE_INTEGER),
  },
};

const logger = { debug: noop, info: noop, warn: noop, error: noop };
const clock = { now: () => 0, monotonic: () => 0, arm: () => noop };
const openRuntime = (options: object) =>
  validateRuntimeOptions(
    { backend: './data', tasks: './tasks.js', ...options },
    { threads: () => 2, logger, clock },
  );

/** What a rule needs beside one field: what that belongs to, or another kind where it is absent. */
function besideOf(rule: object): object {
  const [[key, value] = []] = Object.entries(rule);
  if (value === undefined) return key === 'everyMs' ? { cron: '@daily' } : { everyMs: 100, [key!]: value };
  return key === 'timeZone' ? { cron: '@daily' } : key === 'anchorAt' ? { everyMs: 100 } : {};
}

/** Passes options of a group through the function that checks it, and where they stand in it. */
const CHECKS: Readonly<Record<OptionGroup, readonly [(options: object) => unknown, string]>> = {
  task: [(options) => validateTaskOptions(options, 'options'), 'options'],
  enqueue: [(options) => validateEnqueueOptions(options, 'options'), 'options'],
  queue: [(options) => openRuntime({ queues: { images: options } }), 'options.queues.images'],
  definition: [(options) => validateTaskOptions(options, 'options'), 'options'],
  limits: [(options) => openRuntime({ limits: options }), 'options.limits'],
  limit: [(options) => openRuntime({ limits: { tasks: { sum: options } } }), 'options.limits.tasks.sum'],
  hook: [(options) => openRuntime({ hooks: { sum: options } }), 'options.hooks.sum'],
  run: [(options) => validateRunOptions(options, 'options'), 'options'],
  result: [(options) => validateResultOptions(options, 'options'), 'options'],
  map: [(options) => validateStreamOptions('map', options, 'options'), 'options'],
  writable: [(options) => validateStreamOptions('writable', options, 'options'), 'options'],
  transform: [(options) => validateStreamOptions('transform', options, 'options'), 'options'],
  stop: [(options) => validateStopOptions(options, 'options'), 'options'],
  flow: [(options) => validateFlowOptions(options, 'options'), 'options'],
  flowTask: [(options) => validateFlowTaskOptions(options, 'options'), 'options'],
  parents: [(options) => validateParentsOptions(options, 'options'), 'options'],
  client: [
    (options) => validateClientOptions({ backend: './data', ...options }, { logger, clock }),
    'options',
  ],
  runtime: [openRuntime, 'options'],
  rule: [(rule) => validateRule({ ...besideOf(rule), ...rule }, 'schedule'), 'schedule'],
  schedule: [(options) => validateScheduleOptions(options, 'options'), 'options'],
};

/** What else has to be given where one member is. */
const REST: Readonly<Record<string, object>> = { unique: { key: 'k' }, tokenBucket: BUCKET, quota: QUOTA };

/** `{ backoff: { kind: value } }` for the path `backoff.kind`. */
function optionsOf(path: string, value: unknown): object {
  const [outer = '', inner] = path.split('.');
  if (inner === undefined) return { [outer]: value };
  return { [outer]: { ...REST[outer], [inner]: value } };
}

for (const group of Object.keys(CASES) as OptionGroup[]) {
  const [check, where] = CHECKS[group];
  describe(`options of ${group}`, () => {
    it('have a line in this test, each', () => {
      expect(Object.keys(CASES[group]).sort()).toEqual(OPTION_TABLE[group].map((row) => row.path).sort());
    });

    for (const [path, { takes, refuses }] of Object.entries(CASES[group])) {
      it(`${path}: takes what is within its bounds, and undefined`, () => {
        for (const value of takes) expect(() => check(optionsOf(path, value)), show(value)).not.toThrow();
        const isRequired = OPTION_TABLE[group].some((row) => row.path === path && row.isRequired);
        if (!isRequired) expect(() => check(optionsOf(path, undefined))).not.toThrow();
      });

      it(`${path}: refuses what is beyond, saying where`, () => {
        for (const value of refuses) {
          const { code, argument, message } = refusalOf(() => check(optionsOf(path, value)), value);
          expect(CODES).toContain(code);
          if (argument === undefined) continue;
          // Of a list or record it is the item that is named.
          expect(argument.startsWith(`${where}.${path}`), argument).toBe(true);
          expect(message).toContain(`${argument} must be `);
        }
      });
    }
  });
}

/** A bad name says what it is a name of, not where it stands. */
const CODES = ['ERR_MILLRACE_INVALID_ARGUMENT', 'ERR_MILLRACE_INVALID_NAME'];

function refusalOf(act: () => unknown, value: unknown): { code: string; argument?: string; message: string } {
  try {
    act();
  } catch (error) {
    return error as { code: string; argument?: string; message: string };
  }
  throw new Error(`took ${show(value)}`);
}

function show(value: unknown): string {
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
