/** The end of a runtime: in time, with everything unfinished given back uncharged. */
import { describe, expect, it } from 'vitest';
import { Child } from './child.js';
import { freshBackend, Gate, open, RUNTIMES, rejection } from './harness.js';

describe.each(RUNTIMES)('stop (%s)', (kind) => {
  it('lets running tasks end in their grace, and starts no others', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const running = await runtime.enqueue('hold', 'a');
    await gate.reached('a');
    const result = running.result();
    const waiting = rejection((await runtime.enqueue('echo', 1)).result());
    const stopped = runtime.stop({ graceMs: 60_000 });
    expect(await rejection(runtime.enqueue('noop', undefined))).toMatchObject({
      code: 'ERR_MILLRACE_STOPPED',
    });
    expect(await running.state()).toBe('running');
    gate.open('a');
    expect(await stopped).toEqual({ settled: 1, released: 0, lostThreads: 0 });
    expect(await result).toBe('a');
    expect(await waiting).toMatchObject({ code: 'ERR_MILLRACE_STOPPED' });
  });

  it('aborts what is not done after the grace, and ends threads that do not obey', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 2, services: gate.services });
    const obeying = rejection(runtime.run('obeys', 'a', { killGraceMs: 60_000 }));
    const spinning = rejection(runtime.run('spin', 'b', { killGraceMs: 60_000 }));
    await Promise.all([gate.reached('a'), gate.reached('b')]);
    const report = await runtime.stop({ graceMs: 0, killMs: 20 });
    expect(report).toEqual({ settled: 0, released: 2, lostThreads: 0 });
    expect(await obeying).toMatchObject({ code: 'ERR_MILLRACE_STOPPED' });
    expect(await spinning).toMatchObject({ code: 'ERR_MILLRACE_STOPPED' });
  });

  it('called again gives the same promise', async () => {
    const runtime = await open(kind);
    const first = runtime.stop();
    expect(runtime.stop({ graceMs: 5 })).toBe(first);
    await first;
    expect(runtime.stop()).toBe(first);
  });

  it('comes with `await using`, and with an abort of the signal', async () => {
    const abort = new AbortController();
    const runtime = await open(kind, { threads: 1, signal: abort.signal });
    const events = runtime.events();
    abort.abort();
    while (!(await events.next()).done);
    expect(await rejection(runtime.run('noop', undefined))).toMatchObject({ code: 'ERR_MILLRACE_STOPPED' });
    const other = await open(kind, { threads: 1 });
    {
      await using used = other;
      await used.run('noop', undefined);
    }
    expect(await rejection(other.run('noop', undefined))).toMatchObject({ code: 'ERR_MILLRACE_STOPPED' });
  });

  it('comes before the start when the signal is aborted while the runtime opens', async () => {
    const abort = new AbortController();
    const backend = freshBackend(kind);
    const opening = rejection(open(backend, { threads: 1, signal: abort.signal }));
    abort.abort(new Error('not any more'));
    expect((await opening).message).toBe('not any more');
    expect(await (await open(backend)).run('sum', [1])).toBe(1);
  });

  it('of a runtime that does nothing is quick, started or not', async () => {
    const idle = await open(kind);
    const unstarted = await open(kind, { autostart: false });
    await unstarted.enqueue('noop', undefined);
    const reports = await Promise.all([idle, unstarted].map((runtime) => runtime.stop({ graceMs: 60_000 })));
    expect(reports).toEqual([
      { settled: 0, released: 0, lostThreads: 0 },
      { settled: 0, released: 0, lostThreads: 0 },
    ]);
  });

  it('ends `whenIdle`, which else resolves when nothing is left to do', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    await runtime.whenIdle();
    const failing = runtime.enqueue('fails', { until: 2 }, { backoff: { kind: 'fixed', baseMs: 5 } });
    const held = runtime.enqueue('hold', 'a');
    // What is for later does not count.
    await runtime.enqueue('echo', 1, { delayMs: 3_600_000 });
    await gate.reached('a');
    let isIdle = false;
    const idle = runtime.whenIdle().then(() => {
      isIdle = true;
    });
    await gate.settle();
    expect(isIdle).toBe(false);
    gate.open('a');
    await idle;
    expect(await (await failing).state()).toBe('completed');
    expect(await (await held).state()).toBe('completed');
    const other = await open(kind, { autostart: false });
    await other.enqueue('noop', undefined);
    const ended = other.whenIdle();
    await other.stop();
    await ended;
  });
});

