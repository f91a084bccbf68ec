/** Back-pressure: what becomes of an enqueue that finds no room, by its policy. */
import { describe, expect, it } from 'vitest';
import type { EnqueueOptions } from '#src/index.js';
import type { TestOptions, TestRuntime } from './harness.js';
import { freshBackend, Gate, nextEvent, open, openTestClient, RUNTIMES, rejection } from './harness.js';

/** A runtime's own calls in memory, and those of a client, whose owner keeps its tasks in a folder. */
const CALLERS = ['memory', 'client'] as const;

const FULL = { code: 'ERR_MILLRACE_QUEUE_FULL', what: 'Waiting tasks' };

/** A runtime of one thread, which is busy until the gate `busy` opens. */
async function busy(where: string, options: TestOptions = {}, gate = new Gate()): Promise<TestRuntime> {
  const runtime = await open(where, { threads: 1, services: gate.services, ...options });
  await runtime.enqueue('hold', 'busy', { queue: 'busy' });
  await gate.reached('busy');
  return runtime;
}

/** How promises ended, in order: `in`, or the code or name of the error. */
async function ends(promises: readonly Promise<unknown>[]): Promise<string[]> {
  const settled = await Promise.allSettled(promises);
  return settled.map((each) => (each.status === 'fulfilled' ? 'in' : (each.reason.code ?? each.reason.name)));
}

function aborter(): { signal: AbortSignal; abort: (reason: Error) => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: (reason) => controller.abort(reason) };
}

const WAIT: EnqueueOptions = { whenFull: 'wait' };
const SHED: EnqueueOptions = { whenFull: 'shed' };

