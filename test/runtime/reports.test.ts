/** What a task says while it runs, who may see it, and who is told of what happens. */
import diagnostics from 'node:diagnostics_channel';
import { describe, expect, it } from 'vitest';
import type { RuntimeEvent } from '#src/index.js';
import { BACKENDS, freshBackend, Gate, nextEvent, open, RUNTIMES, rejection } from './harness.js';

describe.each(BACKENDS)('progress and log lines (%s)', (kind) => {
  it('are told while the task runs and kept with its outcome', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const progress = nextEvent(runtime, 'progress');
    const line = nextEvent(runtime, 'log');
    const handle = await runtime.enqueue('reports', {
      progress: [{ done: 1, of: 9n }],
      lines: ['first', 'second'],
      gate: 'a',
    });
    expect(await progress).toMatchObject({
      taskId: handle.id,
      progress: { done: 1, of: 9n },
      name: 'reports',
    });
    expect(await line).toMatchObject({ taskId: handle.id, message: 'first' });
    expect(await runtime.get(handle.id)).toMatchObject({ state: 'running', progress: { done: 1, of: 9n } });
    gate.open('a');
    await handle.result();
    const info = (await runtime.get(handle.id))!;
    expect(info.progress).toEqual({ done: 1, of: 9n });
    expect(info.logs.map(({ message }) => message)).toEqual(['first', 'second']);
    expect(info.result).toBe('said');
  });

  it('keep the last value and a bounded number of bounded lines', async () => {
    const runtime = await open(kind, { threads: 1 });
    const handle = await runtime.enqueue('reports', {
      progress: Array.from({ length: 10_000 }, (_, at) => at),
      lines: Array.from({ length: 150 }, (_, at) => `${at} ${'é'.repeat(3_000)}`),
    });
    expect(await handle.result()).toBe('said');
    const info = (await runtime.get(handle.id))!;
    expect(info.progress).toBe(9_999);
    expect(info.logs.length).toBe(101);
    for (const { message } of info.logs) expect(Buffer.byteLength(message)).toBeLessThanOrEqual(2_048);
    expect(info.logs.at(-1)!.message).toContain('50 more lines');
  });

  it('that cannot be encoded fail the attempt with the path', async () => {
    const runtime = await open(kind, { threads: 1 });
    const error = await rejection(runtime.run('wrong', 'function', { maxAttempts: 1 }));
    expect(error.cause).toMatchObject({ code: 'ERR_MILLRACE_NOT_ENCODABLE' });
  });
});

describe.each(BACKENDS)('a sensitive task (%s)', (kind) => {
  it('shows neither payload nor result, but gives the result to who waits', async () => {
    const runtime = await open(kind, { threads: 1 });
    // No id or instant holds it by chance.
    const card = 'card-4111';
    const handle = await runtime.enqueue('secret', { card });
    expect(await handle.result()).toEqual({ card });
    const info = (await runtime.get(handle.id))!;
    expect([info.payload, info.result]).toEqual([undefined, undefined]);
    const dead = await runtime.enqueue('echo', 1);
    await dead.result();
    const { tasks } = await runtime.list({ state: 'completed' });
    expect(JSON.stringify(tasks)).not.toContain(card);
    expect(tasks.find(({ name }) => name === 'echo')!.result).toBe(1);
  });
});

describe.each(BACKENDS)('the log (%s)', (kind) => {
  it('tells of threads that died, and never what was in a payload or a result', async () => {
    const lines: unknown[] = [];
    const log = (...line: unknown[]): void => void lines.push(line);
    const logger = { debug: log, info: log, warn: log, error: log };
    const runtime = await open(kind, { threads: 1, logger });
    const canary = 'canary-4111';
    await runtime.run('echo', canary);
    await rejection(runtime.run('exits', { code: 3, canary } as never, { maxCrashes: 1 }));
    await rejection(runtime.run('strict', { n: canary } as never));
    await rejection(runtime.run('fails', { canary } as never, { maxAttempts: 1 }));
    await rejection(runtime.enqueue('echo', { canary, call: () => 1 }));
    for (const isolation of ['thread', 'process'] as const) {
      const dead = await rejection(runtime.run('strays', canary, { isolation, maxCrashes: 1 }));
      expect((dead.cause as Error).message).toContain(canary);
    }
    await runtime.stop();
    expect(JSON.stringify(lines)).toContain('worker exited with code 3');
    expect(JSON.stringify(lines)).not.toContain(canary);
  });
});

