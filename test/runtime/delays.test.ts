/**
 * Tasks for later, tasks that are too late, and tasks of which there is one: on a clock that the test moves.
 */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '#src/index.js';
import {
  BACKENDS,
  type BackendKind,
  freshBackend,
  Gate,
  open,
  rejection,
  type TestOptions,
} from './harness.js';

async function openAt(kind: BackendKind | string, options: TestOptions = {}) {
  const clock = new ManualClock();
  const runtime = await open(kind, { threads: 1, clock, ...options });
  return { clock, runtime };
}

describe.each(BACKENDS)('a delayed task (%s)', (kind) => {
  it('does not run before its delay, and then at once', async () => {
    const { clock, runtime } = await openAt(kind);
    const handle = await runtime.enqueue('echo', 'later', { delayMs: 1_000 });
    expect(await runtime.get(handle.id)).toMatchObject({
      state: 'scheduled',
      nextAttemptAt: clock.now() + 1_000,
      attempts: [],
    });
    clock.advance(999);
    expect(await runtime.run('echo', 'now')).toBe('now');
    expect(await handle.state()).toBe('scheduled');
    expect((await runtime.counts()).get('default')).toMatchObject({ scheduled: 1, retrying: 0, ready: 0 });
    clock.advance(1);
    expect(await handle.result()).toBe('later');
    expect((await runtime.counts()).get('default')).toMatchObject({ scheduled: 0, completed: 2 });
  });

  it('runs at its instant, given as a number or a Date; a past one is at once', async () => {
    const { clock, runtime } = await openAt(kind);
    const at = clock.now() + 90_000_000;
    const handles = await Promise.all([
      runtime.enqueue('echo', 1, { runAt: at }),
      runtime.enqueue('echo', 2, { runAt: new Date(at) }),
    ]);
    expect(await runtime.run('echo', 3, { runAt: clock.now() - 5 })).toBe(3);
    // Longer than the longest timer.
    clock.advance(89_999_999);
    expect(await Promise.all(handles.map((handle) => handle.state()))).toEqual(['scheduled', 'scheduled']);
    clock.advance(1);
    expect(await Promise.all(handles.map((handle) => handle.result()))).toEqual([1, 2]);
  });

  it('that is due sooner than another one known before is not held up by it', async () => {
    const { clock, runtime } = await openAt(kind);
    const late = await runtime.enqueue('echo', 'late', { delayMs: 50_000 });
    const soon = await runtime.enqueue('echo', 'soon', { delayMs: 100 });
    clock.advance(100);
    expect(await soon.result()).toBe('soon');
    clock.advance(49_900);
    expect(await late.result()).toBe('late');
  });

  it('one of three thousand runs when it is due, in the order of their instants', async () => {
    const { clock, runtime } = await openAt(kind);
    const batch = Array.from({ length: 3_000 }, (_, at) => {
      return { name: 'ordinal', payload: {}, options: { delayMs: 3_000 - at } } as const;
    });
    const handles = await runtime.enqueueBatch(batch);
    clock.advance(1);
    expect(await handles.at(-1)!.result()).toBe(1);
    expect((await runtime.counts()).get('default')).toMatchObject({ completed: 1, scheduled: 2_999 });
    clock.advance(3_000);
    const results = (await Promise.all(handles.map((handle) => handle.result()))) as number[];
    expect(results.toReversed()).toEqual(Array.from({ length: 3_000 }, (_, at) => at + 1));
  });
});

describe.each(BACKENDS)('a stale task (%s)', (kind) => {
  it('is cancelled instead of started, and says why', async () => {
    const { clock, runtime } = await openAt(kind, { autostart: false });
    const stale = await runtime.enqueue('echo', 'old', { staleAt: clock.now() + 100 });
    const fresh = await runtime.enqueue('echo', 'new', { staleAt: clock.now() + 1_000 });
    clock.advance(100);
    runtime.start();
    expect(await rejection(stale.result())).toMatchObject({
      code: 'ERR_MILLRACE_TASK_CANCELLED',
      reason: 'stale',
      taskId: stale.id,
    });
    expect(await fresh.result()).toBe('new');
    expect(await runtime.get(stale.id)).toMatchObject({ state: 'cancelled', reason: 'stale', attempts: [] });
  });

  it('does not keep the ones behind it from starting', async () => {
    const { clock, runtime } = await openAt(kind, { autostart: false });
    const options = { staleAt: clock.now() + 1 };
    const stale = await Promise.all(
      Array.from({ length: 700 }, () => runtime.enqueue('noop', undefined, options)),
    );
    const fresh = await runtime.enqueue('echo', 'ran');
    clock.advance(1);
    runtime.start();
    expect(await fresh.result()).toBe('ran');
    await runtime.whenIdle();
    expect((await runtime.counts()).get('default')).toMatchObject({ cancelled: stale.length, completed: 1 });
  });
});