describe.each(CALLERS)('beyond maxWaiting, on %s', (kind) => {
  it('an enqueue is refused, with the state in its error; what runs does not count', async () => {
    const runtime = await busy(kind, { queues: { busy: { maxWaiting: 1 }, default: { maxWaiting: 3 } } });
    const all = Array.from({ length: 5 }, (_, at) => runtime.enqueue('echo', at));
    expect(await ends(all)).toEqual(['in', 'in', 'in', FULL.code, FULL.code]);
    const error = await rejection(runtime.enqueue('echo', 5));
    expect(error).toMatchObject({ ...FULL, pending: 4, limit: 3, queue: 'default' });
    await runtime.enqueue('echo', 6, { queue: 'busy' });
    expect((await runtime.counts()).get('default')).toMatchObject({ ready: 3 });
  });

  it('of the runtime, tasks of all queues count, and those for later', async () => {
    const runtime = await busy(kind, { maxWaiting: 3 });
    await runtime.enqueue('echo', 1, { queue: 'a' });
    await runtime.enqueue('echo', 1, { queue: 'b' });
    await runtime.enqueue('echo', 1, { queue: 'b', delayMs: 1_000_000 });
    const error = await rejection(runtime.run('echo', 2, { queue: 'c' }));
    expect(error).toMatchObject({ ...FULL, pending: 4, limit: 3, queue: undefined });
  });

  it('an enqueue that waits comes in as tasks end: by level, then first come', async () => {
    const gate = new Gate();
    const runtime = await busy(kind, { maxWaiting: 1 }, gate);
    const order: string[] = [];
    const enqueue = async (name: string, options: EnqueueOptions): Promise<void> => {
      await runtime.enqueue('hold', name, options);
      order.push(name);
    };
    await enqueue('a', { queue: 'x' });
    const waiting = [
      enqueue('b', { ...WAIT, priority: 1 }),
      enqueue('c', { ...WAIT, priority: 8, queue: 'x' }),
      enqueue('d', { ...WAIT, priority: 8, queue: 'x' }),
      enqueue('e', WAIT),
    ];
    await gate.settle();
    expect(order).toEqual(['a']);
    for (const next of ['busy', 'a', 'c', 'd', 'e', 'b']) {
      await gate.reached(next);
      gate.open(next);
    }
    await Promise.all(waiting);
    expect(order).toEqual(['a', 'c', 'd', 'e', 'b']);
    await runtime.whenIdle();
  });

  it('the wait of one queue holds up no other', async () => {
    const runtime = await busy(kind, { queues: { a: { maxWaiting: 1 } } });
    await runtime.enqueue('echo', 1, { queue: 'a' });
    const controller = new AbortController();
    const waiting = runtime.enqueue('echo', 2, { ...WAIT, queue: 'a', signal: controller.signal });
    await runtime.enqueue('echo', 3, { ...WAIT, queue: 'b' });
    controller.abort(new Error('enough'));
    expect(await rejection(waiting)).toMatchObject({ message: 'enough' });
  });

  it('an abort ends the wait, and nothing is enqueued', async () => {
    const gate = new Gate();
    const runtime = await busy(kind, { maxWaiting: 1, whenFull: 'wait' }, gate);
    await runtime.enqueue('echo', 'first');
    const controller = new AbortController();
    const { signal } = controller;
    const all = [
      runtime.enqueue('echo', 'second', { signal }),
      runtime.run('echo', 'third', { signal }),
      runtime.enqueueBatch([{ name: 'echo', payload: 'fourth', options: { signal } }]),
      runtime.enqueue('echo', new Uint8Array(100_000), { signal }),
    ];
    await gate.settle();
    controller.abort(Object.assign(new Error('enough'), { code: 'E_ENOUGH' }));
    expect(new Set(await ends(all))).toEqual(new Set(['E_ENOUGH']));
    expect(await ends([runtime.enqueue('echo', 'fifth', { signal })])).toEqual(['E_ENOUGH']);
    gate.open('busy');
    await runtime.whenIdle();
    expect((await runtime.counts()).get('default')).toMatchObject({ completed: 1 });
  });

  it('nothing of a batch is enqueued when its signal has aborted, and each hears of its abort', async () => {
    const gate = new Gate();
    const runtime = await busy(kind, { maxWaiting: 2 }, gate);
    const batch = (signal: AbortSignal, count = 1) =>
      Array.from({ length: count }, (_, at) => ({
        name: 'echo' as const,
        payload: at,
        options: { ...WAIT, signal },
      }));
    const enough = Object.assign(new Error('enough'), { code: 'E_ENOUGH' });
    expect(await ends([runtime.enqueueBatch(batch(AbortSignal.abort(enough)))])).toEqual(['E_ENOUGH']);
    const many = runtime.enqueueBatch(batch(AbortSignal.abort(enough), 20_001));
    expect(await ends([many])).toEqual(['E_ENOUGH']);
    await runtime.enqueue('echo', 'first');
    const controller = new AbortController();
    const waiting = runtime.enqueueBatch(batch(controller.signal, 2));
    controller.abort(enough);
    expect(await ends([waiting])).toEqual(['E_ENOUGH']);
    gate.open('busy');
    await runtime.whenIdle();
    expect((await runtime.counts()).get('default')).toMatchObject({ completed: 1, blocked: 0 });
  });

  it('a task whose unique key leads to one that is there needs no room', async () => {
    const runtime = await busy(kind, { maxWaiting: 1 });
    const unique = { key: 'k' };
    const first = await runtime.enqueue('echo', 'first', { unique });
    for (const payload of ['again', new Uint8Array(50_000)]) {
      const again = await runtime.enqueue('echo', payload, { unique });
      expect([again.id, again.isNew]).toEqual([first.id, false]);
    }
    const refused = runtime.enqueue('echo', 'no', { unique: { key: 'k', onConflict: 'reject' } });
    expect(await rejection(refused)).toMatchObject({ code: 'ERR_MILLRACE_DUPLICATE_TASK' });
    for (const name of ['echo', 'noop'] as const) {
      const other = runtime.enqueue(name, 1 as never, { unique: { key: name === 'echo' ? 'other' : 'k' } });
      expect(await rejection(other)).toMatchObject(FULL);
    }
  });

  it('waits are bounded in number and bytes', async () => {
    const bounds = { maxWaiting: 1, maxPendingEnqueues: 3, maxPendingBytes: 10_000 };
    const runtime = await busy(kind, bounds);
    await runtime.enqueue('echo', 'first');
    const small = [1, 2].map((at) => runtime.enqueue('echo', at, WAIT));
    const large = runtime.enqueue('echo', 'x'.repeat(10_000), WAIT);
    expect(await rejection(large)).toMatchObject({ code: FULL.code, what: 'Bytes that wait for room' });
    small.push(runtime.enqueue('echo', 3, WAIT));
    const error = await rejection(runtime.enqueue('echo', 4, WAIT));
    expect(error).toMatchObject({ code: FULL.code, what: 'Enqueues that wait for room', limit: 3 });
    for (const each of small) each.catch(() => {});
  });

  it('less important tasks make way for one that sheds, never its equals', async () => {
    const runtime = await busy(kind, { maxWaiting: 3 });
    const cancelled = nextEvent(runtime, 'cancelled');
    const handles = [];
    for (const priority of [3, 2, 2]) handles.push(await runtime.enqueue('echo', priority, { priority }));
    const results = handles.map((handle) => handle.result());
    await runtime.enqueue('echo', 'a', { ...SHED, priority: 3 });
    expect(await rejection(results[2]!)).toMatchObject({
      code: 'ERR_MILLRACE_TASK_CANCELLED',
      reason: 'shed',
    });
    expect(await cancelled).toMatchObject({ taskId: handles[2]!.id, name: 'echo', reason: 'shed' });
    await runtime.enqueue('echo', 'b', { ...SHED, priority: 3 });
    expect(await rejection(results[1]!)).toMatchObject({ reason: 'shed' });
    expect(await rejection(runtime.enqueue('echo', 'c', { ...SHED, priority: 3 }))).toMatchObject(FULL);
    expect((await runtime.counts()).get('default')).toMatchObject({ ready: 3, cancelled: 2 });
    expect(await runtime.get(handles[2]!.id)).toMatchObject({ state: 'cancelled', reason: 'shed' });
    results[0]!.catch(() => {});
  });

  it('more than one turn sheds make way in turn', async () => {
    const runtime = await busy(kind, { maxWaiting: 300 });
    const low = Array.from({ length: 300 }, (_, at) => ({
      name: 'echo' as const,
      payload: at,
      options: { priority: 0 },
    }));
    await runtime.enqueueBatch(low);
    const high = Array.from({ length: 400 }, (_, at) => runtime.enqueue('echo', at, SHED));
    const ended = await ends(high);
    expect(ended).toEqual([...Array(300).fill('in'), ...Array(100).fill(FULL.code)]);
    expect((await runtime.counts()).get('default')).toMatchObject({ ready: 300, cancelled: 300 });
  });

  it('a batch comes in as a whole, at once, later or never', async () => {
    const gate = new Gate();
    const runtime = await busy(kind, { maxWaiting: 4 }, gate);
    const batch = (count: number, options: EnqueueOptions) =>
      Array.from({ length: count }, (_, at) => ({ name: 'echo' as const, payload: at, options }));
    const low = await runtime.enqueueBatch(batch(3, { priority: 1 }));
    expect(await rejection(runtime.enqueueBatch(batch(2, {})))).toMatchObject({ ...FULL, pending: 5 });
    // Two of three would not be enough, so none makes way.
    await runtime.enqueue('echo', 'equal', { priority: 5 });
    expect(await rejection(runtime.enqueueBatch(batch(4, SHED)))).toMatchObject(FULL);
    expect((await runtime.counts()).get('default')).toMatchObject({ ready: 4, cancelled: 0 });
    await runtime.enqueueBatch(batch(3, SHED));
    for (const handle of low) expect(await rejection(handle.result())).toMatchObject({ reason: 'shed' });
    // What can never fit does not wait.
    expect(await rejection(runtime.enqueueBatch(batch(5, WAIT)))).toMatchObject({ ...FULL, limit: 4 });
    const waiting = runtime.enqueueBatch(batch(4, WAIT));
    gate.open('busy');
    expect(await Promise.all((await waiting).map((handle) => handle.result()))).toEqual([0, 1, 2, 3]);
  });

  it('nothing makes way for a batch that more important ones go before', async () => {
    const runtime = await busy(kind, { maxWaiting: 2 });
    for (const priority of [0, 0]) await runtime.enqueue('echo', 'low', { priority });
    const controller = new AbortController();
    const before = runtime.enqueue('echo', 'high', { ...WAIT, priority: 9, signal: controller.signal });
    before.catch(() => {});
    const behind = runtime.enqueueBatch([{ name: 'echo', payload: 'middle', options: SHED }]);
    expect(await rejection(behind)).toMatchObject(FULL);
    expect((await runtime.counts()).get('default')).toMatchObject({ ready: 2, cancelled: 0 });
  });

  it('a flow comes in as a whole, at once, later or never', async () => {
    const gate = new Gate();
    const runtime = await busy(kind, { queues: { default: { maxWaiting: 3 } } }, gate);
    const { signal, abort } = aborter();
    const flow = (count: number, options: EnqueueOptions = {}) =>
      runtime.flow((f) => {
        const all = f.group(Array.from({ length: count - 1 }, (_, at) => f.task('echo', at, options)));
        all.then(f.task('echo', 'end', options));
      });
    expect(await ends([flow(2)])).toEqual(['in']);
    const error = await rejection(flow(2));
    expect(error).toMatchObject({ ...FULL, pending: 4, limit: 3, queue: 'default' });
    expect(await rejection(flow(4, WAIT))).toMatchObject({ ...FULL, limit: 3 });
    const aborted = flow(2, { ...WAIT, signal });
    const later = flow(3, WAIT);
    await gate.settle();
    abort(new Error('enough'));
    expect(await rejection(aborted)).toMatchObject({ message: 'enough' });
    expect((await runtime.flows.list()).flows.length).toBe(1);
    expect((await runtime.counts()).get('default')).toMatchObject({ ready: 1, blocked: 1, dead: 0 });
    gate.open('busy');
    await later;
    await runtime.whenIdle();
    expect((await runtime.counts()).get('default')).toMatchObject({ completed: 5 });
  });

  it('many flows at once go no further than there is room', async () => {
    const runtime = await busy(kind, { maxWaiting: 10 });
    const three = () => runtime.flow((f) => void f.group([0, 1, 2].map((at) => f.task('echo', at))));
    const one = () => runtime.enqueue('echo', 0);
    const all = [three(), three(), one(), three(), three(), one(), one()];
    await Promise.allSettled(all);
    const counts = (await runtime.counts()).get('default');
    expect(counts!.ready).toBeGreaterThanOrEqual(8);
    expect(counts!.ready).toBeLessThanOrEqual(10);
  });

  it('less important tasks make way for a flow that sheds', async () => {
    const runtime = await busy(kind, { queues: { default: { maxWaiting: 3 } } });
    const low = await runtime.enqueue('echo', 'low', { priority: 'low' });
    await runtime.enqueueBatch([0, 1].map((payload) => ({ name: 'echo', payload })));
    const flow = (count: number) =>
      runtime.flow((f) => {
        for (let at = 0; at < count; at++) f.task('echo', at, SHED);
      });
    expect(await rejection(flow(2))).toMatchObject(FULL);
    await flow(1);
    expect(await rejection(low.result())).toMatchObject({ reason: 'shed' });
  });

  it('a batch or flow of many is refused as a whole', { timeout: 20_000 }, async () => {
    const runtime = await busy(kind, { maxWaiting: 20_500 });
    const batch = Array.from({ length: 21_000 }, () => ({ name: 'noop' as const, payload: undefined }));
    expect(await rejection(runtime.enqueueBatch(batch))).toMatchObject({ ...FULL, limit: 20_500 });
    const flow = runtime.flow((f) => {
      for (const { name } of batch) f.task(name, undefined);
    });
    expect(await rejection(flow)).toMatchObject({ ...FULL, limit: 20_500 });
    expect((await runtime.flows.list()).flows).toEqual([]);
    await runtime.enqueueBatch(batch.slice(0, 20_400));
    expect((await runtime.counts()).get('default')).toMatchObject({ ready: 20_400, blocked: 0 });
  });

  it('what a handler enqueues with its result is not refused, and counts', async () => {
    const gate = new Gate();
    const runtime = await busy(kind, { queues: { default: { maxWaiting: 1 } } }, gate);
    await runtime.pause('default');
    await runtime.enqueue('echo', 'fills it', { delayMs: 1_000_000 });
    const handing = await runtime.enqueue('hands', { next: 'more' }, { queue: 'other' });
    gate.open('busy');
    expect(await handing.result()).toBe('handed');
    expect((await runtime.counts()).get('default')).toMatchObject({ ready: 1, scheduled: 1 });
    expect(await rejection(runtime.enqueue('echo', 'next'))).toMatchObject({ ...FULL, pending: 3 });
  });

  it('what it enqueues at once may be refused, or wait', async () => {
    const runtime = await open(kind, { threads: 1, queues: { default: { maxWaiting: 1 } } });
    await runtime.pause('default');
    await runtime.enqueue('echo', 'fills it');
    const refused = runtime.run('handsNow', 'more', { queue: 'other', maxAttempts: 1 });
    expect(((await rejection(refused)).cause as { code: string }).code).toBe(FULL.code);
    const patient = await open(kind, { whenFull: 'wait', queues: { default: { maxWaiting: 1 } } });
    await patient.pause('default');
    await patient.enqueue('echo', 'fills it');
    const waiting = patient.run('handsNow', 'more', { queue: 'other' });
    await patient.resume('default');
    const id = (await waiting) as string;
    expect(await patient.handle(id).result()).toBe('more');
  });

  it('pressure and relief are told once each, with a distance between them', async () => {
    const gate = new Gate();
    const runtime = await busy(kind, { queues: { default: { maxWaiting: 10 } } }, gate);
    const seen: object[] = [];
    const events = runtime.events({ kinds: ['pressure', 'relief'], queue: 'default' });
    const holds = ['a', 'b', 'c'];
    for (const key of holds) await runtime.enqueue('hold', key);
    for (let at = 3; at < 10; at++) await runtime.enqueue('hold', `${at}`);
    await rejection(runtime.enqueue('echo', 'more'));
    const { value: pressure } = await events.next();
    seen.push(pressure);
    expect(pressure).toMatchObject({ kind: 'pressure', mark: 'maxWaiting', waiting: 10, limit: 10 });
    gate.open('busy');
    await gate.reached('a');
    // Nine wait: one more fills it again, and nothing is told.
    await runtime.enqueue('hold', 'last');
    for (const key of holds) gate.open(key);
    const { value: relief } = await events.next();
    expect(relief).toMatchObject({ kind: 'relief', mark: 'maxWaiting', limit: 10 });
    expect((relief as { waiting: number }).waiting).toBeLessThanOrEqual(8);
  });

  it('relief is told when tasks start, though none ends', async () => {
    const gate = new Gate();
    const options = { threads: 1, services: gate.services, queues: { default: { maxWaiting: 1 } } };
    const runtime = await open(kind, options);
    const pressure = nextEvent(runtime, 'pressure');
    const relief = nextEvent(runtime, 'relief');
    await runtime.enqueue('hold', 'a');
    expect(await pressure).toMatchObject({ queue: 'default', waiting: 1 });
    await gate.reached('a');
    expect(await relief).toMatchObject({ queue: 'default', waiting: 0 });
    gate.open('a');
  });

  it('the policy of an enqueue is not stored with its task', async () => {
    const runtime = await busy(kind, { maxWaiting: 9 });
    const { id } = await runtime.enqueue('echo', 1, { ...WAIT, signal: new AbortController().signal });
    expect((await runtime.get(id))?.options).toBeUndefined();
  });
});

