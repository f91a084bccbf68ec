/**
 * What the check of options does beside bounds: defaults, unknown names, copies and options that
 * speak of each other. Layers are in `options-resolve.test.ts`; the bounds of each option are in
 * `options-table.test.ts`.
 */

import { describe, expect, it } from 'vitest';
import { OPTION_TABLE, type OptionGroup } from '#src/options/listing.js';
import {
  checkName,
  DEFAULT_RULES,
  validateEnqueueOptions,
  validateResultOptions,
  validateRunOptions,
  validateRuntimeOptions,
  validateStopOptions,
  validateTaskOptions,
} from '#src/options.js';

const noop = () => {};
const logger = { debug: noop, info: noop, warn: noop, error: noop };
const clock = { now: () => 0, monotonic: () => 0, arm: () => noop };
const host = { threads: () => 3, logger, clock };
const openRuntime = (options: unknown) => validateRuntimeOptions(options, host);
const REQUIRED = { backend: './data', tasks: './tasks.js' };

/** What the error holds, to be compared. */
function refusalOf(act: () => unknown): Record<string, unknown> {
  try {
    act();
  } catch (error) {
    return { ...(error as object), message: (error as Error).message };
  }
  throw new Error('nothing was refused');
}

/** Defaults of a group by path, as the table shows them. */
function defaultsOf(group: OptionGroup): Record<string, unknown> {
  return Object.fromEntries(OPTION_TABLE[group].map((row) => [row.path, row.default]));
}

describe('the table', () => {
  for (const [group, rows] of Object.entries(OPTION_TABLE)) {
    it(`says of each option of ${group} in one sentence what it means, and its type`, () => {
      for (const row of rows) {
        expect(row.meaning, row.path).toMatch(/^[A-Z9][^\n|]+\.$/);
        expect(row.type).not.toBe('');
      }
    });

    it(`gives unit and bounds for the numbers of ${group}`, () => {
      for (const row of rows) {
        if (row.type === 'integer' || row.type === 'number')
          expect(row.bounds, row.path).toMatch(/^[\d,.]+ to /);
        if (row.path.endsWith('Ms') && row.type !== 'object') expect(row.unit, row.path).toBe('ms');
        if (row.path.endsWith('Bytes')) expect(row.unit, row.path).toBe('bytes');
      }
    });
  }

  it('promises these defaults', () => {
    expect(defaultsOf('task')).toMatchObject({
      queue: 'default',
      priority: 5,
      maxAttempts: 3,
      timeoutMs: 300_000,
      killGraceMs: 1_000,
      'backoff.kind': 'exponential',
      'backoff.baseMs': 1_000,
      'backoff.factor': 2,
      'backoff.capMs': 300_000,
      'backoff.jitter': 'full',
      maxCrashes: 3,
      isolation: 'thread',
      'retentionMs.completed': 86_400_000,
      'retentionMs.dead': 604_800_000,
      'retentionMs.cancelled': 86_400_000,
      startAfterCommit: false,
      sensitive: false,
    });
  });
});

describe('defaults', () => {
  it('of the rules of a task are those of the table', () => {
    const shown = defaultsOf('task');
    for (const [key, value] of Object.entries(DEFAULT_RULES)) {
      if (key !== 'backoff' && key !== 'retentionMs') expect(value).toEqual(shown[key]);
      else for (const [inner, each] of Object.entries(value)) expect(each).toBe(shown[`${key}.${inner}`]);
    }
  });

  it('of the runtime are those of the table and of the host', () => {
    const { 'recycle.tasks': tasks, 'recycle.heapBytes': heapBytes, ...shown } = defaultsOf('runtime');
    const open = openRuntime(REQUIRED) as unknown as Record<string, unknown>;
    for (const [path, value] of Object.entries({
      ...shown,
      ...REQUIRED,
      tasks: ['./tasks.js'],
      threads: 3,
      logger,
      clock,
    })) {
      if (value !== undefined) expect(open[path], path).toEqual(value);
      else expect(open).not.toHaveProperty(path.split('.')[0]!);
    }
    expect(open.recycle).toEqual({ tasks, heapBytes });
  });

  it('of run, result and stop are those of the table', () => {
    expect(validateRunOptions(undefined, 'options')).toEqual({ waitMs: Infinity });
    expect(validateResultOptions(undefined, 'options')).toEqual({ timeoutMs: Infinity });
    expect(validateStopOptions(undefined, 'options')).toEqual(defaultsOf('stop'));
    expect(validateStopOptions({ graceMs: 0 }, 'options')).toEqual({ graceMs: 0, killMs: 1_000 });
  });

  it('of a queue and of a part of the options are filled in, those of its tasks are not', () => {
    const open = openRuntime({ ...REQUIRED, queues: { images: { maxAttempts: 7 } }, recycle: { tasks: 9 } });
    expect(open.queues).toEqual(new Map([['images', { maxAttempts: 7, perThread: 1 }]]));
    expect(open.recycle).toEqual({ tasks: 9, heapBytes: Infinity });
    expect(validateEnqueueOptions({ unique: { key: 'a' } }, 'options').unique).toEqual({
      key: 'a',
      onConflict: 'keep',
    });
  });

  it('stay out of task options, so that layers can be laid over each other', () => {
    expect(validateTaskOptions(undefined, 'options')).toEqual({});
    expect(validateTaskOptions({ maxAttempts: undefined, backoff: { baseMs: 5 } }, 'options')).toEqual({
      backoff: { baseMs: 5 },
    });
  });
});

