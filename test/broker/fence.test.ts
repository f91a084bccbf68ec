/**
 * A store that cannot write any more: nobody is told that something was stored, and everybody is told why.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Backend } from '#src/broker/broker.js';
import { openEmbedded } from '#src/broker/embedded/broker.js';
import { memoryTables } from '#src/broker/embedded/memory-tables.js';
import type { Tables } from '#src/broker/embedded/tables.js';
import { lmdbTables } from '#src/broker/lmdb/lmdb-tables.js';
import { StoreFencedError } from '#src/errors.js';
import type { NewTask } from '#src/task/task.js';
import { completed } from './settlements.js';

const FENCED = { code: 'ERR_MILLRACE_STORE_FENCED' };
const LIMITS = { maxPendingEnqueues: 10_000, maxPendingBytes: 1e9 };

function draft(text: string, fields: Partial<NewTask> = {}): NewTask {
  return { name: 'task', queue: 'default', level: 5, body: Buffer.from(text), ...fields };
}

function open(tables: Tables): Backend {
  return openEmbedded({
    ...{ kind: 'test', lacks: {}, tables, where: 'here', storeNumber: 1, limits: LIMITS, now: () => 1_000 },
    windowTasks: 100,
  });
}

/** Commits succeed until told otherwise; a failing one fails when `fail` is called. */
class FailingTables {
  readonly tables: Tables;
  isBroken = false;
  fail: () => void = () => {};

  constructor() {
    const commit = (): Promise<void> => {
      if (!this.isBroken) return Promise.resolve();
      return new Promise((_, reject) => {
        this.fail = () => reject(new Error('EIO: i/o error, fdatasync'));
      });
    };
    this.tables = { ...memoryTables(), commit };
  }
}

const unhandled: unknown[] = [];
const note = (reason: unknown): number => unhandled.push(reason);
beforeEach(() => void process.on('unhandledRejection', note));
afterEach(async () => {
  await setImmediate();
  process.off('unhandledRejection', note);
  expect(unhandled).toEqual([]);
});

describe('a failed commit', () => {
  it('rejects every promise that waits for a flush, and every waiter, and nothing else', async () => {
    const store = new FailingTables();
    const { broker, keyValue } = open(store.tables);
    const told: Error[] = [];
    broker.onFenced((error) => told.push(error));
    const before = broker.enqueue([draft('a'), draft('b'), draft('c'), draft('later', { runAt: 1e9 })]);
    await before.accepted;
    const waits = before.tickets.map((ticket) => ticket.settled());
    const claims = await broker.claim(() => 'take', 2);
    store.isBroken = true;
    const inFlight = [
      broker.settle(claims.slice(0, 1).map(completed)),
      broker.enqueue([draft('d')]).accepted,
      broker.cancel(before.tickets[2]!.id, 'why', 1_000, 1_000),
      keyValue.put('key', Buffer.from('x')),
    ];
    await setImmediate();
    await setImmediate();
    const next = [
      broker.enqueue([draft('e')]).accepted,
      broker.settle(claims.slice(1).map(completed)),
      broker.settled(before.tickets[1]!.id),
    ];
    store.fail();
    const all = await Promise.allSettled([...inFlight, ...next, ...waits]);
    for (const each of all) {
      assert.equal(each.status, 'rejected');
      assert.ok(each.reason instanceof StoreFencedError);
      assert.match(each.reason.message, /EIO/);
    }
    expect(told).toHaveLength(1);
  });

  it('ends the backend for good, but it can be read and closed', async () => {
    const store = new FailingTables();
    const { broker, keyValue, inspect, close } = open(store.tables);
    await broker.enqueue([draft('a'), draft('b')]).accepted;
    const [claim] = await broker.claim(() => 'take', 1);
    store.isBroken = true;
    const { tickets, accepted } = broker.enqueue([draft('c')]);
    await setImmediate();
    await setImmediate();
    store.fail();
    await assert.rejects(accepted, FENCED);
    assert.throws(() => broker.enqueue([draft('d')]), FENCED);
    assert.deepEqual(await broker.claim(() => 'take', 10), []);
    await assert.rejects(broker.settle([completed(claim!)]), FENCED);
    await assert.rejects(tickets[0]!.settled(), FENCED);
    await assert.rejects(broker.cancel(claim!.id, 'why', 1, 1), FENCED);
    await assert.rejects(broker.redrive(claim!.id), FENCED);
    await assert.rejects(broker.delete(claim!.id), FENCED);
    await assert.rejects(keyValue.put('a', Buffer.from('x')), FENCED);
    await assert.rejects(keyValue.delete('a'), FENCED);
    assert.equal(await keyValue.get('a'), undefined);
    assert.equal((await inspect!.get(claim!.id))?.state, 'running');
    assert.deepEqual([broker.promote(1e12, 10), broker.prune(1e12, 10)], [0, 0]);
    broker.note(claim!, { progress: 1 });
    let late: Error | undefined;
    broker.onFenced((error) => {
      late = error;
    });
    assert.ok(late instanceof StoreFencedError);
    await close();
    await close();
  });

  it('during close rejects what was under way, and close ends all the same', async () => {
    const store = new FailingTables();
    const { broker, close } = open(store.tables);
    store.isBroken = true;
    const { tickets, accepted } = broker.enqueue([draft('a')]);
    const waits = Promise.allSettled([accepted, tickets[0]!.settled()]);
    const closed = close();
    await setImmediate();
    store.fail();
    await closed;
    for (const each of await waits) assert.equal(each.status, 'rejected');
  });

  it('that nobody waits for ends nothing else', async () => {
    const store = new FailingTables();
    const { broker, close } = open(store.tables);
    store.isBroken = true;
    broker.enqueue([draft('a')]);
    await setImmediate();
    await setImmediate();
    store.fail();
    await setImmediate();
    await close();
  });
});

describe('a newer owner of the same store', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-fence-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('fences the older one, of which nothing reaches the store any more', async () => {
    const path = join(folder, 'data.mdb');
    const older = open(await lmdbTables(path, 1));
    await older.broker.enqueue([draft('kept')]).accepted;
    const newer = await lmdbTables(path, 2);
    await assert.rejects(older.broker.enqueue([draft('refused')]).accepted, {
      ...FENCED,
      message: /another owner/,
    });
    assert.throws(() => older.broker.enqueue([draft('refused')]), FENCED);
    const next = open(newer);
    const claims = await next.broker.claim(() => 'take', 10);
    assert.deepEqual(
      claims.map((claim) => Buffer.from(claim.body).toString()),
      ['kept'],
    );
    await next.broker.settle(claims.map(completed));
    await next.close();
    await older.close();
  });
});
