/** Tasks that do not end: deadlines, cancelling, and threads that die; the neighbours are not charged. */
import { describe, expect, it } from 'vitest';
import { Gate, nextEvent, open, RUNTIMES, rejection } from './harness.js';

const SOON = { timeoutMs: 60, killGraceMs: 20, maxAttempts: 1 } as const;

describe.each(RUNTIMES)('a deadline (%s)', (kind) => {
  it('ends a busy loop with its thread, and the slot goes on with the next task', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const spinning = await runtime.enqueue('spin', 'a', SOON);
    await gate.reached('a');
    const next = runtime.run('sum', [1, 2]);
    const error = await rejection(spinning.result());
    expect(error).toMatchObject({ code: 'ERR_MILLRACE_TASK_DEAD', reason: 'timed-out' });
    expect(error.cause).toMatchObject({ name: 'TimeoutError' });
    expect(await next).toBe(3);
    const [attempt] = (await runtime.get(spinning.id))!.attempts;
    expect(attempt).toMatchObject({ attempt: 1, outcome: 'timed-out' });
    expect(attempt!.runMs).toBeGreaterThanOrEqual(SOON.timeoutMs);
  });

  it('does not charge tasks that the thread had beside it, and runs them once', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services, autostart: false });
    const before = await Promise.all(Array.from({ length: 30 }, (_, at) => runtime.enqueue('echo', at)));
    const spinning = await runtime.enqueue('spin', 'a', SOON);
    const after = await Promise.all(Array.from({ length: 30 }, (_, at) => runtime.enqueue('echo', at)));
    runtime.start();
    expect(await rejection(spinning.result())).toMatchObject({ reason: 'timed-out' });
    await Promise.all([...before, ...after].map((handle) => handle.result()));
    for (const handle of [...before, ...after]) {
      const info = (await runtime.get(handle.id))!;
      expect(info).toMatchObject({ failures: 0, crashes: 0, state: 'completed' });
      expect(info.attempts).toMatchObject([{ attempt: 1, outcome: 'completed' }]);
    }
    expect((await runtime.counts()).get('default')).toMatchObject({ completed: 60, dead: 1 });
  });

  it('reaches an async handler as its signal, which may end in order', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const thread = await runtime.run('threadOf', undefined);
    const error = await rejection(runtime.run('obeys', 'a', { ...SOON, killGraceMs: 10_000 }));
    expect(error).toMatchObject({ reason: 'timed-out' });
    expect(await runtime.run('threadOf', undefined)).toBe(thread);
  });

  it('reaches a loop that asks `isAborted`', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const thread = await runtime.run('threadOf', undefined);
    const error = await rejection(runtime.run('polls', 'a', { ...SOON, killGraceMs: 10_000 }));
    expect(error).toMatchObject({ reason: 'timed-out' });
    expect(await runtime.run('threadOf', undefined)).toBe(thread);
  });

  it('counts as a failure: the next attempt follows', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const options = { ...SOON, maxAttempts: 2, backoff: { kind: 'fixed', baseMs: 1 } } as const;
    const handle = await runtime.enqueue('spin', 'a', options);
    await gate.reached('a', 2);
    await rejection(handle.result());
    const info = (await runtime.get(handle.id))!;
    expect(info.attempts.map(({ outcome }) => outcome)).toEqual(['timed-out', 'timed-out']);
    expect(info).toMatchObject({ failures: 2, crashes: 0 });
  });

  it('of one does not shorten that of another on the same thread', async () => {
    const gate = new Gate();
    const runtime = await open(kind, {
      threads: 1,
      services: gate.services,
      queues: { io: { perThread: 2 } },
    });
    const long = runtime.run('hold', 'long', { queue: 'io' });
    const short = rejection(runtime.run('obeys', 'short', { ...SOON, queue: 'io', killGraceMs: 10_000 }));
    expect(await short).toMatchObject({ reason: 'timed-out' });
    gate.open('long');
    expect(await long).toBe('long');
  });
});