describe('unknown options', () => {
  const enqueue = (options: object) => validateEnqueueOptions(options, 'options');
  const open = (options: object) => openRuntime({ ...REQUIRED, ...options });
  const CASES: readonly [(options: object) => unknown, object, string, string | undefined][] = [
    [enqueue, { maxAtempts: 1 }, 'maxAtempts', 'maxAttempts'],
    [enqueue, { maxattempts: 1 }, 'maxattempts', 'maxAttempts'],
    [enqueue, { attempts: 1 }, 'attempts', 'maxAttempts'],
    [enqueue, { retries: 1 }, 'retries', 'maxAttempts'],
    [enqueue, { timeout: 1 }, 'timeout', 'timeoutMs'],
    [enqueue, { delay: 1 }, 'delay', 'delayMs'],
    [enqueue, { prioirty: 1 }, 'prioirty', 'priority'],
    [enqueue, { ttl: 1 }, 'ttl', 'staleAt'],
    [enqueue, { backoff: { base: 1 } }, 'backoff.base', 'baseMs'],
    [enqueue, { unique: { key: 'a', onconflict: 'keep' } }, 'unique.onconflict', 'onConflict'],
    [open, { thread: 1 }, 'thread', 'threads'],
    [open, { workers: 1 }, 'workers', 'threads'],
    [open, { queues: { images: { perTread: 1 } } }, 'queues.images.perTread', 'perThread'],
    [open, { queues: { images: { queue: 'x' } } }, 'queues.images.queue', undefined],
    [open, { limits: { perRuntime: { weight: 2 } } }, 'limits.perRuntime.weight', undefined],
    [open, { limits: { tasks: { sum: { limitkey: 'a' } } } }, 'limits.tasks.sum.limitkey', 'limitKey'],
    [open, { queues: { images: { concurrency: 1 } } }, 'queues.images.concurrency', undefined],
    [enqueue, { limitKey: 'a' }, 'limitKey', undefined],
    [enqueue, { tokenBucket: {} }, 'tokenBucket', undefined],
    [enqueue, { concurrency: 1 }, 'concurrency', undefined],
    [enqueue, { isolated: true }, 'isolated', 'isolation'],
    [enqueue, { constructor: 1 }, 'constructor', undefined],
    [enqueue, JSON.parse('{"__proto__":{"priority":9}}'), '__proto__', undefined],
    [enqueue, { ['x'.repeat(10_000)]: 1 }, 'x'.repeat(10_000), undefined],
  ];
  for (const [check, options, path, nearest] of CASES) {
    it(`${path.slice(0, 40)} is refused${nearest === undefined ? '' : `, ${nearest} was meant`}`, () => {
      const refusal = refusalOf(() => check(options));
      expect(refusal).toMatchObject({
        code: 'ERR_MILLRACE_UNKNOWN_OPTION',
        option: `options.${path}`,
        nearest,
      });
      expect(refusal.message).toContain(nearest === undefined ? 'known are' : `did you mean "${nearest}"?`);
    });
  }

  it('are refused where delayMs is no option', () => {
    expect(() => validateTaskOptions({ delayMs: 1 }, 'options')).toThrow('Unknown option "options.delayMs"');
  });
});