describe.each(BACKENDS)('a task in a sensitive queue (%s)', (kind) => {
  it('shows neither payload nor result, unless its definition says so', async () => {
    const runtime = await open(kind, { threads: 1, queues: { private: { sensitive: true } } });
    const handle = await runtime.enqueue('fails', { error: '4111' }, { queue: 'private', maxAttempts: 1 });
    await rejection(handle.result());
    expect((await runtime.get(handle.id))!.payload).toBeUndefined();
    const plain = await runtime.enqueue('fails', { error: 'x' }, { maxAttempts: 1 });
    await rejection(plain.result());
    expect((await runtime.get(plain.id))!.payload).toEqual({ error: 'x' });
  });
});

describe.each(RUNTIMES)('events of the runtime itself (%s)', (kind) => {
  it('come only as the filter says', async () => {
    const runtime = await open(kind, { threads: 1 });
    const ofQueue = runtime.events({ queue: 'media' });
    const ofKinds = runtime.events({ kinds: ['dead', 'cancelled'] });
    await runtime.run('sum', [1]);
    await rejection(runtime.run('fails', {}, { maxAttempts: 1 }));
    const delayed = await runtime.enqueue('echo', 1, { delayMs: 60_000 });
    await delayed.cancel();
    await runtime.run('media', 1);
    await runtime.stop();
    const all = async (events: AsyncIterable<RuntimeEvent>) => {
      const list: RuntimeEvent[] = [];
      for await (const event of events) list.push(event);
      return list;
    };
    const media = await all(ofQueue);
    expect(media.map((event) => event.kind).toSorted()).toEqual(['completed', 'enqueued', 'handed']);
    for (const event of media) expect(event).toMatchObject({ queue: 'media' });
    const kinds = await all(ofKinds);
    expect(kinds.map((event) => event.kind)).toEqual(['dead', 'cancelled']);
    expect(kinds[0]).toMatchObject({ reason: 'failed', error: { name: 'RangeError' } });
    expect(kinds[1]).toMatchObject({ reason: 'cancelled', taskId: delayed.id });
  });

  it('end with the runtime, and begin with the call, not with the first step', async () => {
    const runtime = await open(kind, { threads: 1 });
    const events = runtime.events();
    await runtime.run('sum', [1]);
    await runtime.stop();
    const kinds = new Set<string>();
    for await (const event of events) kinds.add(event.kind);
    expect(kinds.has('completed')).toBe(true);
    expect(await runtime.events().next()).toEqual({ done: true, value: undefined });
  });
});