describe('after a stop', () => {
  it('unfinished tasks run again in the next life, uncharged', async () => {
    const backend = freshBackend('lmdb');
    const gate = new Gate();
    const first = await open(backend, { threads: 2, services: gate.services });
    const obeying = await first.enqueue('obeys', 'a');
    const spinning = await first.enqueue('hold', 'b');
    const behind = await first.enqueueBatch(
      Array.from({ length: 300 }, (_, at) => ({ name: 'echo', payload: at }) as const),
    );
    await Promise.all([gate.reached('a'), gate.reached('b')]);
    expect(await first.stop({ graceMs: 0, killMs: 0 })).toMatchObject({ released: 2, lostThreads: 0 });

    const other = new Gate();
    const second = await open(backend, { threads: 2, services: other.services });
    other.open('b');
    expect(await second.handle(spinning.id).result()).toBe('b');
    await other.reached('a');
    expect(await Promise.all(behind.map(({ id }) => second.handle(id).result()))).toEqual(
      Array.from({ length: 300 }, (_, at) => at),
    );
    expect(await second.cancel(obeying.id)).toBe(1);
    await rejection(second.handle(obeying.id).result());
    for (const id of [obeying.id, spinning.id]) {
      const info = (await second.get(id))!;
      expect(info).toMatchObject({ failures: 0, crashes: 0 });
      expect(info.attempts.at(-1)!.attempt).toBe(1);
    }
  });
});

describe('a process', () => {
  it('ends on a signal of `stopOn` when its tasks have ended', async () => {
    const backend = freshBackend('lmdb');
    const child = new Child('runtime-child', 'signals', backend);
    const id = (await child.line('id ')).slice(3);
    await child.line('at the gate');
    child.kill('SIGTERM');
    expect({ ended: await child.ended, errors: child.errors }).toEqual({ ended: 0, errors: '' });
    const runtime = await open(backend, { autostart: false });
    expect(await runtime.handle(id).result()).toBe('the gate');
  });

  it('ends at once on a second signal, though a task does not obey', async () => {
    const backend = freshBackend('lmdb');
    const child = new Child('runtime-child', 'stubborn', backend);
    const id = (await child.line('id ')).slice(3);
    await child.line('at the gate');
    child.kill('SIGTERM');
    expect(await child.line('refused')).toBe('refused ERR_MILLRACE_STOPPED');
    // The same signal again within 300 ms is no second one, so it comes with every further line.
    for (let count = 2; await child.lineCount('refused', count).then(isThere, isGone); count++) {
      child.kill('SIGTERM');
    }
    expect({ ended: await child.ended, errors: child.errors }).toEqual({ ended: 0, errors: '' });
    const runtime = await open(backend, { autostart: false });
    expect(await runtime.get(id)).toMatchObject({ state: 'ready', failures: 0, crashes: 0 });
  });

  it.each(['memory:', 'lmdb'])(
    'is kept alive by an open runtime, not by one let go or stopped (%s)',
    async (kind) => {
      const backend = () => (kind === 'memory:' ? kind : freshBackend('lmdb'));
      const unref = new Child('runtime-child', 'unref', backend());
      const stopped = new Child('runtime-child', 'stopped', backend());
      const keeps = new Child('runtime-child', 'keeps', backend());
      expect(await unref.ended).toBe(0);
      expect(unref.lines).toEqual(['sum 3']);
      expect(await stopped.ended).toBe(0);
      expect(stopped.lines).toEqual(['sum 3']);
      await keeps.line('open');
      keeps.kill('SIGTERM');
      expect(await keeps.ended).toBe('SIGTERM');
    },
  );

  it.each(['memory:', 'lmdb'])(
    'is not kept alive by a runtime that could not be opened (%s)',
    async (kind) => {
      const backend = kind === 'memory:' ? kind : freshBackend('lmdb');
      const child = new Child('runtime-child', 'fails to open', backend);
      expect(await child.ended).toBe(0);
      expect(child.lines).toEqual(['refused ERR_MILLRACE_TASKS_MODULE']);
    },
  );

  it('that ends by its own fault loses nothing and charges nobody', async () => {
    const backend = freshBackend('lmdb');
    const child = new Child('runtime-child', 'throws', backend);
    const id = (await child.line('id ')).slice(3);
    expect(await child.ended).toBe(1);
    expect(child.errors).toContain('the host is broken');
    const gate = new Gate();
    const runtime = await open(backend, { threads: 1, services: gate.services });
    gate.open('the gate');
    expect(await runtime.handle(id).result()).toBe('the gate');
    expect(await runtime.get(id)).toMatchObject({ failures: 0, crashes: 0 });
  });
});

const isThere = (): boolean => true;
const isGone = (): boolean => false;
