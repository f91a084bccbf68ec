/** What a handler can do through its context. */
import { describe, expect, it } from 'vitest';
import { decodeValue } from '#src/task/codec.js';
import { errorOf, Gate, ISOLATIONS, openPool, resultOf, TASK_ID } from './harness.js';

describe.each(ISOLATIONS)('context (%s)', (isolation) => {
  it('says which task, which name and which attempt', async () => {
    const pool = await openPool({ isolation });
    expect(await pool.result({ name: 'about', attempt: 3 })).toEqual({
      taskId: TASK_ID,
      name: 'about',
      attempt: 3,
      isAborted: false,
      isSignalAborted: false,
    });
  });
});

describe.each(ISOLATIONS)('context.log (%s)', (isolation) => {
  it('is heard at once and kept with the outcome', async () => {
    const gate = new Gate();
    const pool = await openPool({ isolation, services: gate.services });
    const { outcome, extras } = await pool.run({ name: 'chatty', payload: { lines: 3, length: 4 } });
    expect(outcome.kind).toBe('completed');
    expect(extras?.logs?.map((each) => each.message)).toEqual(['0 ää', '1 ää', '2 ää']);
    expect(pool.logged.map(({ at, message }) => ({ at, message }))).toEqual(extras?.logs);
  });

  it('keeps 100 lines and then a count of the others', async () => {
    const pool = await openPool({ isolation });
    const { extras } = await pool.run({ name: 'chatty', payload: { lines: 250, length: 4 } });
    expect(extras?.logs).toHaveLength(101);
    expect(extras?.logs?.at(-1)?.message).toBe('… 150 more lines were dropped');
  });

  it('cuts a line at 2 KiB, not inside a character', async () => {
    const pool = await openPool({ isolation });
    for (const length of [1_025, 1_026, 5_000, 100_000]) {
      const { extras } = await pool.run({ name: 'chatty', payload: { lines: 1, length } });
      const line = extras!.logs![0]!.message;
      expect(Buffer.byteLength(line)).toBeLessThanOrEqual(2_048);
      expect(Buffer.byteLength(line)).toBeGreaterThan(2_043);
      expect(line).toMatch(length > 1_025 ? /^0 ä+…$/ : /^0 ä+$/);
    }
  });
});

describe.each(ISOLATIONS)('context.progress (%s)', (isolation) => {
  it('is heard at most ten times a second, and the last value always', async () => {
    const pool = await openPool({ isolation });
    const { extras, runMs } = await pool.run({ name: 'counting', payload: 100_000 });
    expect(extras?.progress).toBe(100_000);
    const values = pool.progressed.map((each) => each.value);
    expect(values[0]).toBe(1);
    expect(values.at(-1)).toBe(100_000);
    expect(values.length).toBeLessThanOrEqual(3 + runMs / 100);
  });

  it('refuses what is not plain data, in the handler', async () => {
    const pool = await openPool({ isolation });
    const item = await pool.run({ name: 'badProgress' });
    expect(errorOf(item)).toMatchObject({ code: 'ERR_MILLRACE_NOT_ENCODABLE', fields: { path: 'callback' } });
  });
});

describe.each(ISOLATIONS)('context.snooze (%s)', (isolation) => {
  for (const name of ['snoozing', 'forgetfulSnooze']) {
    it(`puts the task off: ${name}`, async () => {
      const pool = await openPool({ isolation });
      expect((await pool.run({ name, payload: 5_000 })).outcome).toEqual({ kind: 'snoozed', delayMs: 5_000 });
      const year = 31_536_000_000;
      expect((await pool.run({ name, payload: year })).outcome).toEqual({ kind: 'snoozed', delayMs: year });
    });
  }

  for (const ms of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 31_536_000_001]) {
    it(`refuses ${ms}`, async () => {
      const pool = await openPool({ isolation });
      await expect(pool.result({ name: 'snoozing', payload: ms })).rejects.toMatchObject({
        code: 'ERR_MILLRACE_INVALID_ARGUMENT',
      });
    });
  }
});

