/** `openTestRuntime`: what users test their own tasks with. */
import { afterEach, describe, expect, it } from 'vitest';
import { openTestRuntime, type TestRuntimeOptions } from '#src/testing/index.js';
import { fixture, rejection } from './harness.js';

const open = new Set<{ stop: (options: object) => Promise<unknown> }>();
afterEach(async () => {
  for (const runtime of open) await runtime.stop({ graceMs: 0, killMs: 0 });
  open.clear();
});

const calls: unknown[] = [];
const tasks = {
  double: (n: number): number => n * 2,
  pidOf: (): number => process.pid,
  flaky: (_payload: undefined, { attempt }: { attempt: number }): number => {
    calls.push(attempt);
    if (attempt < 3) throw new RangeError(`attempt ${attempt}`);
    return attempt;
  },
  parent: (n: number, { enqueue }: { enqueue: (name: string, payload: unknown) => void }): number => {
    if (n > 0) enqueue('parent', n - 1);
    return n;
  },
  sleeps: (_payload: undefined, { signal }: { signal: AbortSignal }): Promise<never> =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
};

async function openTest(options: Partial<TestRuntimeOptions<typeof tasks>> = {}) {
  const runtime = await openTestRuntime<typeof tasks>({ tasks, ...options });
  open.add(runtime);
  return runtime;
}

