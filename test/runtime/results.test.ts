/** What comes of an enqueue: results whenever they are asked for, by handle, by id, after a restart. */
import { describe, expect, it } from 'vitest';
import { ManualClock, type Runtime } from '#src/index.js';
import { BACKENDS, fixture, freshBackend, Gate, open, rejection } from './harness.js';

describe.each(BACKENDS)('a result (%s)', (kind) => {
  it('comes to a handle that asks before its task is settled', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { services: gate.services });
    const handle = await runtime.enqueue('hold', 'a');
    const result = handle.result();
    await gate.reached('a');
    gate.open('a');
    expect(await result).toBe('a');
  });

  it('comes to a handle that asks long after, and twice', async () => {
    const runtime = await open(kind);
    const handle = await runtime.enqueue('sum', [1, 2, 3]);
    await runtime.whenIdle();
    expect(await handle.result()).toBe(6);
    expect(await handle.result()).toBe(6);
    expect(await handle.state()).toBe('completed');
  });

  it('comes to a handle made from an id', async () => {
    const runtime = await open(kind);
    const { id } = await runtime.enqueue('echo', { deep: [1n, new Date(5), new Map([['a', new Set([1])]])] });
    expect(id).toMatch(/^[0-9a-v]{26}$/);
    expect(await runtime.handle(id).result()).toEqual({
      deep: [1n, new Date(5), new Map([['a', new Set([1])]])],
    });
  });

  it('comes to every one of a thousand handles that wait at once', async () => {
    const runtime = await open(kind);
    const handles = await Promise.all(
      Array.from({ length: 1_000 }, (_, at) => runtime.enqueue('sum', [at, 1])),
    );
    const results = await Promise.all(handles.map((handle) => handle.result()));
    expect(results).toEqual(Array.from({ length: 1_000 }, (_, at) => at + 1));
    expect(new Set(handles.map(({ id }) => id)).size).toBe(1_000);
  });

  it('is there when idle, also of a task whose enqueue nobody has awaited', async () => {
    const runtime = await open(kind);
    const handle = runtime.enqueue('echo', 'soon');
    await runtime.whenIdle();
    expect(await (await handle).state()).toBe('completed');
  });

  it('is undefined for a handler that returns nothing', async () => {
    const runtime = await open(kind);
    expect(await runtime.run('noop', undefined)).toBeUndefined();
  });

  it('of a megabyte comes whole, to a waiter and later', async () => {
    const runtime = await open(kind);
    const handle = await runtime.enqueue('large', { bytes: 1_048_576 });
    const expected = new Uint8Array(1_048_576).fill(7);
    expect(Buffer.compare((await handle.result()) as Uint8Array, expected)).toBe(0);
    expect(Buffer.compare((await runtime.handle(handle.id).result()) as Uint8Array, expected)).toBe(0);
  });

  it('comes from `run`, which cancels the task when its signal aborts', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { services: gate.services });
    expect(await runtime.run('sum', [4, 5], { priority: 9 })).toBe(9);
    const abort = new AbortController();
    const waiting = rejection(runtime.run('obeys', 'here', { signal: abort.signal }));
    await gate.reached('here');
    abort.abort(new Error('the client left'));
    expect((await waiting).message).toBe('the client left');
    await runtime.whenIdle();
    expect((await runtime.counts()).get('default')).toMatchObject({ cancelled: 1, running: 0, completed: 1 });
  });

  it('does not come when `run` is given an aborted signal: nothing is enqueued', async () => {
    const runtime = await open(kind);
    const error = await rejection(runtime.run('noop', undefined, { signal: AbortSignal.abort() }));
    expect(error.name).toBe('AbortError');
    expect((await runtime.counts()).get('default')?.completed ?? 0).toBe(0);
  });

  it('that takes longer than `waitMs` or `timeoutMs` rejects the wait, and the task goes on', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { services: gate.services });
    const late = await rejection(runtime.run('hold', 'a', { waitMs: 1 }));
    expect(late).toMatchObject({ code: 'ERR_MILLRACE_WAIT_TIMEOUT', waitMs: 1 });
    const handle = await runtime.enqueue('hold', 'b');
    expect(await rejection(handle.result({ timeoutMs: 1 }))).toMatchObject({
      code: 'ERR_MILLRACE_WAIT_TIMEOUT',
    });
    const abort = new AbortController();
    const aborted = rejection(handle.result({ signal: abort.signal }));
    abort.abort(new Error('no more'));
    expect((await aborted).message).toBe('no more');
    gate.open('a');
    gate.open('b');
    expect(await handle.result()).toBe('b');
    await runtime.whenIdle();
    expect((await runtime.counts()).get('default')?.completed).toBe(2);
  });

  it('of a task that never existed, or is no longer kept, says which', async () => {
    const clock = new ManualClock();
    const runtime = await open(kind, { clock });
    const handle = await runtime.enqueue('noop', undefined, { retentionMs: { completed: 5_000 } });
    await handle.result();
    const { id } = handle;
    clock.advance(60_000);
    expect(await rejection(runtime.handle(id).result())).toMatchObject({
      code: 'ERR_MILLRACE_RESULT_EXPIRED',
      taskId: id,
    });
    expect(await runtime.get(id)).toBeUndefined();
    expect(await rejection(runtime.handle(id).state())).toMatchObject({
      code: 'ERR_MILLRACE_RESULT_EXPIRED',
    });
    const elsewhere = await open(kind);
    const known = ['', 'x', '0'.repeat(26), 'v'.repeat(26), '../../etc/passwd', id];
    for (const unknown of [...known, 5, undefined, null, {}] as string[]) {
      const expected = { code: 'ERR_MILLRACE_UNKNOWN_TASK', taskId: unknown };
      expect(await rejection(elsewhere.handle(unknown).result())).toMatchObject(expected);
      expect(await rejection(elsewhere.handle(unknown).state())).toMatchObject(expected);
      expect(await elsewhere.get(unknown)).toBeUndefined();
    }
  });
});