describe.each(RUNTIMES)('the runtime, on %s', (kind) => {
  it('tells who waits when it stops', async () => {
    const gate = new Gate();
    const runtime = await busy(kind, { maxWaiting: 1, whenFull: 'wait' }, gate);
    await runtime.enqueue('echo', 'first');
    const all = [
      runtime.enqueue('echo', 1),
      runtime.run('echo', 2),
      runtime.enqueueBatch([{ name: 'echo', payload: 3 }]),
      runtime.enqueue('echo', new Uint8Array(50_000)),
    ];
    await gate.settle();
    const stopped = runtime.stop({ graceMs: 0, killMs: 0 });
    expect(new Set(await ends(all))).toEqual(new Set(['ERR_MILLRACE_STOPPED']));
    await stopped;
  });

  it('lets more enqueues wait for their flush than it takes at once', async () => {
    const runtime = await open(kind, { maxPendingEnqueues: 100, maxPendingBytes: 20_000, whenFull: 'wait' });
    const results = Array.from({ length: 150 }, (_, at) => runtime.run('echo', at));
    expect(await Promise.all(results)).toEqual(Array.from({ length: 150 }, (_, at) => at));
  });
});

describe('a store that is full', () => {
  it('lets those wait who want to, and tells of its pressure and relief', { timeout: 20_000 }, async () => {
    const runtime = await open('lmdb', { autostart: false, maxBytes: 2_000_000, minFreeBytes: 0 });
    const events = runtime.events({ kinds: ['pressure', 'relief'] });
    let error: unknown;
    while (error === undefined) {
      const batch = Array.from({ length: 50 }, () => ({
        name: 'noop' as const,
        payload: 'x'.repeat(5_000) as never,
      }));
      await runtime.enqueueBatch(batch).catch((reason) => {
        error = reason;
      });
    }
    expect(error).toMatchObject({ code: 'ERR_MILLRACE_STORE_FULL', limit: 'maxBytes', bound: 1_800_000 });
    expect((await events.next()).value).toMatchObject({
      kind: 'pressure',
      mark: 'maxBytes',
      limit: 1_800_000,
    });
    const waiting = [
      runtime.run('echo', 'x'.repeat(50_000), WAIT),
      runtime.enqueue('echo', new Uint8Array(300_000), WAIT),
      runtime.enqueueBatch([{ name: 'echo', payload: 'x'.repeat(300_000), options: WAIT }]),
    ];
    expect(await ends([runtime.enqueue('echo', 'x'.repeat(300_000), SHED)])).toEqual([
      'ERR_MILLRACE_STORE_FULL',
    ]);
    runtime.start();
    expect(await ends(waiting)).toEqual(['in', 'in', 'in']);
    expect((await events.next()).value).toMatchObject({ kind: 'relief', mark: 'maxBytes' });
  });

  it('of waiting tasks takes no large payload that it would have to refuse', async () => {
    const runtime = await busy('lmdb', { maxWaiting: 1 });
    await runtime.enqueue('echo', 'first');
    expect(await rejection(runtime.enqueue('echo', new Uint8Array(50_000)))).toMatchObject(FULL);
    const handle = await runtime.enqueue('echo', new Uint8Array(50_000), { ...SHED, priority: 9 });
    expect((await runtime.get(handle.id))?.state).toBe('ready');
  });
});

it('a caretaker keeps to the marks of the last runtime; who waits comes in with the next', async () => {
  const backend = freshBackend('lmdb');
  const options = { maxWaiting: 1 };
  const first = await open(backend, { ...options, autostart: false });
  await first.enqueue('echo', 'first');
  await first.stop();
  const client = await openTestClient(backend);
  expect(await rejection(client.enqueue('echo', 'refused'))).toMatchObject({ ...FULL, limit: 1 });
  const waiting = client.run('echo', 'waits', WAIT);
  const next = await open(backend, options);
  expect(await waiting).toBe('waits');
  await next.stop();
});
