/** Threads that die by themselves: who is charged, and that the pool goes on. */
import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { DYING, fixture, freshFile, ISOLATIONS, openPool, preparePool, resultOf } from './harness.js';

const RELEASED = { kind: 'released', started: false, suspect: false };

describe.each(ISOLATIONS)('a death (%s)', (isolation) => {
  const DEATHS = [
    {
      by: 'process.exit',
      name: 'exit',
      payload: 7,
      detail: `${DYING[isolation]} exited with code 7`,
      code: 7,
    },
    {
      by: 'process.exit(0)',
      name: 'exit',
      payload: 0,
      detail: `${DYING[isolation]} exited with code 0`,
      code: 0,
    },
    {
      by: 'an uncaught exception',
      name: 'uncaught',
      payload: 'oops',
      detail: 'uncaught TypeError: oops',
      code: 'ERR_OF_THE_TEST',
    },
    { by: 'an uncaught string', name: 'uncaughtNonError', detail: 'uncaught a mere string', code: 1 },
    {
      by: 'an unhandled rejection',
      name: 'unhandled',
      payload: 'nobody cares',
      detail: 'uncaught Error: nobody cares',
      code: 1,
    },
  ];
  for (const { by, name, payload, detail, code } of DEATHS) {
    it(`by ${by} charges the one item that ran`, async () => {
      const pool = await openPool({ isolation });
      pool.hand([
        { token: 'before', name: 'noop', payload: 1 },
        // It runs for the second time: the first time nobody could tell who left an uncaught error behind.
        { token: 'culprit', name, payload, isSuspect: true },
        { token: 'after', name: 'noop' },
      ]);
      expect((await pool.finishedItem('culprit')).outcome).toEqual({ kind: 'crashed', detail, code });
      expect(resultOf(await pool.finishedItem('before'))).toBe(1);
      expect((await pool.finishedItem('after')).outcome).toEqual(RELEASED);
      expect(await pool.event('exited')).toMatchObject({ slot: 0, detail, expected: false });
      await pool.event('ready', 2);
      expect(await pool.result({ name: 'noop', payload: 2 })).toBe(2);
    });
  }

  it('by an error that nobody caught charges the only task that the thread ever had', async () => {
    const pool = await openPool({ isolation });
    const { outcome } = await pool.run({ name: 'uncaught', payload: 'oops' });
    expect(outcome).toMatchObject({ kind: 'crashed', detail: 'uncaught TypeError: oops' });
  });

  it('by an error that a finished task left behind charges nobody: who ran is suspect', async () => {
    const pool = await openPool({ isolation });
    pool.hand([
      { token: 'culprit', name: 'lateUnhandled', payload: 'too late' },
      { token: 'innocent', name: 'never' },
    ]);
    const { outcome } = await pool.finishedItem('innocent');
    expect(outcome).toEqual({ kind: 'released', started: true, suspect: true });
    expect(resultOf(await pool.finishedItem('culprit'))).toBe('done before');
  });

  it('by lack of memory charges the one item that ran', async () => {
    const pool = await openPool({
      isolation,
      resourceLimits: { maxOldGenerationSizeMb: 24, maxYoungGenerationSizeMb: 4 },
    });
    const { outcome } = await pool.run({ name: 'eatHeap' });
    const code = { thread: 'ERR_WORKER_OUT_OF_MEMORY', process: 'SIGABRT' }[isolation];
    expect(outcome).toMatchObject({ kind: 'crashed', code, detail: expect.stringContaining('memory') });
    await pool.event('ready', 2);
    expect(await pool.result({ name: 'noop', payload: 2 })).toBe(2);
  });

  it('is none when the stack overflows: that is a failure like any other', async () => {
    const pool = await openPool({ isolation });
    await expect(pool.result({ name: 'overflow' })).rejects.toMatchObject({ name: 'RangeError' });
    expect(pool.events.map((each) => each.kind)).toEqual(['ready']);
  });

  it('charges nobody when several ran: all are suspect', async () => {
    const pool = await openPool({ isolation });
    pool.hand([{ token: 'innocent', name: 'never' }], pool.slot, true);
    await pool.begun('innocent');
    pool.hand([{ token: 'culprit', name: 'exit', payload: 1 }], pool.slot, true);
    for (const token of ['innocent', 'culprit']) {
      const { outcome } = await pool.finishedItem(token);
      expect(outcome).toEqual({ kind: 'released', started: true, suspect: true });
    }
  });

  it('charges nobody when none ran, and keeps what was done before', async () => {
    const pool = await openPool({ isolation });
    expect(await pool.result({ name: 'lateUnhandled', payload: 'too late' })).toBe('done before');
    expect(await pool.event('exited')).toMatchObject({ detail: 'uncaught Error: too late', expected: false });
    await pool.event('ready', 2);
    expect(pool.items.map((each) => each.outcome.kind)).toEqual(['completed']);
  });

  it('loses no result that was finished, however large', async () => {
    const pool = await openPool({ isolation });
    pool.hand([
      { token: 'small', name: 'bytes', payload: 10 },
      { token: 'large', name: 'bytes', payload: 4_000_000 },
      { token: 'culprit', name: 'exit', payload: 5 },
    ]);
    expect((await pool.finishedItem('culprit')).outcome.kind).toBe('crashed');
    expect((resultOf(await pool.finishedItem('small')) as Uint8Array).length).toBe(10);
    expect((resultOf(await pool.finishedItem('large')) as Uint8Array).length).toBe(4_000_000);
  });

  it('keeps the last words of the item that was charged', async () => {
    const pool = await openPool({ isolation });
    pool.hand([{ token: 'a', name: 'lastWords', payload: 6 }]);
    const { extras } = await pool.finishedItem('a');
    expect(extras?.progress).toBe('begun');
    expect(extras?.logs?.map((each) => each.message)).toEqual(['about to exit with 6']);
  });

  it('again and again never shrinks the pool', async () => {
    const pool = await openPool({ isolation, threads: 2 });
    await pool.event('ready', 2);
    for (let round = 0; round < 3; round++) {
      const [first, second] = pool.slots;
      const ends = [
        pool.run({ name: 'exit', payload: 1 }, first!),
        pool.run({ name: 'exit', payload: 1 }, second!),
      ];
      for (const end of ends) expect((await end).outcome.kind).toBe('crashed');
      await pool.event('ready', 4 + round * 2);
    }
    expect(pool.slots.map((slot) => slot.isReady)).toEqual([true, true]);
  });
});

