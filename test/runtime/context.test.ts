/** What a handler gets beside its payload. */
import { describe, expect, it } from 'vitest';
import { freshBackend, Gate, open, RUNTIMES, rejection } from './harness.js';

describe.each(RUNTIMES)('the context of a handler (%s)', (kind) => {
  it('tells it who it is', async () => {
    const runtime = await open(kind, { threads: 1 });
    const handle = await runtime.enqueue('looks', undefined);
    expect(await handle.result()).toEqual({
      taskId: handle.id,
      name: 'looks',
      attempt: 1,
      app: 'the app',
      aborted: false,
    });
  });

  it('lets it call the host', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 2, services: gate.services });
    const sums = await Promise.all(Array.from({ length: 50 }, (_, at) => runtime.run('asks', [at, 1])));
    expect(sums).toEqual(Array.from({ length: 50 }, (_, at) => at + 1));
  });

  it('tells the host which task calls, and whether it has been aborted', async () => {
    const calls: { taskId: string; signal: AbortSignal }[] = [];
    let arrived!: () => void;
    const isThere = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const gate = (call: { taskId: string; signal: AbortSignal }) => {
      calls.push(call);
      arrived();
      return new Promise(() => {});
    };
    const runtime = await open(kind, { threads: 1, services: { gate } });
    const handle = await runtime.enqueue('obeys', 'a');
    await isThere;
    expect(calls).toMatchObject([{ taskId: handle.id }]);
    expect(calls[0]!.signal.aborted).toBe(false);
    await handle.cancel();
    await rejection(handle.result());
    expect(calls[0]!.signal.aborted).toBe(true);
  });

  it('passes what a service throws, with its class, code and fields', async () => {
    const gate = () => {
      throw Object.assign(new RangeError('closed'), { code: 'E_CLOSED', door: 7 });
    };
    const runtime = await open(kind, { threads: 1, services: { gate } });
    const error = await rejection(runtime.run('hold', 'a', { maxAttempts: 1 }));
    expect(error.cause).toMatchObject({ name: 'RangeError', code: 'E_CLOSED', door: 7, message: 'closed' });
  });

  it('says when a service is not there, or none were given', async () => {
    const some = await open(kind, { threads: 1, services: { other: () => 1 } });
    expect((await rejection(some.run('hold', 'a', { maxAttempts: 1 }))).cause).toMatchObject({
      code: 'ERR_MILLRACE_UNSUPPORTED',
    });
    const none = await open(kind, { threads: 1 });
    expect((await rejection(none.run('hold', 'a', { maxAttempts: 1 }))).cause).toMatchObject({
      code: 'ERR_MILLRACE_UNSUPPORTED',
    });
  });

  it('enqueues with the completion of the task', async () => {
    const runtime = await open(kind, { threads: 1 });
    const handle = await runtime.enqueue('hands', { next: { a: 1n } });
    expect(await handle.result()).toBe('handed');
    await runtime.whenIdle();
    const { tasks } = await runtime.list({ name: 'echo' });
    expect(tasks.length).toBe(1);
    expect(tasks[0]).toMatchObject({ state: 'completed', priority: 2 });
    expect(tasks[0]!.result).toEqual({ a: 1n });
  });

  it('enqueues nothing when the task fails', async () => {
    const runtime = await open(kind, { threads: 1 });
    await rejection(runtime.run('hands', { next: 1, fail: true }));
    await runtime.whenIdle();
    expect((await runtime.list({ name: 'echo' })).tasks).toEqual([]);
  });

  it('enqueues at once when asked to, and gets the id', async () => {
    const runtime = await open(kind, { threads: 2 });
    const id = await runtime.run('handsNow', ['x']);
    expect(await runtime.handle(id).result()).toEqual(['x']);
  });
});

describe('after a restart', () => {
  it('what a task enqueued with its completion is there', async () => {
    const backend = freshBackend('lmdb');
    const first = await open(backend, { threads: 1 });
    await first.pause('default');
    const handles = await Promise.all(
      [1, 2, 3].map((next) => first.enqueue('hands', { next }, { queue: 'a' })),
    );
    await Promise.all(handles.map((handle) => handle.result()));
    expect((await first.counts()).get('default')).toMatchObject({ ready: 3 });
    await first.stop();
    const second = await open(backend, { threads: 1 });
    expect((await second.counts()).get('default')).toMatchObject({ ready: 3 });
    await second.resume('default');
    await second.whenIdle();
    const { tasks } = await second.list({ name: 'echo', state: 'completed' });
    expect(tasks.map(({ result }) => result).toSorted()).toEqual([1, 2, 3]);
  });
});