describe.each(ISOLATIONS)('context.enqueue (%s)', (isolation) => {
  it('goes with the completion', async () => {
    const pool = await openPool({ isolation });
    const { outcome, extras } = await pool.run({ name: 'enqueuing', payload: { now: false } });
    expect(outcome.kind).toBe('completed');
    const requests = extras?.enqueue?.map(({ name, body, options }) => ({
      name,
      body: decodeValue(body),
      options,
    }));
    expect(requests).toEqual([
      { name: 'noop', body: { from: 'handler' }, options: { priority: 7 } },
      { name: 'later', body: 2, options: {} },
    ]);
    expect(pool.enqueued).toEqual([]);
  });

  it('goes with nothing else', async () => {
    const pool = await openPool({ isolation });
    const { outcome, extras } = await pool.run({ name: 'enqueuing', payload: { now: false, fail: true } });
    expect(outcome.kind).toBe('failed');
    expect(extras).toBeUndefined();
  });

  it('with now: true is done at once and gives the id', async () => {
    const pool = await openPool({ isolation });
    expect(await pool.result({ token: 'a', name: 'enqueuing', payload: { now: true } })).toBe('an id');
    expect(pool.enqueued).toMatchObject([
      { token: 'a', request: { name: 'noop', options: { priority: 7 } } },
    ]);
  });

  it('with now: true rejects with the error of the host', async () => {
    const pool = await openPool({ isolation });
    pool.answerEnqueue = () =>
      Promise.reject(Object.assign(new Error('full'), { code: 'ERR_MILLRACE_QUEUE_FULL' }));
    await expect(pool.result({ name: 'enqueuing', payload: { now: true } })).rejects.toMatchObject({
      message: 'full',
      code: 'ERR_MILLRACE_QUEUE_FULL',
    });
    pool.answerEnqueue = () => {
      throw new Error('at once');
    };
    await expect(pool.result({ name: 'enqueuing', payload: { now: true } })).rejects.toThrow('at once');
  });

  it('refuses unknown options in the handler', async () => {
    const pool = await openPool({ isolation });
    await expect(pool.result({ name: 'badEnqueue' })).rejects.toMatchObject({
      code: 'ERR_MILLRACE_UNKNOWN_OPTION',
      nearest: 'priority',
    });
  });
});

describe.each(ISOLATIONS)('context.services (%s)', (isolation) => {
  const services = {
    add: (_call: unknown, a: number, b: number) => a + b,
    deep: {
      factor: 10,
      async multiply(this: { factor: number }, _call: unknown, a: number, b: number) {
        return this.factor * a * b;
      },
    },
    whoami: ({ taskId }: { taskId: string }) => taskId,
    fail: () => Promise.reject(Object.assign(new RangeError('no'), { code: 'E_NO', detail: 5 })),
    unclonable: () => () => {},
    constant: 5,
  };

  it('calls functions of the host, with `this` and with who calls', async () => {
    const pool = await openPool({ isolation, services });
    expect(await pool.result({ name: 'calling', payload: 'add' })).toBe(3);
    expect(await pool.result({ name: 'calling', payload: 'deep.multiply' })).toBe(20);
    expect(await pool.result({ name: 'calling', payload: 'whoami' })).toBe(TASK_ID);
  });

  it('rejects with the error of the host, whole', async () => {
    const pool = await openPool({ isolation, services });
    const item = await pool.run({ name: 'calling', payload: 'fail' });
    expect(errorOf(item)).toMatchObject({
      name: 'RangeError',
      message: 'no',
      code: 'E_NO',
      fields: { detail: 5 },
    });
    await expect(pool.result({ name: 'calling', payload: 'unclonable' })).rejects.toThrow();
    expect(await pool.result({ name: 'calling', payload: 'add' })).toBe(3);
  });

  for (const path of [
    'missing',
    'constant',
    'deep.factor.toFixed',
    'add.constructor',
    '__proto__.toString',
    'add.call',
  ]) {
    it(`has no ${path}`, async () => {
      const pool = await openPool({ isolation, services });
      await expect(pool.result({ name: 'calling', payload: path })).rejects.toMatchObject({
        code: 'ERR_MILLRACE_UNSUPPORTED',
      });
    });
  }

  it('is refused when the pool was given none', async () => {
    const pool = await openPool({ isolation, services: {} });
    await expect(pool.result({ name: 'calling', payload: 'add' })).rejects.toMatchObject({
      code: 'ERR_MILLRACE_UNSUPPORTED',
    });
  });

  const ENDS = [
    { end: 'the task is aborted', outcome: { kind: 'aborted', reason: 'cancelled' } },
    { end: 'its thread is terminated', outcome: { kind: 'aborted', reason: 'timed-out' }, timeoutMs: 40 },
  ];
  for (const { end, outcome, timeoutMs = 60_000 } of ENDS) {
    it(`aborts the signal of a pending call when ${end}`, async () => {
      let signal: AbortSignal | undefined;
      const gate = (call: { signal: AbortSignal }) => {
        signal = call.signal;
        return new Promise(() => {});
      };
      const pool = await openPool({ isolation, services: { gate } });
      const batch = pool.hand([{ token: 'a', name: 'gated', timeoutMs, killGraceMs: 10 }]);
      await pool.begun('a');
      if (timeoutMs > 1_000) batch.abort(0, 'cancelled');
      expect((await pool.finishedItem('a')).outcome).toMatchObject(outcome);
      expect(signal?.aborted).toBe(true);
    });
  }

  it('aborts the signal of a call that the handler did not wait for', async () => {
    const signals: AbortSignal[] = [];
    const add = (call: { signal: AbortSignal }) => {
      signals.push(call.signal);
      return 1;
    };
    const pool = await openPool({ isolation, services: { add } });
    expect(resultOf(await pool.run({ name: 'calling', payload: 'add' }))).toBe(1);
    expect(signals.map((each) => each.aborted)).toEqual([true]);
  });
});
