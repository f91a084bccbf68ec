/** Attempts, the waits between them, and what becomes of tasks that have no attempt left. */
import { describe, expect, it } from 'vitest';
import { ManualClock, type TaskInfo } from '#src/index.js';
import {
  BACKENDS,
  type BackendKind,
  freshBackend,
  nextEvent,
  open,
  rejection,
  type TestOptions,
  type TestRuntime,
} from './harness.js';

async function openAt(kind: BackendKind | string, options: TestOptions = {}) {
  const clock = new ManualClock();
  const runtime = await open(kind, { threads: 1, clock, ...options });
  return { clock, runtime };
}

/** Runs a failing task to its end, moving the clock to each next attempt; the waits between attempts. */
async function waits(runtime: TestRuntime, clock: ManualClock, options: object): Promise<readonly number[]> {
  const between: number[] = [];
  const events = runtime.events({ kinds: ['retrying', 'dead'] });
  await runtime.enqueue('fails', {}, options);
  for await (const event of events) {
    if (event.kind !== 'retrying') break;
    const waitMs = event.nextAttemptAt - clock.now();
    between.push(waitMs);
    clock.advance(waitMs);
  }
  return between;
}

describe.each(BACKENDS)('a retry (%s)', (kind) => {
  const BACKOFFS: readonly [what: string, backoff: object, expected: readonly number[]][] = [
    ['fixed', { kind: 'fixed', baseMs: 700, jitter: 'none' }, [700, 700, 700, 700]],
    ['linear', { kind: 'linear', baseMs: 700, jitter: 'none' }, [700, 1_400, 2_100, 2_800]],
    ['exponential', { kind: 'exponential', baseMs: 700, jitter: 'none' }, [700, 1_400, 2_800, 5_600]],
    ['by three', { kind: 'exponential', baseMs: 1, factor: 3, jitter: 'none' }, [1, 3, 9, 27]],
    ['capped', { kind: 'exponential', baseMs: 100, capMs: 250, jitter: 'none' }, [100, 200, 250, 250]],
    ['at once', { kind: 'fixed', baseMs: 0, jitter: 'none' }, [0, 0, 0, 0]],
  ];
  it('waits as its backoff says', async () => {
    const { clock, runtime } = await openAt(kind);
    for (const [what, backoff, expected] of BACKOFFS) {
      const waited = await waits(runtime, clock, { maxAttempts: 5, backoff });
      expect({ what, waited }).toEqual({ what, waited: expected });
    }
  });

  it('waits a random time within the bounds of full and equal jitter', async () => {
    const { clock, runtime } = await openAt(kind);
    const full = await waits(runtime, clock, {
      maxAttempts: 20,
      backoff: { kind: 'fixed', baseMs: 100_000, jitter: 'full' },
    });
    expect(Math.max(...full)).toBeLessThanOrEqual(100_000);
    expect(new Set(full).size).toBeGreaterThan(15);
    const equal = await waits(runtime, clock, {
      maxAttempts: 20,
      backoff: { kind: 'fixed', baseMs: 100_000, jitter: 'equal' },
    });
    expect(Math.min(...equal)).toBeGreaterThanOrEqual(50_000);
  });

  it('waits as the host’s hook says, and as the policy says where the hook fails', async () => {
    const asked: unknown[] = [];
    const answers = [5, 0.5, Number.NaN, -1, 'x', new Error('broken hook')];
    const { clock, runtime } = await openAt(kind, {
      hooks: {
        fails: {
          backoff: (attempt, error) => {
            asked.push([attempt, error?.message]);
            const answer = answers[attempt - 1];
            if (answer instanceof Error) throw answer;
            return answer as number;
          },
        },
      },
    });
    const backoff = { kind: 'fixed', baseMs: 40, jitter: 'none' };
    expect(await waits(runtime, clock, { maxAttempts: 7, backoff })).toEqual([5, 1, 40, 40, 40, 40]);
    expect(asked.slice(0, 2)).toEqual([
      [1, 'attempt 1'],
      [2, 'attempt 2'],
    ]);
  });

  it('is not before its time, counted, shown, and carries the error of the attempt before', async () => {
    const { clock, runtime } = await openAt(kind);
    const backoff = { kind: 'fixed', baseMs: 1_000, jitter: 'none' } as const;
    const retrying = nextEvent(runtime, 'retrying');
    const handle = await runtime.enqueue('fails', { until: 2, error: 'payment' }, { backoff });
    const { nextAttemptAt } = await retrying;
    expect(nextAttemptAt).toBe(clock.now() + 1_000);
    clock.advance(999);
    expect(await runtime.run('sum', [1])).toBe(1);
    const info = await runtime.get(handle.id);
    expect(info).toMatchObject({ state: 'scheduled', failures: 1, crashes: 0, nextAttemptAt });
    expect(info!.attempts[0]).toMatchObject({
      attempt: 1,
      outcome: 'failed',
      error: { name: 'PaymentError' },
    });
    expect((await runtime.counts()).get('default')).toMatchObject({ scheduled: 1, retrying: 1 });
    clock.advance(1);
    expect(await handle.result()).toBe(2);
    expect((await runtime.get(handle.id))!.attempts.map(({ outcome }) => outcome)).toEqual([
      'failed',
      'completed',
    ]);
    expect((await runtime.counts()).get('default')).toMatchObject({
      scheduled: 0,
      retrying: 0,
      completed: 2,
    });
  });

  const POINTLESS: readonly [what: string, error: string, options: object][] = [
    ['NotRetryableError', 'final', {}],
    ['an own `retryable: false`', 'own', {}],
    ['a name in `notRetryable`', 'payment', { notRetryable: ['PaymentError'] }],
    ['a code in `notRetryable`', 'payment', { notRetryable: ['E_CARD'] }],
  ];
  it('does not follow on an error that makes it pointless', async () => {
    const { runtime } = await openAt(kind);
    for (const [what, error, options] of POINTLESS) {
      const handle = await runtime.enqueue('fails', { error }, options);
      const { code, reason } = await rejection(handle.result());
      expect({ what, code, reason }).toEqual({
        what,
        code: 'ERR_MILLRACE_TASK_DEAD',
        reason: 'not-retryable',
      });
      expect((await runtime.get(handle.id))!.attempts.length).toBe(1);
    }
  });

  it('does not follow on a payload that the task’s own schema refuses', async () => {
    const { runtime } = await openAt(kind);
    expect(await runtime.run('strict', { n: 5 })).toBe(5);
    const error = await rejection(runtime.run('strict', { n: 'five' } as never));
    expect(error).toMatchObject({ reason: 'invalid-payload' });
    expect(error.cause).toMatchObject({ code: 'ERR_MILLRACE_INVALID_PAYLOAD' });
    expect((error.cause as Error).message).toContain('at n: must be a number');
  });

  it.each(['function', 'huge'] as const)(
    'does not follow on a result that cannot be kept: %s',
    async (what) => {
      const { runtime } = await openAt(kind);
      const error = await rejection(runtime.run('wrong', what));
      expect(error).toMatchObject({ reason: 'not-retryable' });
      const expected =
        what === 'function'
          ? { code: 'ERR_MILLRACE_NOT_ENCODABLE', path: 'list[1].call' }
          : { code: 'ERR_MILLRACE_TOO_LARGE', maxBytes: 16 * 1_048_576 };
      expect(error.cause).toMatchObject(expected);
      expect(await runtime.run('sum', [1])).toBe(1);
    },
  );

  it('keeps what was thrown though it is no error', async () => {
    const { runtime } = await openAt(kind);
    const error = await rejection(runtime.run('fails', { error: 'text' }, { maxAttempts: 1 }));
    expect(String((error.cause as Error).message)).toContain('only a text');
  });

  it('after a snooze is not charged, however often', async () => {
    const { clock, runtime } = await openAt(kind);
    const snoozed = runtime.events({ kinds: ['snoozed'] });
    const handle = await runtime.enqueue('snoozes', { times: 5, ms: 60_000 }, { maxAttempts: 1 });
    let count = 0;
    for await (const event of snoozed) {
      expect(event).toMatchObject({ kind: 'snoozed', nextAttemptAt: clock.now() + 60_000 });
      clock.advance(60_000);
      if (++count === 5) break;
    }
    expect(await handle.result()).toBe(1);
    const info = (await runtime.get(handle.id))!;
    expect(info).toMatchObject({ failures: 0, state: 'completed' });
    expect(info.attempts.at(-1)).toMatchObject({ attempt: 1, outcome: 'completed' });
    expect(info.attempts.filter(({ outcome }) => outcome === 'snoozed').length).toBe(5);
  });
});