describe('a test runtime', () => {
  it('runs on its own thread what would run in a child process', async () => {
    const runtime = await openTest();
    await runtime.enqueue('pidOf', undefined, { isolation: 'process' });
    expect(await runtime.runNext()).toMatchObject({ state: 'completed', result: process.pid });
  });

  it('runs nothing by itself, and with `runNext` exactly one task', async () => {
    const runtime = await openTest();
    const first = await runtime.enqueue('double', 1);
    const second = await runtime.enqueue('double', 2, { priority: 'high' });
    expect([await first.state(), await second.state()]).toEqual(['ready', 'ready']);
    expect(await runtime.runNext()).toMatchObject({
      id: second.id,
      state: 'completed',
      result: 4,
      priority: 7,
    });
    expect([await first.state(), await second.state()]).toEqual(['ready', 'completed']);
    expect(await runtime.runNext()).toMatchObject({ id: first.id, state: 'completed', result: 2 });
    expect(await runtime.runNext()).toBeUndefined();
    expect(await first.result()).toBe(2);
  });

  it('gives the result to who waits for it', async () => {
    const runtime = await openTest();
    const waiting = runtime.run('double', 21);
    expect(await runtime.runNext()).toMatchObject({ state: 'completed' });
    expect(await waiting).toBe(42);
  });

  it('lets time pass only when told to: delays, retries, retention', async () => {
    const runtime = await openTest({ now: new Date('2030-05-05T05:05:05Z'), random: () => 0.5 });
    const handle = await runtime.enqueue('flaky', undefined, {
      delayMs: 3_600_000,
      retentionMs: { completed: 60_000 },
    });
    expect(await runtime.runNext()).toBeUndefined();
    await runtime.advance(3_599_999);
    expect(await runtime.runNext()).toBeUndefined();
    await runtime.advance(1);
    calls.length = 0;
    // Full jitter of 1 s, then of 2 s, at 0.5.
    const now = Date.UTC(2030, 4, 5, 6, 5, 5);
    expect(await runtime.runNext()).toMatchObject({
      state: 'scheduled',
      failures: 1,
      nextAttemptAt: now + 500,
    });
    await runtime.advance(500);
    expect(await runtime.runNext()).toMatchObject({ state: 'scheduled', nextAttemptAt: now + 1_500 });
    await runtime.advance(1_000);
    expect(await runtime.runNext()).toMatchObject({ state: 'completed', result: 3, settledAt: now + 1_500 });
    expect(calls).toEqual([1, 2, 3]);
    await runtime.advance(62_000);
    expect(await rejection(handle.result())).toMatchObject({ code: 'ERR_MILLRACE_RESULT_EXPIRED' });
  });

  it('has the same jitter for the same seed', async () => {
    const next: (number | undefined)[] = [];
    for (const random of [7, 7, 8]) {
      const runtime = await openTest({ random });
      await runtime.enqueue('flaky', undefined);
      next.push((await runtime.runNext())?.nextAttemptAt);
    }
    expect(next[0]).toBe(next[1]);
    expect(next[0]).not.toBe(next[2]);
  });

  it('fires schedules, each fire at its time, whatever the step', async () => {
    const runtime = await openTest();
    const begin = runtime.clock.now();
    await runtime.schedule('hourly', { everyMs: 3_600_000 }, 'double', 1);
    await runtime.schedule('once', { at: begin + 90 * 60_000 }, 'double', 2);
    await runtime.advance(3_599_999);
    expect(await runtime.runNext()).toBeUndefined();
    await runtime.advance(1 + 2 * 3_600_000);
    const { tasks } = await runtime.list({ state: 'ready' });
    expect(tasks.map(({ schedule, createdAt }) => [schedule?.id, createdAt - begin])).toEqual([
      ['hourly', 3_600_000],
      ['once', 90 * 60_000],
      ['hourly', 2 * 3_600_000],
      ['hourly', 3 * 3_600_000],
    ]);
    expect((await runtime.runAll()).map(({ result }) => result)).toEqual([2, 4, 2, 2]);
    await runtime.schedules.delete('hourly');
    await runtime.advance(86_400_000);
    expect(await runtime.runNext()).toBeUndefined();
  });

  it('ends a handler at its deadline when the clock gets there', async () => {
    const runtime = await openTest();
    await runtime.enqueue('sleeps', undefined, { timeoutMs: 30_000, maxAttempts: 1 });
    const ended = runtime.runNext();
    await new Promise(setImmediate);
    await runtime.advance(30_000);
    expect(await ended).toMatchObject({ state: 'dead', reason: 'timed-out' });
  });

  it('runs what a task enqueues, with `runAll` until nothing is left', async () => {
    const runtime = await openTest();
    await runtime.enqueue('parent', 4);
    const all = await runtime.runAll();
    expect(all.map(({ state, result }) => [state, result])).toEqual(
      [4, 3, 2, 1, 0].map((n) => ['completed', n]),
    );
    await runtime.enqueue('parent', 4);
    expect((await runtime.runAll(2)).length).toBe(2);
    expect((await runtime.runAll()).length).toBe(3);
  });

  it('lists the settled tasks of a name in the order in which they were settled', async () => {
    const runtime = await openTest();
    const cancelled = await runtime.enqueue('double', 1);
    await runtime.enqueue('double', 2);
    await runtime.enqueue('parent', 0);
    runtime.planFailure('double', Object.assign(new Error('planned'), { retryable: false }));
    await runtime.enqueue('double', 3, { priority: 9 });
    expect(await runtime.settled('double')).toEqual([]);
    await runtime.runNext();
    await cancelled.cancel();
    await runtime.runAll();
    const settled = await runtime.settled('double');
    // A completed task keeps its result, not its payload.
    expect(settled.map(({ payload, result, state }) => [payload ?? result, state])).toEqual([
      [3, 'dead'],
      [1, 'cancelled'],
      [4, 'completed'],
    ]);
    expect((await runtime.settled('parent')).length).toBe(1);
  });

  it('plans failures, crashes and deadlines without calling the handler', async () => {
    const runtime = await openTest();
    const planned = Object.assign(new TypeError('planned'), { code: 'E_PLANNED' });
    runtime.planFailure('double', planned, 2);
    runtime.planFailure('double', 'crash');
    runtime.planFailure('double', 'timeout');
    const backoff = { kind: 'fixed', baseMs: 0, jitter: 'none' } as const;
    const handle = await runtime.enqueue('double', 4, { maxAttempts: 5, backoff });
    const outcomes: (string | undefined)[] = [];
    for (let attempt = 1; attempt <= 5; attempt++) {
      outcomes.push((await runtime.runNext())?.attempts.at(-1)?.outcome);
      await runtime.advance(0);
    }
    expect(outcomes).toEqual(['failed', 'failed', 'crashed', 'timed-out', 'completed']);
    expect(await handle.result()).toBe(8);
    const info = (await runtime.get(handle.id))!;
    expect(info).toMatchObject({ failures: 3, crashes: 1 });
    expect(info.attempts[0]!.error).toMatchObject({
      name: 'TypeError',
      message: 'planned',
      code: 'E_PLANNED',
    });
  });

  it('keeps pauses, queues, hooks, schemas, unique keys and stale tasks as openRuntime does', async () => {
    const runtime = await openTest({
      queues: { slow: { maxAttempts: 1 } },
      hooks: { flaky: { backoff: () => 77 } },
    });
    await runtime.pause('default');
    await runtime.enqueue('double', 1);
    expect(await runtime.runNext()).toBeUndefined();
    expect(await runtime.enqueue('flaky', undefined, { queue: 'slow' })).toBeDefined();
    expect(await runtime.runNext()).toMatchObject({ state: 'dead', queue: 'slow' });
    await runtime.resume('default');
    expect(await runtime.runNext()).toMatchObject({ result: 2 });
    await runtime.enqueue('flaky', undefined);
    expect((await runtime.runNext())!.nextAttemptAt).toBe(runtime.clock.now() + 77);
    const stale = await runtime.enqueue('double', 1, { staleAt: runtime.clock.now() + 5 });
    await runtime.advance(5);
    expect(await runtime.runNext()).toBeUndefined();
    expect(await stale.state()).toBe('cancelled');
  });

  it('takes a module by URL, also several', async () => {
    const runtime = await openTestRuntime({ tasks: fixture('runtime-tasks') });
    open.add(runtime);
    const sum = runtime.run('sum', [1, 2]);
    await runtime.runNext();
    expect(await sum).toBe(3);
    const both = await openTestRuntime({ tasks: [fixture('runtime-more-tasks'), tasks] });
    open.add(both);
    const results = [both.run('late', 2), both.run('double', 3)];
    await both.runAll();
    expect(await Promise.all(results)).toEqual([4, 6]);
  });

  it('leaves a name that nobody handles waiting', async () => {
    const runtime = await openTestRuntime({ tasks: fixture('runtime-tasks') });
    open.add(runtime);
    const handle = await runtime.enqueue('late', 2);
    expect(await runtime.runNext()).toBeUndefined();
    await runtime.register(fixture('runtime-more-tasks'));
    expect(await runtime.runNext()).toMatchObject({ id: handle.id, result: 4 });
  });

  it.each<[what: string, call: () => Promise<unknown>, code: string]>([
    ['an unknown option', () => openTest({ thread: 1 } as never), 'UNKNOWN_OPTION'],
    ['no tasks', () => openTest({ tasks: undefined as never }), 'INVALID_ARGUMENT'],
    ['a module that is not there', () => openTestRuntime({ tasks: './nope.js' }), 'TASKS_MODULE'],
    ['a module without handlers', () => openTestRuntime({ tasks: { a: 1 } }), 'TASKS_MODULE'],
    ['a step back in time', async () => (await openTest()).advance(-1), 'INVALID_ARGUMENT'],
    ['no time at all', async () => (await openTest()).advance(Number.NaN), 'INVALID_ARGUMENT'],
    ['no failure', async () => (await openTest()).planFailure('double', 'x' as never), 'INVALID_ARGUMENT'],
    ['no times', async () => (await openTest()).planFailure('double', 'crash', 0), 'INVALID_ARGUMENT'],
    ['a bad name', async () => (await openTest()).settled('a/b'), 'INVALID_NAME'],
  ])('refuses %s', async (_what, call, code) => {
    expect(await rejection(call())).toMatchObject({ code: `ERR_MILLRACE_${code}` });
  });

  it('stops though a handler does not hear of it and no time passes', async () => {
    let begun!: () => void;
    const isBegun = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const deaf = (): Promise<never> => new Promise(() => begun());
    const runtime = await openTestRuntime({ tasks: { deaf } });
    await runtime.enqueue('deaf', undefined);
    const run = runtime.runNext();
    await isBegun;
    expect(await runtime.stop({ graceMs: 0, killMs: 1 })).toMatchObject({ released: 1, lostThreads: 1 });
    // Both wait for the thread to be quiet.
    expect(await run).toMatchObject({ name: 'deaf', state: 'ready' });
  });

  it('runs nothing more after its stop', async () => {
    const runtime = await openTest();
    await runtime.enqueue('double', 1);
    await runtime.stop();
    expect(await rejection(runtime.runNext())).toMatchObject({ code: 'ERR_MILLRACE_STOPPED' });
  });
});