describe('objects of options', () => {
  class Options {
    priority = 3;
  }
  const ODD: readonly [string, unknown][] = [
    ['with a prototype of its own', { __proto__: { priority: 9 } }],
    ['of a class', new Options()],
    ['as an array', []],
    ['as null', null],
    ['as a function', noop],
  ];
  for (const [what, options] of ODD) {
    it(`${what} are refused by every check`, () => {
      const checks = [
        validateTaskOptions,
        validateEnqueueOptions,
        validateRunOptions,
        validateResultOptions,
        validateStopOptions,
      ];
      for (const check of checks) {
        expect(refusalOf(() => check(options, 'here'))).toMatchObject({
          code: 'ERR_MILLRACE_INVALID_ARGUMENT',
          argument: 'here',
        });
      }
      expect(refusalOf(() => openRuntime(options))).toMatchObject({ argument: 'options' });
    });
  }

  it('are copied and frozen through and through', () => {
    const given = {
      backoff: { baseMs: 5 },
      notRetryable: ['A'],
      unique: { key: 'a' },
      transfer: [new ArrayBuffer(1)],
    };
    const checked = validateEnqueueOptions(given, 'options');
    given.backoff.baseMs = 6;
    given.notRetryable.push('B');
    expect(checked).toMatchObject({ backoff: { baseMs: 5 }, notRetryable: ['A'] });
    expect(checked.transfer?.[0]).toBe(given.transfer[0]);
    for (const each of [checked, ...Object.values(checked)]) expect(Object.isFrozen(each)).toBe(true);
  });

  it('may have names that every object has', () => {
    const { queues } = openRuntime({ ...REQUIRED, queues: { constructor: { priority: 1 } } });
    expect(queues.get('constructor')).toEqual({ priority: 1, perThread: 1 });
    expect(queues.get('toString')).toBeUndefined();
  });
});

describe('an enqueue', () => {
  it('that says nothing, or only its priority, makes no object', () => {
    for (const options of [undefined, {}, { priority: 0 }, { priority: 'high' as const }]) {
      const first = validateEnqueueOptions(options, 'options');
      expect(first).toEqual(options ?? {});
      expect(Object.isFrozen(first)).toBe(true);
      expect(validateEnqueueOptions({ ...options }, 'options')).toBe(first);
    }
    expect(refusalOf(() => validateEnqueueOptions({ priority: 10 }, 'options'))).toMatchObject({
      argument: 'options.priority',
    });
  });

  it('turns dates and fractions into whole epoch milliseconds, never earlier', () => {
    expect(validateEnqueueOptions({ delayMs: 1.2, staleAt: new Date(7) }, 'options')).toEqual({
      delayMs: 2,
      staleAt: 7,
    });
    expect(validateEnqueueOptions({ runAt: 6.5, staleAt: 7 }, 'options')).toEqual({ runAt: 7, staleAt: 7 });
  });

  it('cannot name two instants to begin, or be stale before it begins', () => {
    const both = refusalOf(() => validateEnqueueOptions({ delayMs: 1, runAt: 1 }, 'options'));
    expect(both).toMatchObject({
      argument: 'options.runAt',
      message: 'options.runAt must be absent where delayMs is given',
    });
    expect(refusalOf(() => validateEnqueueOptions({ runAt: 5, staleAt: 4 }, 'options'))).toMatchObject({
      argument: 'options.staleAt',
    });
    expect(refusalOf(() => validateRunOptions({ delayMs: 1, runAt: 1 }, 'options'))).toMatchObject({
      argument: 'options.runAt',
    });
  });
});

describe('openRuntime', () => {
  for (const missing of ['backend', 'tasks'] as const) {
    it(`must be given ${missing}`, () => {
      const refusal = refusalOf(() => openRuntime({ ...REQUIRED, [missing]: undefined }));
      expect(refusal).toMatchObject({
        code: 'ERR_MILLRACE_INVALID_ARGUMENT',
        argument: `options.${missing}`,
      });
      expect(refusal.message).toContain('must be given: a URL or a string');
    });
  }

  it('asks the host for threads only when none are given', () => {
    const never = () => expect.fail('asked');
    expect(validateRuntimeOptions({ ...REQUIRED, threads: 7 }, { ...host, threads: never }).threads).toBe(7);
  });
});

describe('checkName', () => {
  it('returns a good name and says of what kind a bad one is', () => {
    expect(checkName('task', 'images.small')).toBe('images.small');
    expect(() => checkName('schedule', 'a b')).toThrow('A schedule name must be');
    expect(refusalOf(() => checkName('task', '\u001b[31m'))).toMatchObject({
      code: 'ERR_MILLRACE_INVALID_NAME',
    });
  });
});