describe.each(BACKENDS)('a batch (%s)', (kind) => {
  it('gives one handle for each task, in its order', async () => {
    const runtime = await open(kind);
    const handles = await runtime.enqueueBatch([
      { name: 'sum', payload: [1, 2] },
      { name: 'echo', payload: 'x', options: { priority: 9 } },
      { name: 'sum', payload: [], options: { queue: 'other' } },
    ]);
    expect(await Promise.all(handles.map((handle) => handle.result()))).toEqual([3, 'x', 0]);
    expect(await runtime.enqueueBatch([])).toEqual([]);
  });

  it.each([
    ['a name', { name: '../x', payload: 1 }, 'ERR_MILLRACE_INVALID_NAME'],
    ['a payload', { name: 'echo', payload: { call: () => 1 } }, 'ERR_MILLRACE_NOT_ENCODABLE'],
    ['an option', { name: 'echo', payload: 1, options: { prio: 1 } }, 'ERR_MILLRACE_UNKNOWN_OPTION'],
    [
      'a taken key',
      { name: 'echo', payload: 1, options: { unique: { key: 'k', onConflict: 'reject' } } },
      'ERR_MILLRACE_DUPLICATE_TASK',
    ],
  ])('with one wrong task stores none: %s', async (_what, wrong, code) => {
    const runtime = await open(kind);
    await runtime.enqueue('echo', 0, { unique: { key: 'k' }, delayMs: 60_000 });
    const batch = [{ name: 'sum', payload: [1] }, wrong, { name: 'sum', payload: [2] }] as never;
    expect(await rejection(runtime.enqueueBatch(batch))).toMatchObject({ code });
    await runtime.whenIdle();
    expect((await runtime.counts()).get('default')).toMatchObject({ completed: 0, ready: 0, scheduled: 1 });
  });

  it('of more than its limits is refused whole', async () => {
    const runtime = await open(kind, { maxPendingEnqueues: 10 });
    const batch = Array.from({ length: 11 }, () => ({ name: 'noop', payload: undefined }) as const);
    expect(await rejection(runtime.enqueueBatch(batch))).toMatchObject({
      code: 'ERR_MILLRACE_QUEUE_FULL',
      limit: 10,
    });
    expect((await runtime.enqueueBatch(batch.slice(1))).length).toBe(10);
    await runtime.whenIdle();
    expect((await runtime.counts()).get('default')?.completed).toBe(10);
  });
});