describe.each(RUNTIMES)('a host that is blocked (%s)', (kind) => {
  it('takes no busy thread for a dead one, and no task in time for a late one', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 2, services: gate.services });
    await Promise.all([runtime.run('ordinal', {}), runtime.run('ordinal', {})]);
    const options = { timeoutMs: 150, killGraceMs: 10, maxAttempts: 1 };
    const handles = await Promise.all(
      Array.from({ length: 8 }, () => runtime.enqueue('ordinal', { busyMs: 20 }, options)),
    );
    const end = performance.now() + 400;
    while (performance.now() < end);
    for (const handle of handles) {
      await handle.result();
      expect((await runtime.get(handle.id))!.attempts).toMatchObject([{ attempt: 1, outcome: 'completed' }]);
    }
  });

  it('still ends a task that is over its time, once it can', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const spinning = await runtime.enqueue('spin', 'a', SOON);
    await gate.reached('a');
    const end = performance.now() + 300;
    while (performance.now() < end);
    expect(await rejection(spinning.result())).toMatchObject({ reason: 'timed-out' });
    expect((await runtime.get(spinning.id))!.attempts.length).toBe(1);
  });
});

describe.each(RUNTIMES)('cancel (%s)', (kind) => {
  it('ends a waiting, a delayed and a retrying task at once', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const retrying = nextEvent(runtime, 'retrying');
    const failing = await runtime.enqueue('fails', {}, { backoff: { kind: 'fixed', baseMs: 60_000 } });
    await retrying;
    const held = runtime.run('hold', 'a');
    await gate.reached('a');
    const waiting = await runtime.enqueue('echo', 1);
    const delayed = await runtime.enqueue('echo', 1, { delayMs: 60_000 });
    for (const handle of [failing, waiting, delayed]) {
      expect(await handle.cancel()).toBe(true);
      expect(await handle.state()).toBe('cancelled');
      expect(await rejection(handle.result())).toMatchObject({
        code: 'ERR_MILLRACE_TASK_CANCELLED',
        reason: 'cancelled',
      });
      expect(await handle.cancel()).toBe(false);
    }
    gate.open('a');
    await held;
    expect((await runtime.counts()).get('default')).toMatchObject({
      cancelled: 3,
      ready: 0,
      scheduled: 0,
      retrying: 0,
    });
  });

  it('reaches an async handler as its signal', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const thread = await runtime.run('threadOf', undefined);
    const handle = await runtime.enqueue('obeys', 'a', { killGraceMs: 10_000 });
    await gate.reached('a');
    expect(await handle.cancel()).toBe(true);
    expect(await rejection(handle.result())).toMatchObject({ code: 'ERR_MILLRACE_TASK_CANCELLED' });
    expect((await runtime.get(handle.id))!.attempts).toMatchObject([{ attempt: 1, outcome: 'cancelled' }]);
    expect(await runtime.run('threadOf', undefined)).toBe(thread);
  });

  it('ends a busy loop with its thread after the grace', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const thread = await runtime.run('threadOf', undefined);
    const handle = await runtime.enqueue('spin', 'a', { killGraceMs: 10 });
    await gate.reached('a');
    await handle.cancel();
    expect(await rejection(handle.result())).toMatchObject({ code: 'ERR_MILLRACE_TASK_CANCELLED' });
    expect(await runtime.run('threadOf', undefined)).not.toBe(thread);
    expect((await runtime.counts()).get('default')).toMatchObject({ cancelled: 1, dead: 0 });
  });

  it('loses against a handler that completes all the same', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const handle = await runtime.enqueue('hold', 'a', { killGraceMs: 10_000 });
    await gate.reached('a');
    await handle.cancel();
    gate.open('a');
    const settled = await handle.result().catch((error) => error.code);
    expect(['a', 'ERR_MILLRACE_TASK_CANCELLED']).toContain(settled);
    expect(['completed', 'cancelled']).toContain(await handle.state());
  });

  it('by filter ends those and no others, running ones too', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const running = await runtime.enqueue('obeys', 'a', { queue: 'bulk' });
    await gate.reached('a');
    const bulk = await Promise.all(
      Array.from({ length: 700 }, (_, at) => runtime.enqueue('echo', at, { queue: 'bulk' })),
    );
    const later = await runtime.enqueue('echo', 1, { queue: 'bulk', delayMs: 60_000 });
    const other = await runtime.enqueue('echo', 'other');
    expect(await runtime.cancel({ queue: 'bulk' })).toBe(702);
    await Promise.all([running, later, ...bulk].map((handle) => rejection(handle.result())));
    expect(await other.result()).toBe('other');
    expect((await runtime.counts()).get('bulk')).toMatchObject({
      cancelled: 702,
      ready: 0,
      scheduled: 0,
      running: 0,
    });
    expect(await runtime.cancel({ queue: 'bulk' })).toBe(0);
  });
});

