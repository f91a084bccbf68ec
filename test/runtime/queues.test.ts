/** Queues: their defaults, how many threads they get, pausing and serving them. */
import { describe, expect, it } from 'vitest';
import { BACKENDS, freshBackend, Gate, nextEvent, open, RUNTIMES, rejection } from './harness.js';

describe.each(BACKENDS)('a queue (%s)', (kind) => {
  it('gives defaults that the task and the enqueue lay over', async () => {
    const runtime = await open(kind, {
      queues: {
        brief: { maxAttempts: 1, priority: 'low', retentionMs: { dead: 60_000 } },
        media: { priority: 1 },
      },
    });
    const brief = await runtime.enqueue('fails', {}, { queue: 'brief' });
    expect(await rejection(brief.result())).toMatchObject({ reason: 'failed' });
    const info = await runtime.get(brief.id);
    expect(info).toMatchObject({
      queue: 'brief',
      failures: 1,
      attempts: [{ attempt: 1, outcome: 'failed' }],
    });
    const twice = await runtime.enqueue('fails', {}, { queue: 'brief', maxAttempts: 2 });
    await rejection(twice.result());
    expect((await runtime.get(twice.id))?.attempts.length).toBe(2);
    const { id } = await runtime.enqueue('media', 1);
    expect(await runtime.get(id)).toMatchObject({ queue: 'media', priority: 7 });
  });

  it('gives its priority to tasks that are enqueued into it', async () => {
    const runtime = await open(kind, { queues: { slow: { priority: 'low' } }, autostart: false });
    const plain = await runtime.enqueue('noop', undefined, { queue: 'slow' });
    const own = await runtime.enqueue('noop', undefined, { queue: 'slow', priority: 8 });
    expect([(await runtime.get(plain.id))?.priority, (await runtime.get(own.id))?.priority]).toEqual([2, 8]);
  });

  it('never has more threads than `maxThreads`, and the others serve the rest', async () => {
    const gate = new Gate();
    const runtime = await open(kind, {
      services: gate.services,
      threads: 3,
      queues: { narrow: { maxThreads: 1 } },
    });
    const narrow = Array.from({ length: 100 }, () => runtime.run('visit', 'narrow', { queue: 'narrow' }));
    const wide = Array.from({ length: 100 }, () => runtime.run('visit', 'wide'));
    const held = [runtime.run('hold', 'a'), runtime.run('hold', 'a')];
    await gate.reached('a', 2);
    gate.open('a');
    await Promise.all([...narrow, ...wide, ...held]);
    expect(gate.most('narrow')).toBe(1);
  });

  it('that is held up by its one thread does not hold up another queue', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { services: gate.services, queues: { narrow: { maxThreads: 1 } } });
    const held = Array.from({ length: 10 }, () => runtime.run('hold', 'a', { queue: 'narrow', priority: 9 }));
    await gate.reached('a');
    expect(await runtime.run('sum', [1, 2], { priority: 0 })).toBe(3);
    expect(gate.count('a')).toBe(1);
    gate.open('a');
    await Promise.all(held);
  });

  it('with `perThread` runs so many async handlers at once on a thread, and not more', async () => {
    const gate = new Gate();
    const runtime = await open(kind, {
      services: gate.services,
      threads: 1,
      queues: { io: { perThread: 8 } },
    });
    const held = Array.from({ length: 20 }, () => runtime.run('hold', 'a', { queue: 'io' }));
    await gate.reached('a', 8);
    // A round trip through the thread and back: whoever could come to the gate is there.
    await gate.settle();
    expect(gate.count('a')).toBe(8);
    expect((await runtime.counts()).get('io')).toMatchObject({ running: 8, ready: 12 });
    gate.open('a');
    expect(await Promise.all(held)).toEqual(Array.from({ length: 20 }, () => 'a'));
  });

  it('with `perThread` over `maxThreads` keeps both', async () => {
    const gate = new Gate();
    const runtime = await open(kind, {
      services: gate.services,
      threads: 3,
      queues: { io: { perThread: 4, maxThreads: 2 } },
    });
    const held = Array.from({ length: 20 }, () => runtime.run('hold', 'a', { queue: 'io' }));
    await gate.reached('a', 8);
    expect(await runtime.run('sum', [5])).toBe(5);
    expect(gate.count('a')).toBe(8);
    gate.open('a');
    await Promise.all(held);
  });
});

