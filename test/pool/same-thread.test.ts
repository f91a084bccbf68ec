/** The pool on the host's own thread: the same outcomes, in one order, on a clock that a test moves. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '#src/clock.js';
import { createSameThreadPool, type SameThreadPoolOptions } from '#src/pool/same-thread.js';
import { setup, type TaskContext, task } from '#src/task-module.js';
import { errorOf, fixture, resultOf, TestPool } from './harness.js';

const START = Date.UTC(2026, 0, 1);

async function openLocal(
  modules: SameThreadPoolOptions['modules'],
  options: Partial<SameThreadPoolOptions> = {},
): Promise<{ pool: TestPool; clock: ManualClock }> {
  const clock = new ManualClock(START);
  const pool = new TestPool(createSameThreadPool({ modules, clock, ...options }), 'thread');
  await pool.start();
  return { pool, clock };
}

/** Lets everything happen that needs no time. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('the same-thread pool', () => {
  it('takes modules by URL or as they are, and has one slot', async () => {
    const { pool } = await openLocal([
      fixture('tasks-modules/more'),
      { double: (payload: number) => payload * 2 },
    ]);
    expect(pool.pool.handlers.map((each) => each.name)).toEqual(['more', 'double']);
    expect(pool.pool.slots).toHaveLength(1);
    expect(await pool.result({ name: 'more', payload: 2 })).toBe(20);
    expect(await pool.result({ name: 'double', payload: 2 })).toBe(4);
  });

  it('refuses a bad module as the other does', async () => {
    await expect(openLocal([{}])).rejects.toMatchObject({ code: 'ERR_MILLRACE_TASKS_MODULE' });
    await expect(openLocal([fixture('tasks-modules/throws')])).rejects.toThrow('refuses to load');
  });

  it('gives handlers copies, as a thread does', async () => {
    const seen: unknown[] = [];
    const { pool } = await openLocal([{ keep: (payload: unknown) => void seen.push(payload) }]);
    const payload = { list: [1] };
    await pool.run({ name: 'keep', payload });
    expect(seen).toEqual([payload]);
    expect(seen[0]).not.toBe(payload);
  });

  it('keeps errors, logs, progress and enqueues as the other does', async () => {
    const { pool } = await openLocal([fixture('tasks')]);
    expect(errorOf(await pool.run({ name: 'throwing', payload: 'rich' }))).toMatchObject({ code: 'E_RICH' });
    const said = await pool.run({ name: 'chatty', payload: { lines: 150, length: 4 } });
    expect(said.extras?.logs).toHaveLength(101);
    expect(said.extras?.logs?.[0]?.at).toBe(START);
    const counted = await pool.run({ name: 'counting', payload: 50 });
    expect(counted.extras).toEqual({ progress: 50 });
    const enqueuing = await pool.run({ name: 'enqueuing', payload: { now: false } });
    expect(enqueuing.extras?.enqueue?.map((each) => each.name)).toEqual(['noop', 'later']);
    expect(await pool.result({ name: 'enqueuing', payload: { now: true } })).toBe('an id');
  });

  it('runs setups and stops them', async () => {
    const events: string[] = [];
    const prepared = setup(() => ({ app: 'the app', stop: () => void events.push('stopped') }));
    const name = (_payload: unknown, { app }: TaskContext<string>) => app;
    const { pool } = await openLocal([{ prepared, name }]);
    expect(await pool.result({ name: 'name' })).toBe('the app');
    expect(await pool.pool.stop(0)).toEqual({ lostThreads: 0 });
    expect(events).toEqual(['stopped']);
  });

  it('calls services with copies', async () => {
    const given: unknown[] = [];
    const services = {
      add: (_call: unknown, a: number, b: number) => a + b,
      gate: (...args: unknown[]) => void given.push(args),
    };
    const { pool } = await openLocal([fixture('tasks')], { services });
    expect(await pool.result({ name: 'calling', payload: 'add' })).toBe(3);
    await expect(pool.result({ name: 'calling', payload: 'missing' })).rejects.toMatchObject({
      code: 'ERR_MILLRACE_UNSUPPORTED',
    });
  });

  it('measures on the clock it was given', async () => {
    let end = () => {};
    const wait = () =>
      new Promise<void>((resolve) => {
        end = resolve;
      });
    const { pool, clock } = await openLocal([{ wait }]);
    clock.advance(500);
    pool.hand([{ token: 'a', name: 'wait' }]);
    await settle();
    clock.advance(250);
    end();
    expect(await pool.finishedItem('a')).toMatchObject({ startedAt: START + 500, runMs: 250 });
  });

  it('aborts at the deadline exactly, by flag and signal', async () => {
    const reasons: unknown[] = [];
    const wait = async (_payload: unknown, context: TaskContext) => {
      await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
      reasons.push(context.isAborted(), (context.signal.reason as Error).name);
    };
    const { pool, clock } = await openLocal([{ wait }]);
    pool.hand([{ token: 'a', name: 'wait', timeoutMs: 1_000 }]);
    await settle();
    clock.advance(999);
    await settle();
    expect(reasons).toEqual([]);
    clock.advance(1);
    const { outcome, runMs } = await pool.finishedItem('a');
    expect(outcome).toEqual({ kind: 'aborted', reason: 'timed-out', threadKilled: false });
    expect(runMs).toBe(1_000);
    expect(reasons).toEqual([true, 'TimeoutError']);
  });

  it('counts as lost with a handler that does not listen, and goes on', async () => {
    const never = task(() => new Promise(() => {}), { timeoutMs: 10 });
    const { pool, clock } = await openLocal([{ never, noop: (payload: unknown) => payload }]);
    pool.hand([
      { token: 'a', name: 'never', timeoutMs: 100, killGraceMs: 50 },
      { token: 'b', name: 'noop' },
    ]);
    await settle();
    clock.advance(100);
    clock.advance(50);
    expect((await pool.finishedItem('b')).outcome).toEqual({
      kind: 'released',
      started: false,
      suspect: false,
    });
    clock.advance(1_000);
    await pool.event('lost');
    await pool.event('ready', 2);
    expect(resultOf(await pool.run({ name: 'noop', payload: 'on' }))).toBe('on');
    expect(pool.items.some((each) => each.token === 'a')).toBe(false);
  });

  it('takes items back', async () => {
    const { pool } = await openLocal([{ noop: (payload: unknown) => payload }]);
    const batch = pool.hand([
      { token: 'a', name: 'noop' },
      { token: 'b', name: 'noop' },
    ]);
    expect(batch.recall(1)).toBe(true);
    await pool.until(() => pool.slot.batches.length === 0);
    expect(pool.items.map((each) => each.token)).toEqual(['a']);
  });

  it('always does the same in the same order', async () => {
    const order = async () => {
      const calls: string[] = [];
      const { pool } = await openLocal([fixture('tasks')]);
      pool.onCall = (method) => calls.push(`${method} ${pool.items.length}`);
      pool.hand(['counting', 'noop', 'enqueuing', 'noop'].map((name) => ({ name, payload: { now: false } })));
      pool.hand([{ name: 'noop' }]);
      await pool.until(() => pool.items.length === 5);
      return calls;
    };
    expect(await order()).toEqual(await order());
  });
});
