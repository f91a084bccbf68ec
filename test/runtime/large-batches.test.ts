/** Batches that are larger than one commit: of tens of thousands here, of a million in `test/crash`. */
import { describe, expect, it, vi } from 'vitest';
import { ManualClock } from '#src/index.js';
import { BACKENDS, freshBackend, open, rejection, type TestRuntime } from './harness.js';

const TASKS = 20_010;

function batchOf(count: number, options?: (at: number) => object | undefined) {
  return Array.from({ length: count }, (_, at) => {
    const own = options?.(at);
    const item = { name: 'echo' as const, payload: at };
    return own === undefined ? item : { ...item, options: own };
  });
}

async function countsOf(runtime: TestRuntime): Promise<Record<string, number>> {
  const counts = (await runtime.counts()).get('default') ?? {};
  return Object.fromEntries(Object.entries<number>({ ...counts }).filter(([, count]) => count > 0));
}

/** Counts the turns of the event loop until `promise` is settled; `each` is called in every one. */
async function turnsOf(promise: Promise<unknown>, each: () => unknown = () => {}): Promise<number> {
  let isOver = false;
  promise.then(
    () => {
      isOver = true;
    },
    () => {
      isOver = true;
    },
  );
  let turns = 0;
  for (; !isOver; turns++) {
    await each();
    await new Promise(setImmediate);
  }
  return turns;
}

describe.each(BACKENDS)('a batch larger than one commit (%s)', (kind) => {
  it('runs, and each of its handles tells its result', async () => {
    const runtime = await open(kind, { queues: { solo: { maxThreads: 1 } } });
    const moved = new ArrayBuffer(8);
    const transfer = (at: number) => (at === 9 ? { transfer: [moved], queue: 'solo' } : undefined);
    const batch = batchOf(TASKS, transfer).map((item, at) => (at === 9 ? { ...item, payload: moved } : item));
    const handles = await runtime.enqueueBatch(batch);
    expect([handles.length, moved.byteLength]).toEqual([TASKS, 0]);
    expect(new Set(handles.map(({ id }) => id)).size).toBe(TASKS);
    const results = await Promise.all(handles.map((handle) => handle.result()));
    expect(results[9]).toEqual(new ArrayBuffer(8));
    results[9] = 9;
    expect(results).toEqual(Array.from({ length: TASKS }, (_, at) => at));
    await runtime.whenIdle();
    expect(await countsOf(runtime)).toEqual({ completed: TASKS - 1 });
  });

  it('lets the event loop turn, and is blocked until all of it is accepted', async () => {
    const runtime = await open(kind, { autostart: false });
    const seen = new Set<string>();
    const accepted = runtime.enqueueBatch(batchOf(TASKS));
    const turns = await turnsOf(accepted, async () => {
      const { blocked = 0, ready = 0 } = await countsOf(runtime);
      seen.add(blocked > 0 && ready > 0 ? 'a part is ready' : blocked > 0 ? 'blocked' : '');
    });
    // A client's turns are answers of the owner.
    expect(turns).toBeGreaterThanOrEqual(kind === 'client' ? 2 : 20);
    expect([...seen]).toContain('blocked');
    expect([...seen]).not.toContain('a part is ready');
    expect(await countsOf(runtime)).toEqual({ ready: TASKS });
  });

  it('may hold delayed tasks, which run when they are due', async () => {
    const clock = new ManualClock();
    const runtime = await open(kind, { clock });
    const delayed = (at: number) => (at % 10 === 0 ? { delayMs: 1_000 } : undefined);
    const handles = await runtime.enqueueBatch(batchOf(TASKS, delayed));
    await runtime.whenIdle();
    expect(await countsOf(runtime)).toEqual({ scheduled: TASKS / 10, completed: (TASKS * 9) / 10 });
    expect(await handles[10]!.state()).toBe('scheduled');
    expect(await handles[20]!.cancel()).toBe(true);
    clock.advance(1_000);
    expect(await handles[10]!.result()).toBe(10);
    expect(await handles[TASKS - 10]!.result()).toBe(TASKS - 10);
    await runtime.whenIdle();
    expect(await countsOf(runtime)).toEqual({ completed: TASKS - 1, cancelled: 1 });
  });

  it('of which one cannot be stored is refused, and nothing of it is left', async () => {
    const runtime = await open(kind, { autostart: false });
    await runtime.enqueue('echo', 'here');
    const batch: { name: 'echo'; payload: unknown }[] = batchOf(TASKS);
    batch[TASKS - 1] = { name: 'echo', payload: () => 'a function' };
    let isOver = false;
    const refused = rejection(runtime.enqueueBatch(batch)).finally(() => {
      isOver = true;
    });
    // A client may be told of its end before it sees it under way.
    while (!isOver && (await countsOf(runtime)).blocked === undefined) await new Promise(setImmediate);
    expect((await runtime.list({}, { limit: 1_000 })).tasks.length).toBe(1);
    runtime.start();
    const idle = runtime.whenIdle();
    expect(await refused).toMatchObject({ code: 'ERR_MILLRACE_NOT_ENCODABLE' });
    await idle;
    expect(await countsOf(runtime)).toEqual({ completed: 1 });
    expect((await runtime.list({}, { limit: 1_000 })).tasks.length).toBe(1);
  });

  it('is not touched by a cancel of all that waits, until it is accepted', async () => {
    const runtime = await open(kind, { autostart: false });
    await runtime.enqueue('echo', 'here');
    const accepted = runtime.enqueueBatch(batchOf(TASKS));
    while ((await countsOf(runtime)).blocked === undefined) await new Promise(setImmediate);
    expect(await runtime.cancel({ state: 'ready' })).toBe(1);
    await accepted;
    expect(await countsOf(runtime)).toEqual({ ready: TASKS, cancelled: 1 });
  });

  it('is refused when the runtime stops meanwhile', async () => {
    const backend = freshBackend(kind);
    const runtime = await open(backend, { autostart: false });
    const refused = rejection(runtime.enqueueBatch(batchOf(TASKS)));
    while ((await countsOf(runtime)).blocked === undefined) await new Promise(setImmediate);
    await runtime.stop();
    expect(await refused).toMatchObject({ code: 'ERR_MILLRACE_STOPPED' });
    const next = await open(backend, { autostart: false });
    expect(await countsOf(next)).toEqual({});
  });
});

