/** Start, register, resize, recycle, stop. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { fixture, freshFile, Gate, ISOLATIONS, openPool, preparePool, resultOf } from './harness.js';

describe('start', () => {
  it('resolves with the first thread; the others follow', async () => {
    const pool = await openPool({ threads: 3 });
    expect(pool.pool.slots).toHaveLength(3);
    expect(pool.pool.slots.filter((slot) => slot.isReady).length).toBeGreaterThanOrEqual(1);
    await pool.event('ready', 3);
    expect(pool.pool.slots.map((slot) => [slot.index, slot.isReady])).toEqual([
      [0, true],
      [1, true],
      [2, true],
    ]);
  });

  it('fails when the module is not imported in time', async () => {
    const pool = preparePool({ modules: [fixture('tasks-modules/never-loads')], bootTimeoutMs: 200 });
    await expect(pool.start()).rejects.toThrow('not imported within 200 ms');
  });

  for (const isolation of ISOLATIONS) {
    it(`does not keep the process alive, and an idle pool neither (${isolation})`, () => {
      const script = `
        import { createThreadPool } from '${pathToFileURL('dist/src/pool/thread-pool.js').href}';
        const modules = [${JSON.stringify(fixture('tasks'))}];
        const pool = createThreadPool({ threads: 2, modules, services: { a() {} } });
        const listener = {
          ready({ isolation }) { if (isolation === 'process') console.log('warm'); },
          threadEvent() {},
          finished() {},
        };
        await pool.start(listener);
        console.log('started');
        if (${isolation === 'process'}) pool.warm(0);`;
      const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 10_000 });
      expect({ status: child.status, out: `${child.stdout}`, error: `${child.stderr}` }).toEqual({
        status: 0,
        out: isolation === 'process' ? 'started\nwarm\n' : 'started\n',
        error: '',
      });
    });
  }
});

describe.each(ISOLATIONS)('a setup (%s)', (isolation) => {
  it('prepares each thread once and is stopped with it', async () => {
    const stopFile = freshFile('stops');
    writeFileSync(stopFile, '');
    const env = { ...process.env, STOP_FILE: stopFile };
    const pool = await openPool({
      isolation,
      modules: [fixture('tasks-modules/with-setup')],
      threads: 2,
      env,
    });
    await pool.event('ready', 2);
    const [first, second] = pool.slots;
    const counts = [];
    for (const slot of [first!, first!, second!, first!]) {
      counts.push(resultOf(await pool.run({ name: 'count' }, slot)));
    }
    expect(counts).toEqual([1, 2, 1, 3]);
    await pool.pool.stop(1_000);
    expect(readFileSync(stopFile, 'utf8').trim().split('\n').sort()).toEqual([
      // The threads beside the children have had nothing to do.
      ...(isolation === 'process' ? ['stopped after 0', 'stopped after 0'] : []),
      'stopped after 1',
      'stopped after 3',
    ]);
  });

  it('that does not stop does not keep the pool from stopping', async () => {
    const pool = await openPool({ isolation, modules: [fixture('tasks-modules/slow-stop')], stopAppsMs: 50 });
    expect(await pool.pool.stop(20)).toEqual({ lostThreads: 0 });
  });
});

describe.each(ISOLATIONS)('register (%s)', (isolation) => {
  it('adds handlers to every thread, present and future', async () => {
    const pool = await openPool({ isolation, threads: 2 });
    await pool.event('ready', 2);
    const added = await pool.pool.register(fixture('tasks-modules/more'));
    expect(added).toEqual([{ name: 'more', pattern: false, options: {} }]);
    expect(pool.pool.handlers.map((each) => each.name)).toContain('more');
    for (const slot of pool.slots) {
      expect(resultOf(await pool.run({ name: 'more', payload: 2 }, slot))).toBe(20);
    }
    await pool.run({ name: 'exit', payload: 1 });
    await pool.event('ready', 3);
    expect(await pool.result({ name: 'more', payload: 3 })).toBe(30);
  });

  it('holds back batches that may be for its handlers', async () => {
    const pool = await openPool({ isolation });
    const registered = pool.pool.register(fixture('tasks-modules/more'));
    expect(await pool.result({ name: 'more', payload: 4 })).toBe(40);
    await registered;
  });

  it('does not wait for a task that runs', async () => {
    const gate = new Gate();
    const pool = await openPool({ isolation, services: gate.services });
    pool.hand([{ token: 'a', name: 'gated', payload: 'a' }]);
    await pool.begun('a');
    await pool.pool.register(fixture('tasks-modules/more'));
    gate.open('a');
    await pool.finishedItem('a');
  });

  it('of a module that is there already gives its handlers again', async () => {
    const pool = await openPool({ isolation });
    const first = await pool.pool.register(fixture('tasks-modules/more'));
    expect(await pool.pool.register(fixture('tasks-modules/more'))).toEqual(first);
    expect(await pool.pool.register(fixture('tasks'))).toEqual(
      expect.arrayContaining([{ name: 'noop', pattern: false, options: {} }]),
    );
  });

  it('refuses a bad module and leaves everything as it was', async () => {
    const pool = await openPool({ isolation });
    const before = pool.pool.handlers;
    for (const name of ['missing', 'throws', 'empty', 'clashes']) {
      await expect(pool.pool.register(fixture(`tasks-modules/${name}`))).rejects.toMatchObject({
        code: 'ERR_MILLRACE_TASKS_MODULE',
        url: fixture(`tasks-modules/${name}`),
      });
    }
    expect(pool.pool.handlers).toEqual(before);
    await pool.run({ name: 'exit', payload: 1 });
    await pool.event('ready', 2);
    expect(await pool.result({ name: 'noop', payload: 1 })).toBe(1);
  });
});

describe.each(ISOLATIONS)('resize (%s)', (isolation) => {
  it('adds slots and retires them when they are idle', async () => {
    const gate = new Gate();
    const pool = await openPool({ isolation, services: gate.services });
    await pool.resize(3);
    expect(pool.slots.map((slot) => slot.isReady)).toEqual([true, true, true]);
    const third = pool.slots[2]!;
    pool.hand(
      [
        { token: 'a', name: 'gated', payload: 'a' },
        { token: 'b', name: 'noop' },
      ],
      third,
    );
    await pool.begun('a');
    const resized = pool.pool.resize(1);
    expect(pool.slots).toHaveLength(1);
    expect(third.isReady).toBe(false);
    const released = { kind: 'released', started: false, suspect: false };
    expect((await pool.finishedItem('b')).outcome).toEqual(released);
    gate.open('a');
    expect((await pool.finishedItem('a')).outcome.kind).toBe('completed');
    await resized;
    const exits = pool.events.filter((each) => each.kind === 'exited');
    expect(exits).toMatchObject([{ expected: true }, { expected: true }]);
    await pool.resize(2);
    expect(pool.slots.map((slot) => [slot.index, slot.isReady])).toEqual([
      [0, true],
      [1, true],
    ]);
  });

  it('up again keeps a slot that has not retired yet', async () => {
    const gate = new Gate();
    const pool = await openPool({ isolation, services: gate.services });
    await pool.resize(2);
    const second = pool.slots[1]!;
    pool.hand([{ token: 'a', name: 'gated', payload: 'a' }], second);
    await pool.begun('a');
    const down = pool.pool.resize(1);
    const up = pool.pool.resize(2);
    // Children are started when they are needed.
    if (isolation === 'process') pool.pool.warm(1);
    expect(pool.slots[1]).toBe(second);
    expect(second.isReady).toBe(true);
    gate.open('a');
    await Promise.all([down, up, pool.finishedItem('a')]);
    expect(pool.events.filter((each) => each.kind === 'exited')).toEqual([]);
    expect(resultOf(await pool.run({ name: 'noop', payload: 1 }, second))).toBe(1);
  });

  it('loses nothing under load', async () => {
    const pool = await openPool({ isolation, threads: 2 });
    const total = isolation === 'thread' ? 10_000 : 2_000;
    let handed = 0;
    const feed = () => {
      for (const slot of pool.slots) {
        while (slot.isReady && slot.batches.length < 2 && handed < total) {
          pool.hand(
            Array.from({ length: 50 }, () => ({ token: `${handed++}`, name: 'later' })),
            slot,
          );
        }
      }
    };
    pool.onCall = (method) => {
      if (method === 'finished' || method === 'ready') feed();
    };
    feed();
    for (const threads of [3, 1, 2, 1, 3]) {
      const seen = pool.items.length;
      await pool.resize(threads);
      await pool.until(() => pool.items.length > seen || handed === total);
    }
    await pool.until(() => pool.items.length >= total);
    expect(new Set(pool.items.map((each) => each.token)).size).toBe(total);
    const kinds = new Set(pool.items.map((each) => each.outcome.kind));
    for (const kind of kinds) expect(['completed', 'released']).toContain(kind);
  });

  for (const threads of [0, -1, 1.5, 2_000]) {
    it(`refuses ${threads}`, async () => {
      const pool = await openPool({ isolation });
      await expect(pool.pool.resize(threads)).rejects.toMatchObject({
        code: 'ERR_MILLRACE_INVALID_ARGUMENT',
      });
      expect(pool.slots).toHaveLength(1);
    });
  }
});

describe.each(ISOLATIONS)('recycling (%s)', (isolation) => {
  it('replaces a thread after so many tasks, with a spare that is ready before', async () => {
    const pool = await openPool({ isolation, recycle: { tasks: 10 } });
    const [first] = pool.events;
    pool.hand(Array.from({ length: 10 }, () => ({ name: 'noop' })));
    expect(await pool.event('recycled')).toEqual({
      kind: 'recycled',
      slot: 0,
      threadId: first!.threadId,
      isolation,
      why: 'tasks',
    });
    expect(await pool.event('exited')).toMatchObject({ threadId: first!.threadId, expected: true });
    const { thread } = await pool.run({ name: 'noop' });
    expect(thread).not.toBe(first!.threadId);
    const kinds = pool.events.map((each) => each.kind);
    expect(kinds).toEqual(['ready', 'ready', 'recycled', 'exited']);
  });

  it('lets the old thread finish what it has', async () => {
    const gate = new Gate();
    const pool = await openPool({ isolation, recycle: { tasks: 2 }, services: gate.services });
    pool.hand([{ name: 'noop' }]);
    pool.hand([{ token: 'a', name: 'gated', payload: 'a' }]);
    await pool.event('recycled');
    expect(resultOf(await pool.run({ name: 'noop', payload: 'new' }))).toBe('new');
    await pool.until(() => pool.slot.batches.length === 1);
    gate.open('a');
    expect((await pool.finishedItem('a')).outcome.kind).toBe('completed');
    await pool.event('exited');
  });

  it('replaces a thread that holds too much memory', async () => {
    const pool = await openPool({ isolation, recycle: { heapBytes: 60_000_000 } });
    for (let round = 0; pool.events.every((each) => each.kind !== 'recycled') && round < 1_000; round++) {
      await pool.run({ name: 'hoardBuffers' });
    }
    expect(await pool.event('recycled')).toMatchObject({ why: 'heap' });
  });
});

describe.each(ISOLATIONS)('stop (%s)', (isolation) => {
  it('releases what has not started and aborts what runs', async () => {
    const pool = await openPool({ isolation, threads: 2 });
    await pool.event('ready', 2);
    pool.hand([
      { token: 'listens', name: 'waitForSignal' },
      { token: 'waits', name: 'noop' },
    ]);
    pool.hand([{ token: 'deaf', name: 'spin' }], pool.slots[1]);
    await pool.begun('listens');
    await pool.begun('deaf');
    const stopped = pool.pool.stop(150);
    expect(pool.items).toEqual([]);
    expect(pool.slots.map((slot) => slot.isReady)).toEqual([false, false]);
    expect(await stopped).toEqual({ lostThreads: 0 });
    const outcomes = Object.fromEntries(pool.items.map((each) => [each.token, each.outcome]));
    expect(outcomes).toEqual({
      waits: { kind: 'released', started: false, suspect: false },
      listens: { kind: 'aborted', reason: 'stopped', threadKilled: false },
      deaf: { kind: 'aborted', reason: 'stopped', threadKilled: true },
    });
    expect(pool.events.filter((each) => each.kind === 'exited')).toHaveLength(2);
  });

  it('is one, however often it is called, and before a start does nothing', async () => {
    const pool = preparePool({ isolation });
    expect(await pool.pool.stop(0)).toEqual({ lostThreads: 0 });
    const other = await openPool({ isolation });
    expect(other.pool.stop(0)).toBe(other.pool.stop(5_000));
  });

  it('also ends threads that are still booting', async () => {
    const pool = await openPool({ isolation });
    const resized = pool.pool.resize(3);
    expect(await pool.pool.stop(0)).toEqual({ lostThreads: 0 });
    await resized;
    expect(pool.slots.some((slot) => slot.isReady)).toBe(false);
  });
});

describe('register of threads', () => {
  it('when all are being replaced waits for one, and not when the pool is stopped', async () => {
    const pool = await openPool();
    await pool.run({ name: 'exit', payload: 1 });
    expect(pool.slot.isReady).toBe(false);
    await pool.pool.register(fixture('tasks-modules/more'));
    expect(await pool.result({ name: 'more', payload: 1 })).toBe(10);
    await pool.pool.stop(0);
    await expect(pool.pool.register(fixture('tasks-modules/more'))).rejects.toMatchObject({
      code: 'ERR_MILLRACE_STOPPED',
    });
  });
});

describe('resize of threads', () => {
  it('does not wait for a thread stuck in native code', async () => {
    const fifo = freshFile('fifo');
    execFileSync('mkfifo', [fifo]);
    const pool = await openPool({ threads: 2, lostAfterMs: 30 });
    await pool.event('ready', 2);
    const item = { token: 'stuck', name: 'stuck', payload: fifo, timeoutMs: 20, killGraceMs: 10 };
    pool.hand([item], pool.slots[1]);
    await pool.begun('stuck');
    await pool.resize(1);
    expect(pool.items).toEqual([]);
    writeFileSync(fifo, '');
    expect((await pool.finishedItem('stuck')).outcome).toMatchObject({
      reason: 'timed-out',
      threadKilled: true,
    });
  });
});

describe('stop of threads', () => {
  it('ends in time when a module never finishes loading', async () => {
    const loading = fixture('tasks-modules/never-loads');
    const pool = preparePool({ modules: [loading], lostAfterMs: 50, bootTimeoutMs: 1_000 });
    const started = pool.start().catch((error: Error) => error);
    expect(await pool.pool.stop(0)).toEqual({ lostThreads: 1 });
    expect(await started).toMatchObject({ code: expect.stringContaining('ERR_MILLRACE') });
    await pool.event('exited');
  });

  it('does not wait for a thread in native code', async () => {
    const fifo = freshFile('fifo');
    execFileSync('mkfifo', [fifo]);
    const pool = await openPool({ lostAfterMs: 30 });
    pool.hand([{ token: 'stuck', name: 'stuck', payload: fifo, timeoutMs: 20, killGraceMs: 10 }]);
    await pool.event('lost');
    await pool.event('ready', 2);
    expect(await pool.pool.stop(0)).toEqual({ lostThreads: 1 });
    expect(pool.items).toMatchObject([
      { outcome: { kind: 'aborted', reason: 'timed-out', threadKilled: true } },
    ]);
    writeFileSync(fifo, '');
    await pool.event('exited', 2);
  });
});