describe.each(ISOLATIONS)('a thread or child that dies while it boots (%s)', (isolation) => {
  it('is replaced after a pause, for as long as it takes', async () => {
    const deathsFile = freshFile('deaths');
    writeFileSync(deathsFile, '');
    const env = { ...process.env, DEATHS_FILE: deathsFile };
    const pool = await openPool({ isolation, modules: [fixture('tasks-modules/frail')], env });
    writeFileSync(deathsFile, 'xxx');
    expect((await pool.run({ name: 'exit', payload: 1 })).outcome.kind).toBe('crashed');
    await pool.event('exited', 4);
    await pool.event('ready', 2);
    const boots = pool.events.filter((each) => each.kind === 'exited').slice(1);
    for (const event of boots)
      expect(event).toMatchObject({ detail: `${DYING[isolation]} exited with code 3`, expected: false });
    expect(await pool.result({ name: 'noop', payload: 1 })).toBe(1);
  });
});

describe('the first thread that dies while it boots', () => {
  it('fails start', async () => {
    const pool = preparePool({ modules: [fixture('tasks-modules/exits')] });
    await expect(pool.start()).rejects.toMatchObject({
      code: 'ERR_MILLRACE_TASKS_MODULE',
      message: expect.stringContaining('worker exited with code 9'),
    });
  });
});

describe('a child that says what is no message', () => {
  const CASES = [
    { what: 'too large a frame', bytes: Uint8Array.from([255, 255, 255, 255, 1]) },
    { what: 'an empty frame', bytes: new Uint8Array(4) },
    { what: 'a frame that does not decode', bytes: Uint8Array.from([2, 0, 0, 0, 77, 77]) },
  ];
  for (const { what, bytes } of CASES) {
    it(`is ended, and its task is charged: ${what}`, async () => {
      const pool = await openPool({ isolation: 'process' });
      const { outcome } = await pool.run({ name: 'garbles', payload: bytes });
      expect(outcome).toMatchObject({
        kind: 'crashed',
        detail: expect.stringContaining('child process sent what is no message'),
      });
      await pool.event('ready', 2);
      expect(await pool.result({ name: 'noop', payload: 1 })).toBe(1);
    });
  }
});

describe('the host', () => {
  it('sees no unhandled rejection of all this', async () => {
    const seen: unknown[] = [];
    const see = (reason: unknown) => seen.push(reason);
    process.on('unhandledRejection', see);
    const pool = await openPool();
    pool.hand([{ name: 'exit', payload: 1 }, { name: 'noop' }]);
    pool.hand([{ token: 'b', name: 'noop' }]);
    await pool.finishedItem('b');
    pool.hand([{ token: 'c', name: 'noop' }]);
    await pool.finishedItem('c');
    await pool.event('ready', 2);
    pool.hand([{ name: 'spin' }]);
    await pool.pool.stop(10);
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', see);
    expect(seen).toEqual([]);
  });
});
