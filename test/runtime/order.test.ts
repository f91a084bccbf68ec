/** On one thread tasks start by level, then by age; what was handed over is taken back for a better one. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '#src/index.js';
import { freshBackend, Gate, nextEvent, open, RUNTIMES, type TestRuntime } from './harness.js';

/** The order in which the tasks of these ids have started, by what `ordinal` returned. */
async function order(runtime: TestRuntime, ids: readonly string[]): Promise<readonly number[]> {
  return Promise.all(ids.map((id) => runtime.handle<'ordinal'>(id).result()));
}

describe.each(RUNTIMES)('order (%s)', (kind) => {
  it('is by level, 9 first, whatever was enqueued first', async () => {
    const runtime = await open(kind, { threads: 1, autostart: false });
    const levels = [0, 5, 9, 2, 7, 1, 9, 3, 8, 4, 6, 0];
    const handles = [];
    for (const priority of levels) handles.push(await runtime.enqueue('ordinal', {}, { priority }));
    runtime.start();
    const started = await order(
      runtime,
      handles.map(({ id }) => id),
    );
    const byStart = levels.map((level, at) => [started[at]!, level] as const).sort(([a], [b]) => a - b);
    expect(byStart.map(([, level]) => level)).toEqual(levels.toSorted((a, b) => b - a));
  });

  it('is the order of the enqueues within a level, over many commits and names', async () => {
    const runtime = await open(kind, { threads: 1, autostart: false });
    const ids: string[] = [];
    for (let round = 0; round < 20; round++) {
      const handles = await Promise.all(Array.from({ length: 30 }, () => runtime.enqueue('ordinal', {})));
      await runtime.enqueue('noop', undefined);
      ids.push(...handles.map(({ id }) => id));
    }
    runtime.start();
    expect(await order(runtime, ids)).toEqual(Array.from({ length: 600 }, (_, at) => at + 1));
  });

  it('is kept while tasks run and more come', async () => {
    const runtime = await open(kind, { threads: 1 });
    const handles = await Promise.all(Array.from({ length: 2_000 }, () => runtime.enqueue('ordinal', {})));
    const started = await order(
      runtime,
      handles.map(({ id }) => id),
    );
    expect(started).toEqual(Array.from({ length: 2_000 }, (_, at) => at + 1));
  });

  it('lets a better task start next, before 200 of 1 ms that the thread already has', async () => {
    const runtime = await open(kind, { threads: 1 });
    // Learns how long they take, so that batches are large.
    await Promise.all(Array.from({ length: 20 }, () => runtime.run('ordinal', { busyMs: 1 })));
    const handles = await Promise.all(
      Array.from({ length: 200 }, () => runtime.enqueue('ordinal', { busyMs: 1 })),
    );
    await handles[20]!.result();
    const better = runtime.enqueue('ordinal', {}, { priority: 'critical' });
    await Promise.resolve();
    await new Promise(setImmediate);
    const at = Date.now();
    const { id } = await better;
    const [mine] = await order(runtime, [id]);
    const others = await order(
      runtime,
      handles.map((handle) => handle.id),
    );
    const views = await Promise.all(handles.map((handle) => runtime.get(handle.id)));
    const before = handles.flatMap((_, of) =>
      others[of]! < mine! ? [views[of]!.attempts[0]!.startedAt] : [],
    );
    // What started before it had started when it came (times are rounded to a millisecond).
    expect(Math.max(...before)).toBeLessThanOrEqual(at + 1);
    expect(before.length).toBeLessThan(180);
    // And those taken back kept their order.
    expect(others).toEqual(others.toSorted((a, b) => a - b));
  });

  it('does not let a long task hold up what is behind it when another thread is idle', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 2, services: gate.services });
    const held = runtime.run('hold', 'a');
    await gate.reached('a');
    const rest = Array.from({ length: 100 }, () => runtime.run('ordinal', {}));
    expect((await Promise.all(rest)).length).toBe(100);
    gate.open('a');
    await held;
  });

  it('puts a retry behind what is ready when it returns', async () => {
    const gate = new Gate();
    const clock = new ManualClock();
    const runtime = await open(kind, { threads: 1, services: gate.services, clock });
    const completed = runtime.events({ kinds: ['completed'] });
    const retrying = nextEvent(runtime, 'retrying');
    await runtime.enqueue('fails', { until: 2 });
    await retrying;
    await runtime.enqueue('hold', 'a');
    await gate.reached('a');
    await Promise.all([1, 2, 3].map((payload) => runtime.enqueue('echo', payload)));
    clock.advance(1);
    gate.open('a');
    const names: string[] = [];
    for await (const event of completed) {
      if (event.kind === 'completed' && names.push(event.name) === 5) break;
    }
    expect(names).toEqual(['hold', 'echo', 'echo', 'echo', 'fails']);
  });
});

describe('startAfterCommit', () => {
  it.each(RUNTIMES)('waits for the flush, others do not have to (%s)', async (kind) => {
    const runtime = await open(kind, { threads: 1 });
    const handle = await runtime.enqueue('committed', undefined);
    expect(await handle.result()).toBe('ran');
    expect(await runtime.run('echo', 1, { startAfterCommit: true, priority: 9 })).toBe(1);
  });

  it('never starts before its `enqueue` is flushed', async () => {
    const gate = new Gate();
    const runtime = await open(freshBackend('lmdb'), { threads: 2, services: gate.services });
    for (let round = 0; round < 20; round++) {
      const key = `round ${round}`;
      let isAccepted = false;
      const accepted = runtime.enqueue('hold', key, { startAfterCommit: true }).then((handle) => {
        isAccepted = true;
        return handle;
      });
      await gate.reached(key);
      expect(isAccepted).toBe(true);
      gate.open(key);
      await (await accepted).result();
    }
  });
});
