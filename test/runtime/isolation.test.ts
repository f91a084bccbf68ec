/** `isolation: 'process'`: the same contract in child processes, beside the threads and instead of them. */
import { describe, expect, it } from 'vitest';
import { Gate, nextEvent, open, RUNTIMES, rejection } from './harness.js';

const isolation = 'process';
const BACKOFF = { kind: 'fixed', baseMs: 1, jitter: 'none' } as const;

// What a child does is the same on any backend; each start of one costs a process.
describe.each(['lmdb'] as const)('isolation (%s)', (kind) => {
  it("'process' is a process of its own, said by the task, its queue or its enqueue", async () => {
    const runtime = await open(kind, { threads: 1, queues: { apart: { isolation } } });
    const pids = [
      await runtime.run('isolated', undefined),
      await runtime.run('pidOf', undefined, { queue: 'apart' }),
      await runtime.run('pidOf', undefined, { isolation }),
    ];
    expect(new Set(pids).size).toBe(1);
    expect(pids[0]).not.toBe(process.pid);
    const here = [
      await runtime.run('pidOf', undefined),
      await runtime.run('isolated', undefined, { isolation: 'thread' }),
      await runtime.run('pidOf', undefined, { queue: 'apart', isolation: 'thread' }),
    ];
    expect(here).toEqual([process.pid, process.pid, process.pid]);
  });

  it('changes nothing of what a handler takes, returns and throws', async () => {
    const runtime = await open(kind, { threads: 1 });
    const payload = {
      list: [1, 2n, new Date(5)],
      map: new Map([['a', new Uint8Array([1, 2])]]),
      no: undefined,
    };
    expect(await runtime.run('echo', payload, { isolation })).toEqual(payload);
    expect(await runtime.run('large', { bytes: 3_000_000 }, { isolation })).toHaveLength(3_000_000);
    const data = new Uint8Array(100_000).fill(1);
    const moved = { isolation, transfer: [data.buffer as ArrayBuffer] } as const;
    expect(await runtime.run('bytes', { data, back: true }, moved)).toMatchObject({ total: 100_000 });
    const error = await rejection(runtime.run('fails', { error: 'payment' }, { isolation, maxAttempts: 1 }));
    expect(error.cause).toMatchObject({ message: 'attempt 1 declined', code: 'E_CARD', amount: 12 });
    expect(await runtime.run('fails', { until: 2 }, { isolation })).toBe(2);
    expect(await runtime.run('snoozes', { times: 1, ms: 1 }, { isolation })).toBe(1);
    expect(await rejection(runtime.run('wrong', 'function', { isolation }))).toMatchObject({
      reason: 'not-retryable',
    });
    expect(await rejection(runtime.run('strict', { n: 'x' } as never, { isolation }))).toMatchObject({
      reason: 'invalid-payload',
    });
  });

  it('changes nothing of what a handler asks of its context', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    expect(await runtime.run('asks', [2, 3], { isolation })).toBe(5);
    const about = await runtime.enqueue('looks', undefined, { isolation });
    expect(await about.result()).toEqual({
      ...{ taskId: about.id, name: 'looks', attempt: 1, app: 'the app', aborted: false },
    });
    const reports = { progress: [1, 'half'], lines: ['one', 'two'] };
    const { id } = await runtime.enqueue('reports', reports, { isolation });
    await runtime.handle(id).result();
    expect(await runtime.get(id)).toMatchObject({
      progress: 'half',
      logs: [{ message: 'one' }, { message: 'two' }],
    });
    const now = (await runtime.run('handsNow', { a: 1 }, { isolation })) as string;
    expect(await runtime.handle(now).result()).toEqual({ a: 1 });
    const echoed = nextEvent(runtime, 'completed', { name: 'echo' });
    await runtime.run('hands', { next: 2 }, { isolation });
    expect((await runtime.get((await echoed).taskId))!.name).toBe('echo');
  });

  it('keeps threads and children at work together within `threads`', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 2, services: gate.services });
    const threads = [runtime.run('hold', 'thread'), runtime.run('hold', 'thread')];
    await gate.reached('thread', 2);
    const children = [1, 2, 3].map(() => runtime.run('hold', 'child', { isolation, priority: 9 }));
    await gate.settle();
    expect(gate.count('child')).toBe(0);
    gate.open('thread');
    await Promise.all(threads);
    await gate.reached('child', 2);
    const later = runtime.run('hold', 'later', { priority: 9 });
    await gate.settle();
    expect([gate.count('child'), gate.count('later')]).toEqual([2, 0]);
    gate.open('child');
    gate.open('later');
    await Promise.all([...children, later]);
  });

  it('ends a child that is busy at its deadline, and one that is cancelled', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const once = { isolation, maxAttempts: 1, timeoutMs: 50, killGraceMs: 20 } as const;
    expect(await rejection(runtime.run('spin', 'busy', once))).toMatchObject({ reason: 'timed-out' });
    const polls = await runtime.enqueue('polls', 'listens', { isolation, killGraceMs: 10_000 });
    await gate.reached('listens');
    expect(await polls.cancel()).toBe(true);
    expect(await rejection(polls.result())).toMatchObject({ code: 'ERR_MILLRACE_TASK_CANCELLED' });
    expect(await runtime.run('sum', [1, 2], { isolation })).toBe(3);
  });

  it("charges a child's death to its task alone: the host goes on", async () => {
    const runtime = await open(kind, { threads: 1 });
    const options = { isolation, maxCrashes: 2, backoff: BACKOFF } as const;
    const handle = await runtime.enqueue('aborts', undefined, options);
    const error = await rejection(handle.result());
    expect(error).toMatchObject({ code: 'ERR_MILLRACE_TASK_DEAD', reason: 'crashed' });
    expect((error.cause as Error).message).toContain('child process was ended by SIGABRT');
    expect(await runtime.get(handle.id)).toMatchObject({ crashes: 2, failures: 0 });
    expect(await runtime.run('sum', [1, 2], { isolation })).toBe(3);
  });

  it('is where a task goes on under which a thread has died', async () => {
    const runtime = await open(kind, { threads: 1 });
    const deaths = runtime.events({ kinds: ['thread'] });
    const handle = await runtime.enqueue('exits', { code: 7 }, { maxCrashes: 3, backoff: BACKOFF });
    await rejection(handle.result());
    const exits: string[] = [];
    for await (const event of deaths) {
      if (event.kind === 'thread' && event.event === 'exited') exits.push(event.isolation);
      if (exits.length === 3) break;
    }
    expect(exits).toEqual(['thread', 'process', 'process']);
  });

  it('has `perThread` tasks of a queue in one child at once', async () => {
    const gate = new Gate();
    const queues = { io: { perThread: 3, isolation } } as const;
    const runtime = await open(kind, { threads: 1, services: gate.services, queues });
    const held = [1, 2, 3, 4].map(() => runtime.run('hold', 'a', { queue: 'io' }));
    await gate.reached('a', 3);
    await gate.settle();
    expect(gate.count('a')).toBe(3);
    gate.open('a');
    await Promise.all(held);
  });

  it('has its children recycled and resized as threads are', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services, recycle: { tasks: 3 } });
    const recycled = nextEvent(runtime, 'thread', {}, ({ event }) => event === 'recycled');
    const pids = new Set<number>();
    for (let round = 0; pids.size < 2; round++) {
      pids.add(await runtime.run('isolated', undefined));
      expect(round).toBeLessThan(10_000);
    }
    expect(await recycled).toMatchObject({ isolation });
    await runtime.resize(3);
    const held = [1, 2, 3].map(() => runtime.run('hold', 'a', { isolation }));
    await gate.reached('a', 3);
    gate.open('a');
    await Promise.all(held);
    const exited = nextEvent(
      runtime,
      'thread',
      {},
      (event) => event.event === 'exited' && event.thread === 2,
    );
    await runtime.resize(1);
    await exited;
    const [first, ...others] = await Promise.all([1, 2, 3].map(() => runtime.run('isolated', undefined)));
    expect(others).toHaveLength(2);
    expect(first).not.toBe(process.pid);
  });
});

describe.each(RUNTIMES)('isolation, seen by the runtime itself (%s)', (kind) => {
  it('is never starved by what threads could run', async () => {
    const runtime = await open(kind, { threads: 2, autostart: false });
    const before = await Promise.all(Array.from({ length: 500 }, () => runtime.enqueue('noop', undefined)));
    const isolated = await runtime.enqueue('isolated', undefined);
    const after = await Promise.all(Array.from({ length: 5_000 }, () => runtime.enqueue('noop', undefined)));
    runtime.start();
    await isolated.result();
    expect((await runtime.counts()).get('default')!.ready).toBeGreaterThan(0);
    await Promise.all([...before, ...after].map((handle) => handle.result()));
  });

  it('gives back what a stop interrupts', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const held = runtime.run('hold', 'a', { isolation }).catch((error) => error.code);
    await gate.reached('a');
    const report = await runtime.stop({ graceMs: 0, killMs: 10 });
    expect(report).toMatchObject({ released: 1, lostThreads: 0 });
    expect(await held).toBe('ERR_MILLRACE_STOPPED');
  });
});