describe('a batch larger than one commit', () => {
  it('tells of each of its tasks that it was enqueued', async () => {
    const runtime = await open('memory', { autostart: false });
    const events = runtime.events({ kinds: ['enqueued'], bound: 1_000_000 });
    const handles = await runtime.enqueueBatch(
      batchOf(TASKS, (at) => (at === 7 ? { queue: 'other' } : undefined)),
    );
    const told = [];
    while (told.length < TASKS) told.push((await events.next()).value);
    expect(told[7]).toMatchObject({ kind: 'enqueued', taskId: handles[7]!.id, queue: 'other', name: 'echo' });
    expect(told[TASKS - 1]).toMatchObject({ taskId: handles[TASKS - 1]!.id, queue: 'default' });
    await events.return?.();
  });

  it('takes no unique keys, and says what does', async () => {
    const runtime = await open('memory', { autostart: false });
    const unique = (at: number) => (at === TASKS - 1 ? { unique: { key: 'k' } } : undefined);
    expect(await rejection(runtime.enqueueBatch(batchOf(TASKS, unique)))).toMatchObject({
      code: 'ERR_MILLRACE_UNSUPPORTED',
      message: expect.stringContaining('at most 20000'),
    });
    expect(await countsOf(runtime)).toEqual({});
  });
});

describe('a store that is full', () => {
  it('takes no part of a batch that does not fit, and has room again afterwards', async () => {
    const runtime = await open('lmdb', { autostart: false, maxBytes: 16 * 1024 * 1024 });
    const large = Array.from({ length: TASKS }, () => ({
      name: 'echo' as const,
      payload: 'x'.repeat(1_000),
    }));
    expect(await rejection(runtime.enqueueBatch(large))).toMatchObject({ code: 'ERR_MILLRACE_STORE_FULL' });
    expect(await countsOf(runtime)).toEqual({});
    // How much is used is looked at four times a second.
    await vi.waitFor(() => runtime.enqueueBatch(large.slice(0, 5_000)));
    expect(await countsOf(runtime)).toEqual({ ready: 5_000 });
  });
});