describe.each(RUNTIMES)('ten thousand queues (%s)', (kind) => {
  it('with the longest names open, each with its defaults', async () => {
    const names = Array.from({ length: 10_000 }, (_, at) => `q${at}`.padEnd(128, 'x'));
    const queues = Object.fromEntries(names.map((name) => [name, { priority: 2, maxAttempts: 1 }]));
    const runtime = await open(kind, { threads: 1, queues });
    const { id } = await runtime.enqueue('noop', undefined, { queue: names[9_999]!, delayMs: 60_000 });
    expect(await runtime.get(id)).toMatchObject({ priority: 2 });
  });
});

describe.each(BACKENDS)('a paused queue (%s)', (kind) => {
  it('starts nothing, gives back what threads have not started, and goes on when resumed', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { services: gate.services, threads: 1 });
    const order: unknown[] = [];
    const running = runtime.run('hold', 'a', { priority: 9 });
    const waiting = Array.from({ length: 50 }, (_, at) => runtime.run('echo', at).then((n) => order.push(n)));
    await gate.reached('a');
    await runtime.pause('default');
    gate.open('a');
    expect(await running).toBe('a');
    expect(await runtime.run('echo', 'other', { queue: 'other' })).toBe('other');
    expect(order).toEqual([]);
    expect((await runtime.counts()).get('default')).toMatchObject({ ready: 50, running: 0 });
    await runtime.resume('default');
    await Promise.all(waiting);
    expect(order).toEqual(Array.from({ length: 50 }, (_, at) => at));
  });

  it('says so when it pauses and resumes, once each', async () => {
    const runtime = await open(kind, { threads: 1 });
    const paused = nextEvent(runtime, 'paused');
    const resumed = nextEvent(runtime, 'resumed');
    await runtime.pause('a');
    await runtime.pause('a');
    await runtime.resume('a');
    expect(await paused).toMatchObject({ queue: 'a' });
    expect(await resumed).toMatchObject({ queue: 'a' });
  });

  it('that is paused in the options begins so', async () => {
    const runtime = await open(kind, { threads: 1, queues: { media: { paused: true } } });
    const handle = await runtime.enqueue('media', 1);
    expect(await runtime.run('sum', [1])).toBe(1);
    expect(await handle.state()).toBe('ready');
    await runtime.resume('media');
    expect(await handle.result()).toBe(1);
  });
});

describe('after a restart', () => {
  it('a pause holds until it is resumed, also when that was in another life', async () => {
    const backend = freshBackend('lmdb');
    const first = await open(backend, { threads: 1 });
    await first.pause('media');
    const { id } = await first.enqueue('media', 'x');
    await first.stop();
    const second = await open(backend, { threads: 1 });
    expect(await second.run('sum', [1])).toBe(1);
    expect(await second.handle(id).state()).toBe('ready');
    await second.resume('media');
    expect(await second.handle(id).result()).toBe('x');
    await second.stop();
    const third = await open(backend, { threads: 1 });
    expect(await third.run('media', 'y')).toBe('y');
  });

  it('the options have the last word over a stored pause', async () => {
    const backend = freshBackend('lmdb');
    const first = await open(backend, { threads: 1 });
    await first.pause('media');
    await first.stop();
    const second = await open(backend, { threads: 1, queues: { media: { paused: false } } });
    expect(await second.run('media', 'y')).toBe('y');
  });

  it('a runtime that serves some queues leaves the others waiting', async () => {
    const backend = freshBackend('lmdb');
    const first = await open(backend, { threads: 1, serve: ['media'] });
    const plain = await first.enqueue('sum', [1, 2]);
    expect(await first.run('media', 'x')).toBe('x');
    expect(await plain.state()).toBe('ready');
    await first.stop();
    const second = await open(backend, { threads: 1, serve: ['default'] });
    const media = await second.enqueue('media', 'y');
    expect(await second.handle(plain.id).result()).toBe(3);
    expect(await media.state()).toBe('ready');
  });
});