describe.each(BACKENDS)('events (%s)', (kind) => {
  it('tell the life of each task in order', async () => {
    const runtime = await open(kind, { threads: 1 });
    const events = runtime.events({ name: 'fails' });
    const handle = await runtime.enqueue('fails', { until: 3 }, { backoff: { kind: 'fixed', baseMs: 0 } });
    await handle.result();
    const kinds: string[] = [];
    for await (const event of events) {
      expect(event).toMatchObject({ taskId: handle.id, name: 'fails', queue: 'default' });
      kinds.push(event.kind);
      if (event.kind === 'completed') break;
    }
    expect(kinds.toSorted()).toEqual(['completed', 'enqueued', 'retrying', 'retrying']);
    expect(kinds.filter((kind) => kind !== 'enqueued')).toEqual(['retrying', 'retrying', 'completed']);
  });

  it('of one task come from its handle', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 2, services: gate.services });
    const handle = await runtime.enqueue('hold', 'a');
    const events = handle.events();
    await runtime.run('sum', [1]);
    gate.open('a');
    expect((await events.next()).value).toMatchObject({ kind: 'completed', taskId: handle.id, attempt: 1 });
    await events.return!();
    expect(await events.next()).toEqual({ done: true, value: undefined });
  });

  it('are bounded for a slow listener, which learns how many it missed', async () => {
    const runtime = await open(kind, { threads: 1 });
    const slow = runtime.events({ kinds: ['completed'], bound: 10 });
    await Promise.all(Array.from({ length: 100 }, () => runtime.run('noop', undefined)));
    await runtime.whenIdle();
    expect((await slow.next()).value).toMatchObject({ kind: 'lagged', dropped: 90 });
    for (let at = 0; at < 10; at++) expect((await slow.next()).value).toMatchObject({ kind: 'completed' });
    await slow.return!();
  });

  it('also go to diagnostics_channel', async () => {
    const runtime = await open(kind, { threads: 1 });
    const told: unknown[] = [];
    const listen = (event: unknown) => void told.push(event);
    diagnostics.subscribe('millrace:completed', listen);
    try {
      const completed = nextEvent(runtime, 'completed');
      const handle = await runtime.enqueue('sum', [1]);
      await completed;
      expect(told).toMatchObject([{ kind: 'completed', taskId: handle.id, name: 'sum' }]);
    } finally {
      diagnostics.unsubscribe('millrace:completed', listen);
    }
  });

  it('say which thread a batch went to, before its tasks complete', async () => {
    const runtime = await open(kind, { threads: 1 });
    const events = runtime.events({ kinds: ['handed', 'completed'] });
    await runtime.run('sum', [1]);
    const told = [(await events.next()).value, (await events.next()).value];
    expect(told).toMatchObject([
      { kind: 'handed', queue: 'default', thread: 0, tasks: 1 },
      { kind: 'completed', name: 'sum' },
    ]);
  });

  it('of a listener on the channel that throws do not stop the runtime', async () => {
    const runtime = await open(kind, { threads: 1 });
    const thrown: unknown[] = [];
    const listen = () => {
      throw new Error('broken listener');
    };
    const catchIt = (error: unknown) => void thrown.push(error);
    const others = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', catchIt);
    diagnostics.subscribe('millrace:completed', listen);
    try {
      for (let at = 0; at < 3; at++) expect(await runtime.run('sum', [at])).toBe(at);
      await runtime.whenIdle();
    } finally {
      diagnostics.unsubscribe('millrace:completed', listen);
      await new Promise(setImmediate);
      process.off('uncaughtException', catchIt);
      for (const listener of others) process.on('uncaughtException', listener);
    }
    expect(await runtime.run('sum', [9])).toBe(9);
  });
});

describe('counts and lists', () => {
  it('follow a task through its states, also after a restart', async () => {
    const backend = freshBackend('lmdb');
    const gate = new Gate();
    const first = await open(backend, { threads: 1, services: gate.services });
    const held = await first.enqueue('hold', 'a');
    await gate.reached('a');
    const waiting = await first.enqueue('echo', 1);
    const delayed = await first.enqueue('echo', 2, { delayMs: 3_600_000 });
    expect((await first.counts()).get('default')).toMatchObject({ running: 1, ready: 1, scheduled: 1 });
    const states = await Promise.all(
      (['running', 'ready', 'scheduled'] as const).map(async (state) =>
        (await first.list({ state })).tasks.map(({ id }) => id),
      ),
    );
    expect(states).toEqual([[held.id], [waiting.id], [delayed.id]]);
    gate.open('a');
    await waiting.result();
    await first.stop();
    const second = await open(backend, { threads: 1 });
    expect((await second.counts()).get('default')).toMatchObject({
      running: 0,
      ready: 0,
      scheduled: 1,
      completed: 2,
    });
    const { tasks } = await second.list();
    expect(tasks.map(({ id }) => id).toSorted()).toEqual([held.id, waiting.id, delayed.id].toSorted());
    expect(tasks.find(({ id }) => id === delayed.id)!.payload).toBe(2);
  });
});