describe.each(BACKENDS)('a unique key (%s)', (kind) => {
  it('keeps the first task: both callers get the same id and the same result', async () => {
    const { runtime } = await openAt(kind, { autostart: false });
    const unique = { key: 'invoice 7' };
    const first = await runtime.enqueue('echo', 'first', { unique });
    const second = await runtime.enqueue('echo', 'second', { unique });
    expect([second.id, first.isNew, second.isNew]).toEqual([first.id, true, false]);
    runtime.start();
    expect(await Promise.all([first.result(), second.result()])).toEqual(['first', 'first']);
    expect((await runtime.enqueue('echo', 'third', { unique })).isNew).toBe(true);
  });

  it('of many enqueues in one turn gives one task', async () => {
    const gate = new Gate();
    const { runtime } = await openAt(kind, { services: gate.services });
    const unique = { key: 'k', onConflict: 'keep' } as const;
    const handles = await Promise.all(
      Array.from({ length: 50 }, () => runtime.enqueue('hold', 'a', { unique })),
    );
    expect(new Set(handles.map(({ id }) => id)).size).toBe(1);
    expect(handles.filter(({ isNew }) => isNew).length).toBe(1);
    gate.open('a');
    await Promise.all(handles.map((handle) => handle.result()));
    expect(gate.count('a')).toBe(1);
  });

  it('rejects a second task, naming the first', async () => {
    const { runtime } = await openAt(kind, { autostart: false });
    const unique = { key: 'k', onConflict: 'reject' } as const;
    const first = await runtime.enqueue('echo', 1, { unique });
    expect(await rejection(runtime.enqueue('echo', 2, { unique }))).toMatchObject({
      code: 'ERR_MILLRACE_DUPLICATE_TASK',
      key: 'k',
      taskId: first.id,
    });
    // Keys of other names are other keys.
    expect((await runtime.enqueue('sum', [1], { unique })).isNew).toBe(true);
  });

  it('replaces a waiting task, which is then cancelled, but not a running one', async () => {
    const gate = new Gate();
    const { runtime } = await openAt(kind, { services: gate.services, autostart: false });
    const unique = { key: 'k', onConflict: 'replace' } as const;
    const first = await runtime.enqueue('hold', 'first', { unique });
    const second = await runtime.enqueue('hold', 'second', { unique });
    expect(second.id).not.toBe(first.id);
    expect(await rejection(first.result())).toMatchObject({
      code: 'ERR_MILLRACE_TASK_CANCELLED',
      reason: 'replaced',
    });
    runtime.start();
    await gate.reached('second');
    const third = await runtime.enqueue('hold', 'third', { unique });
    expect(third.id).not.toBe(second.id);
    gate.open('second');
    gate.open('third');
    expect(await Promise.all([second.result(), third.result()])).toEqual(['second', 'third']);
    expect(gate.count('first')).toBe(0);
  });

  it('is free when its task is final, or after its time', async () => {
    const { clock, runtime } = await openAt(kind);
    const short = { key: 'k', forMs: 60_000, onConflict: 'reject' } as const;
    await runtime.run('echo', 1, { unique: short });
    expect(await rejection(runtime.enqueue('echo', 2, { unique: short }))).toMatchObject({
      code: 'ERR_MILLRACE_DUPLICATE_TASK',
    });
    clock.advance(61_000);
    expect(await runtime.run('echo', 3, { unique: short })).toBe(3);
    const dead = await runtime.enqueue(
      'fails',
      {},
      { maxAttempts: 1, unique: { key: 'd', onConflict: 'reject' } },
    );
    await rejection(dead.result());
    expect((await runtime.enqueue('fails', {}, { unique: { key: 'd', onConflict: 'reject' } })).isNew).toBe(
      true,
    );
  });
});

describe('after a restart', () => {
  it('delayed tasks run when they are due, and keys are still taken', async () => {
    const backend = freshBackend('lmdb');
    const first = await openAt(backend);
    const delayed = await first.runtime.enqueue('echo', 'later', { delayMs: 10_000, unique: { key: 'k' } });
    await first.runtime.stop();
    const second = await openAt(backend);
    const again = await second.runtime.enqueue('echo', 'other', { unique: { key: 'k' } });
    expect([again.id, again.isNew]).toEqual([delayed.id, false]);
    expect(await again.state()).toBe('scheduled');
    second.clock.advance(10_000);
    expect(await again.result()).toBe('later');
  });

  it('tasks that became due meanwhile run at once', async () => {
    const backend = freshBackend('lmdb');
    const first = await openAt(backend);
    const { id } = await first.runtime.enqueue('echo', 'later', { delayMs: 10_000 });
    await first.runtime.stop();
    const clock = new ManualClock(first.clock.now() + 3_600_000);
    const second = await open(backend, { threads: 1, clock });
    expect(await second.handle(id).result()).toBe('later');
  });
});