describe.each(BACKENDS)('dead letters (%s)', (kind) => {
  async function withDead(runtime: TestRuntime): Promise<readonly TaskInfo[]> {
    const names = ['a', 'a', 'b'];
    await Promise.all(
      names.map((queue) =>
        rejection(
          runtime.run('fails', { error: 'payment' }, { queue, maxAttempts: 2, backoff: { baseMs: 0 } }),
        ),
      ),
    );
    const { tasks } = await runtime.list({ state: 'dead' });
    return tasks;
  }

  it('are listed with the error of every attempt', async () => {
    const runtime = await open(kind, { threads: 1 });
    const tasks = await withDead(runtime);
    expect(tasks.length).toBe(3);
    for (const task of tasks) {
      expect(task).toMatchObject({ state: 'dead', reason: 'failed', failures: 2, name: 'fails' });
      expect(task.payload).toEqual({ error: 'payment' });
      expect(task.attempts.map(({ attempt, error }) => [attempt, error?.message, error?.code])).toEqual([
        [1, 'attempt 1 declined', 'E_CARD'],
        [2, 'attempt 2 declined', 'E_CARD'],
      ]);
      expect(task.attempts[0]!.error!.stack).toContain('runtime-tasks.js');
    }
    expect((await runtime.list({ state: 'dead', queue: 'b' })).tasks.length).toBe(1);
    expect((await runtime.list({ state: 'dead', name: 'sum' })).tasks.length).toBe(0);
  });

  it('come in pages', async () => {
    const runtime = await open(kind, { threads: 1 });
    await Promise.all(
      Array.from({ length: 25 }, () => rejection(runtime.run('fails', {}, { maxAttempts: 1 }))),
    );
    const ids: string[] = [];
    let after: string | undefined;
    do {
      const page = await runtime.list(
        { state: 'dead' },
        after === undefined ? { limit: 10 } : { limit: 10, after },
      );
      expect(page.tasks.length).toBeLessThanOrEqual(10);
      ids.push(...page.tasks.map(({ id }) => id));
      after = page.after;
    } while (after !== undefined);
    expect(new Set(ids).size).toBe(25);
    expect(ids.length).toBe(25);
  });

  it('go round again by id with their counts reset', async () => {
    const runtime = await open(kind, { threads: 1 });
    const [first] = await withDead(runtime);
    expect(await runtime.redrive(first!.id)).toBe(1);
    await rejection(runtime.handle(first!.id).result());
    const info = (await runtime.get(first!.id))!;
    expect(info).toMatchObject({ state: 'dead', failures: 2 });
    expect(info.attempts.map(({ attempt }) => attempt)).toEqual([1, 2, 1, 2]);
  });

  it('go round again by filter, those and no others', async () => {
    const runtime = await open(kind, { threads: 1 });
    await withDead(runtime);
    await runtime.pause('a');
    expect(await runtime.redrive({ queue: 'a' })).toBe(2);
    expect((await runtime.counts()).get('a')).toMatchObject({ dead: 0, ready: 2 });
    expect((await runtime.counts()).get('b')).toMatchObject({ dead: 1 });
    expect(await runtime.redrive({ queue: 'a' })).toBe(0);
  });

  it('go round again and are deleted by the thousand', async () => {
    const runtime = await open(kind, { threads: 1 });
    const batch = Array.from({ length: 1_200 }, () => {
      return { name: 'fails', payload: {}, options: { maxAttempts: 1 } } as const;
    });
    await runtime.enqueueBatch(batch);
    await runtime.whenIdle();
    await runtime.pause('default');
    expect(await runtime.redrive({})).toBe(1_200);
    expect((await runtime.counts()).get('default')).toMatchObject({ dead: 0, ready: 1_200 });
    await runtime.resume('default');
    await runtime.whenIdle();
    expect(await runtime.delete({ name: 'fails' })).toBe(1_200);
    expect((await runtime.counts()).get('default')).toMatchObject({ dead: 0, ready: 0 });
  });

  it('are deleted by id and by filter, and then no longer kept', async () => {
    const runtime = await open(kind, { threads: 1 });
    const tasks = await withDead(runtime);
    const { id } = tasks.find(({ queue }) => queue === 'b')!;
    expect(await runtime.delete(id)).toBe(1);
    expect(await rejection(runtime.handle(id).result())).toMatchObject({
      code: 'ERR_MILLRACE_RESULT_EXPIRED',
    });
    expect(await runtime.delete({ queue: 'a' })).toBe(2);
    expect((await runtime.list({ state: 'dead' })).tasks).toEqual([]);
    for (const counts of (await runtime.counts()).values()) expect(counts.dead).toBe(0);
  });

  it('only, and cancelled ones, can be redriven; only final ones deleted', async () => {
    const runtime = await open(kind, { threads: 1 });
    const done = await runtime.enqueue('sum', [1]);
    await done.result();
    const waiting = await runtime.enqueue('sum', [1], { delayMs: 60_000 });
    for (const id of [done.id, waiting.id]) {
      expect(await rejection(runtime.redrive(id))).toMatchObject({
        code: 'ERR_MILLRACE_WRONG_STATE',
        taskId: id,
      });
    }
    expect(await rejection(runtime.delete(waiting.id))).toMatchObject({ code: 'ERR_MILLRACE_WRONG_STATE' });
    expect(await waiting.cancel()).toBe(true);
    expect(await runtime.redrive(waiting.id)).toBe(1);
    expect(await waiting.result()).toBe(1);
    expect(await runtime.delete(done.id)).toBe(1);
  });
});

describe('after a restart', () => {
  it('a waiting retry keeps its instant, its counts and its errors', async () => {
    const backend = freshBackend('lmdb');
    const first = await openAt(backend);
    const backoff = { kind: 'fixed', baseMs: 5_000, jitter: 'none' } as const;
    const retrying = nextEvent(first.runtime, 'retrying');
    const { id } = await first.runtime.enqueue('fails', { until: 2 }, { backoff });
    const { nextAttemptAt } = await retrying;
    await first.runtime.stop();
    const second = await openAt(backend);
    expect(await second.runtime.get(id)).toMatchObject({ state: 'scheduled', failures: 1, nextAttemptAt });
    expect((await second.runtime.counts()).get('default')).toMatchObject({ scheduled: 1, retrying: 1 });
    second.clock.advance(5_000);
    expect(await second.runtime.handle(id).result()).toBe(2);
  });
});
