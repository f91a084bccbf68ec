/** Deadlines and cancellation: flag, signal, and the end of the thread. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '#src/clock.js';
import { freshFile, Gate, ISOLATIONS, openPool, resultOf } from './harness.js';

/** Advances a clock that stands still while real time passes, until `done`. */
async function letPass(clock: ManualClock, done: Promise<unknown>): Promise<void> {
  let isDone = false;
  done.then(() => {
    isDone = true;
  });
  while (!isDone) {
    clock.advance(100);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const TIMED_OUT = { kind: 'aborted', reason: 'timed-out' };
const RELEASED = { kind: 'released', started: false, suspect: false };

describe.each(ISOLATIONS)('a deadline (%s)', (isolation) => {
  it('ends a busy loop by ending its thread, and charges nobody else', async () => {
    const pool = await openPool({ isolation });
    pool.hand([
      { token: 'before', name: 'noop', payload: 1 },
      { token: 'runaway', name: 'spin', timeoutMs: 50, killGraceMs: 20 },
      { token: 'after', name: 'noop' },
    ]);
    pool.hand([{ token: 'prefetched', name: 'noop' }]);
    const runaway = await pool.finishedItem('runaway');
    expect(runaway.outcome).toEqual({ ...TIMED_OUT, threadKilled: true });
    expect(runaway.runMs).toBeGreaterThan(65);
    expect(resultOf(await pool.finishedItem('before'))).toBe(1);
    expect((await pool.finishedItem('after')).outcome).toEqual(RELEASED);
    expect((await pool.finishedItem('prefetched')).outcome).toEqual(RELEASED);
    expect(await pool.event('exited')).toMatchObject({ expected: true });
    await pool.event('ready', 2);
    expect(await pool.result({ name: 'noop', payload: 2 })).toBe(2);
  });

  it('releases what ran beside the runaway, started and not suspect', async () => {
    const pool = await openPool({ isolation });
    pool.hand([{ token: 'beside', name: 'never' }], pool.slot, true);
    await pool.begun('beside');
    pool.hand([{ token: 'runaway', name: 'spin', timeoutMs: 30, killGraceMs: 10 }], pool.slot, true);
    expect((await pool.finishedItem('runaway')).outcome).toEqual({ ...TIMED_OUT, threadKilled: true });
    const beside = await pool.finishedItem('beside');
    expect(beside.outcome).toEqual({ kind: 'released', started: true, suspect: false });
    expect(beside.startedAt).toBeGreaterThan(0);
  });

  it('is seen at once in a busy loop, so that the thread lives on', async () => {
    const pool = await openPool({ isolation });
    for (const end of ['return', 'throw']) {
      const item = await pool.run({
        name: 'spinUntilAborted',
        payload: { end },
        timeoutMs: 30,
        killGraceMs: 5_000,
      });
      expect(item.outcome).toEqual({ ...TIMED_OUT, threadKilled: false });
      expect(item.runMs).toBeLessThan(2_000);
    }
    expect(pool.events.map((each) => each.kind)).toEqual(['ready']);
  });

  it('fires the signal of an asynchronous handler', async () => {
    const pool = await openPool({ isolation });
    const item = await pool.run({ name: 'waitForSignal', timeoutMs: 30, killGraceMs: 5_000 });
    expect(item.outcome).toEqual({ ...TIMED_OUT, threadKilled: false });
    expect(pool.events.map((each) => each.kind)).toEqual(['ready']);
  });

  it('ends the thread of an asynchronous handler that does not listen', async () => {
    const pool = await openPool({ isolation });
    const item = await pool.run({ name: 'never', timeoutMs: 30, killGraceMs: 30 });
    expect(item.outcome).toEqual({ ...TIMED_OUT, threadKilled: true });
  });

  it('ends a thread that waits on shared memory', async () => {
    const pool = await openPool({ isolation });
    const item = await pool.run({ name: 'waitForever', timeoutMs: 30, killGraceMs: 10 });
    expect(item.outcome).toEqual({ ...TIMED_OUT, threadKilled: true });
  });

  it('counts from the start of the handler, not from the hand-over', async () => {
    const pool = await openPool({ isolation });
    pool.hand([
      { token: 'first', name: 'spinUntilAborted', payload: { end: 'return' }, timeoutMs: 120 },
      { token: 'second', name: 'noop', timeoutMs: 60 },
    ]);
    expect((await pool.finishedItem('second')).outcome.kind).toBe('completed');
  });

  it('does not come for what a busy neighbour keeps from starting, and that can be taken back', async () => {
    const pool = await openPool({ isolation });
    const busy = { name: 'spinUntilAborted', payload: { end: 'return' }, timeoutMs: 250, killGraceMs: 9_000 };
    pool.hand([{ token: 'busy', ...busy }], pool.slot, true);
    await pool.begun('busy');
    pool.hand([{ token: 'waits', name: 'noop', timeoutMs: 50, killGraceMs: 0 }], pool.slot, true);
    const third = pool.hand([{ token: 'recalled', name: 'noop' }], pool.slot, true);
    expect(third.unstarted()).toBe(1);
    expect(third.recall(0)).toBe(true);
    expect((await pool.finishedItem('waits')).outcome.kind).toBe('completed');
    expect((await pool.finishedItem('busy')).outcome).toEqual({ ...TIMED_OUT, threadKilled: false });
    expect(pool.items.map((each) => each.token).sort()).toEqual(['busy', 'waits']);
  });

  it('of Infinity never comes', async () => {
    const clock = new ManualClock();
    const pool = await openPool({ isolation, clock });
    const batch = pool.hand([{ token: 'a', name: 'never', timeoutMs: Number.POSITIVE_INFINITY }]);
    await pool.begun('a');
    for (let hour = 0; hour < 3; hour++) clock.advance(3_600_000);
    expect(batch.isRunning(0)).toBe(true);
    batch.abort(0, 'cancelled');
    const killed = pool.event('exited');
    await letPass(clock, killed);
  });
});

describe.each(ISOLATIONS)('abort (%s)', (isolation) => {
  it('asks a running item to stop, for the reason given', async () => {
    const pool = await openPool({ isolation });
    for (const reason of ['cancelled', 'stopped'] as const) {
      const batch = pool.hand([{ token: reason, name: 'waitForSignal', killGraceMs: 5_000 }]);
      await pool.begun(reason);
      batch.abort(0, reason);
      batch.abort(0, 'timed-out');
      expect((await pool.finishedItem(reason)).outcome).toEqual({
        kind: 'aborted',
        reason,
        threadKilled: false,
      });
    }
  });

  it('keeps a result that was made in spite of a stop, but not of a cancel', async () => {
    const pool = await openPool({ isolation });
    const outcomes: unknown[] = [];
    for (const reason of ['cancelled', 'stopped'] as const) {
      const payload = { end: 'return' };
      const batch = pool.hand([{ token: reason, name: 'spinUntilAborted', payload, killGraceMs: 5_000 }]);
      await pool.begun(reason);
      batch.abort(0, reason);
      outcomes.push((await pool.finishedItem(reason)).outcome.kind);
    }
    expect(outcomes).toEqual(['aborted', 'completed']);
  });

  it('ends the thread after the grace', async () => {
    const pool = await openPool({ isolation });
    const batch = pool.hand([
      { token: 'a', name: 'spin', killGraceMs: 20 },
      { token: 'b', name: 'noop' },
    ]);
    await pool.begun('a');
    batch.abort(0, 'cancelled');
    const { outcome } = await pool.finishedItem('a');
    expect(outcome).toEqual({ kind: 'aborted', reason: 'cancelled', threadKilled: true });
    expect((await pool.finishedItem('b')).outcome).toEqual(RELEASED);
  });

  it('of an item that does not run does nothing', async () => {
    const pool = await openPool({ isolation });
    const batch = pool.hand([
      { token: 'a', name: 'waitForSignal' },
      { token: 'b', name: 'about' },
    ]);
    await pool.begun('a');
    batch.abort(1, 'cancelled');
    batch.abort(7, 'cancelled');
    batch.abort(0, 'cancelled');
    expect(resultOf(await pool.finishedItem('b'))).toMatchObject({
      isAborted: false,
      isSignalAborted: false,
    });
    batch.abort(1, 'cancelled');
  });
});

describe('a thread stuck in native code', () => {
  it('is lost: its slot goes on with another one, and its item ends when it really does', async () => {
    const fifo = freshFile('fifo');
    execFileSync('mkfifo', [fifo]);
    const pool = await openPool({ lostAfterMs: 60 });
    const batch = pool.hand([
      { token: 'stuck', name: 'stuck', payload: fifo, timeoutMs: 30, killGraceMs: 10 },
      { token: 'behind', name: 'noop' },
    ]);
    const lost = await pool.event('lost');
    expect((await pool.finishedItem('behind')).outcome).toEqual(RELEASED);
    await pool.event('ready', 2);
    expect(await pool.result({ name: 'noop', payload: 'on' })).toBe('on');
    expect(batch.isRunning(0)).toBe(true);
    expect(pool.items.some((each) => each.token === 'stuck')).toBe(false);
    writeFileSync(fifo, 'free');
    expect((await pool.finishedItem('stuck')).outcome).toEqual({ ...TIMED_OUT, threadKilled: true });
    expect(await pool.event('exited')).toMatchObject({ threadId: lost.threadId, expected: true });
    expect(pool.slot.isReady).toBe(true);
  });

  it('does not keep stop from ending: it is counted', async () => {
    const fifo = freshFile('fifo');
    execFileSync('mkfifo', [fifo]);
    const pool = await openPool({ lostAfterMs: 60 });
    pool.hand([{ token: 'stuck', name: 'stuck', payload: fifo }]);
    await pool.begun('stuck');
    expect(await pool.pool.stop(20)).toEqual({ lostThreads: 1 });
    expect((await pool.finishedItem('stuck')).outcome).toEqual({
      kind: 'aborted',
      reason: 'stopped',
      threadKilled: true,
    });
    writeFileSync(fifo, 'free');
    await pool.event('exited');
    expect(pool.items).toHaveLength(1);
  });
});

describe('a child process', () => {
  for (const name of ['spin', 'stuck']) {
    it(`is ended in time, whatever it does: ${name}`, async () => {
      const fifo = freshFile('fifo');
      execFileSync('mkfifo', [fifo]);
      const pool = await openPool({ isolation: 'process' });
      pool.hand([
        { token: 'a', name, payload: fifo, timeoutMs: 30, killGraceMs: 10 },
        { token: 'behind', name: 'noop' },
      ]);
      expect((await pool.finishedItem('a')).outcome).toEqual({ ...TIMED_OUT, threadKilled: true });
      expect((await pool.finishedItem('behind')).outcome).toEqual(RELEASED);
      expect(await pool.event('exited')).toMatchObject({ expected: true });
      await pool.event('ready', 2);
      expect(await pool.result({ name: 'noop', payload: 'on' })).toBe('on');
      expect(pool.events.every((each) => each.kind !== 'lost')).toBe(true);
    });
  }

  it('does not end with a signal that a terminal sends to the whole process group', async () => {
    const gate = new Gate();
    const pool = await openPool({ isolation: 'process', services: gate.services });
    const { threadId: pid } = await pool.event('ready');
    pool.hand([{ token: 'a', name: 'gated', payload: 'a' }]);
    await pool.begun('a');
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) process.kill(pid, signal);
    gate.open('a');
    expect((await pool.finishedItem('a')).outcome.kind).toBe('completed');
    expect((await pool.run({ name: 'noop' })).thread).toBe(pid);
  });
});