describe.each(RUNTIMES)('a thread that dies (%s)', (kind) => {
  it('is charged to the task that ran on it, which is dead after `maxCrashes`', async () => {
    const runtime = await open(kind, { threads: 1 });
    const options = { maxCrashes: 2, maxAttempts: 1, backoff: { kind: 'fixed', baseMs: 1 } } as const;
    const handle = await runtime.enqueue('exits', { code: 7 }, options);
    const error = await rejection(handle.result());
    expect(error).toMatchObject({ code: 'ERR_MILLRACE_TASK_DEAD', reason: 'crashed' });
    expect((error.cause as Error).message).toContain('7');
    const info = (await runtime.get(handle.id))!;
    expect(info).toMatchObject({ crashes: 2, failures: 0 });
    expect(info.attempts.map(({ outcome }) => outcome)).toEqual(['crashed', 'crashed']);
    expect(await runtime.run('sum', [1, 2])).toBe(3);
  });

  it('is not charged to tasks that waited on it: they run once', async () => {
    const runtime = await open(kind, { threads: 1, autostart: false });
    const before = await Promise.all(Array.from({ length: 30 }, (_, at) => runtime.enqueue('echo', at)));
    const exiting = await runtime.enqueue('exits', { code: 1 }, { maxCrashes: 1 });
    const after = await Promise.all(Array.from({ length: 30 }, (_, at) => runtime.enqueue('echo', at)));
    runtime.start();
    expect(await rejection(exiting.result())).toMatchObject({ reason: 'crashed' });
    await Promise.all([...before, ...after].map((handle) => handle.result()));
    for (const { id } of [...before, ...after]) {
      const info = (await runtime.get(id))!;
      expect(info).toMatchObject({ failures: 0, crashes: 0 });
      expect(info.attempts).toMatchObject([{ attempt: 1, outcome: 'completed' }]);
    }
  });

  it('with several tasks at once charges none before each has run alone', async () => {
    const gate = new Gate();
    const runtime = await open(kind, {
      threads: 1,
      services: gate.services,
      queues: { io: { perThread: 3, maxCrashes: 2, backoff: { kind: 'fixed', baseMs: 1 } } },
    });
    const innocent = ['a', 'b'].map((key) => runtime.run('hold', key, { queue: 'io' }));
    await Promise.all([gate.reached('a'), gate.reached('b')]);
    const guilty = await runtime.enqueue('exits', { code: 3 }, { queue: 'io' });
    // Suspects run one at a time, so the second waits until the first is through.
    await gate.reached('a', 2);
    await gate.settle();
    expect(gate.count('b')).toBe(1);
    gate.open('a');
    gate.open('b');
    expect(await Promise.all(innocent)).toEqual(['a', 'b']);
    expect(await rejection(guilty.result())).toMatchObject({ reason: 'crashed' });
    expect((await runtime.get(guilty.id))!.crashes).toBe(2);
    const { tasks } = await runtime.list({ state: 'completed', queue: 'io' });
    for (const task of tasks) expect(task).toMatchObject({ crashes: 0, failures: 0 });
  });

  it('is told to whoever listens, and does not end the host', async () => {
    const runtime = await open(kind, { threads: 1 });
    const exited = nextEvent(runtime, 'thread', {}, ({ event }) => event === 'exited');
    const ready = nextEvent(runtime, 'thread', {}, ({ event }) => event === 'ready');
    await rejection(runtime.run('exits', { code: 4 }, { maxCrashes: 1 }));
    expect(await exited).toMatchObject({ thread: 0, detail: expect.stringContaining('4') });
    expect(await ready).toMatchObject({ thread: 0 });
  });
});