describe.each(BACKENDS)('a codec (%s)', (kind) => {
  const reversed = {
    name: 'reversed',
    encode: (value: unknown) => Buffer.from(JSON.stringify(value)).reverse(),
    decode: (bytes: Uint8Array) => JSON.parse(Buffer.from(bytes).reverse().toString()),
  };

  it('of the host and the tasks module carries payloads and results', async () => {
    const tasks = fixture('tasks-modules/codecs');
    const runtime = (await open(kind, { tasks, codecs: [reversed], threads: 1 })) as Runtime;
    const handle = await runtime.enqueue('echo', { a: [1, 'é'] });
    expect(await handle.result()).toEqual({ a: [1, 'é'] });
    expect((await runtime.get(handle.id))!.result).toEqual({ a: [1, 'é'] });
  });

  it('that the thread or the host does not have fails the task, or the enqueue', async () => {
    const tasks = fixture('tasks-modules/codecs');
    const runtime = (await open(kind, { tasks, codecs: [reversed], threads: 1 })) as Runtime;
    expect(await rejection(runtime.run('unknownCodec', 1))).toMatchObject({
      code: 'ERR_MILLRACE_UNKNOWN_CODEC',
      codec: 'nowhere',
    });
    const other = await open(kind, { codecs: [reversed], threads: 1 });
    const error = await rejection(other.run('echo', 1, { codec: 'reversed' }));
    expect(error).toMatchObject({ code: 'ERR_MILLRACE_TASK_DEAD' });
    expect(await other.run('echo', { a: 1 }, { codec: 'json' })).toEqual({ a: 1 });
  });
});

describe('after a restart', () => {
  it('results, failures and waiting tasks are still there', async () => {
    const backend = freshBackend('lmdb');
    const first = await open(backend);
    const done = await first.enqueue('sum', [1, 2]);
    await done.result();
    const dead = await first.enqueue('fails', { error: 'payment' }, { maxAttempts: 1 });
    await rejection(dead.result());
    await first.pause('media');
    const waiting = await first.enqueue('media', { a: 1 });
    await first.stop();

    const second = await open(backend);
    expect(await second.handle(done.id).result()).toBe(3);
    expect(await second.handle(dead.id).state()).toBe('dead');
    const error = await rejection(second.handle(dead.id).result());
    expect(error).toMatchObject({ code: 'ERR_MILLRACE_TASK_DEAD', reason: 'failed', taskId: dead.id });
    expect(error.cause).toMatchObject({ name: 'PaymentError', code: 'E_CARD', amount: 12 });
    expect((error.cause as Error).cause).toMatchObject({ name: 'TypeError', message: 'no such card' });
    expect(await second.handle(waiting.id).state()).toBe('ready');
    await second.resume('media');
    expect(await second.handle(waiting.id).result()).toEqual({ a: 1 });
    expect((await second.counts()).get('default')).toMatchObject({ completed: 1, dead: 1 });
  });

  it('ten thousand waiting tasks run, each once', async () => {
    const backend = freshBackend('lmdb');
    const first = await open(backend, { autostart: false });
    const batch = Array.from({ length: 10_000 }, (_, at) => ({ name: 'sum', payload: [at] }) as const);
    const ids = (await first.enqueueBatch(batch)).map(({ id }) => id);
    expect((await first.counts()).get('default')?.ready).toBe(10_000);
    await first.stop();
    const second = await open(backend);
    const results = await Promise.all(ids.map((id) => second.handle(id).result()));
    expect(results).toEqual(batch.map(({ payload }) => payload[0]));
    await second.whenIdle();
    expect((await second.counts()).get('default')).toMatchObject({ completed: 10_000, ready: 0, running: 0 });
  });
});
