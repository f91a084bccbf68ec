/** When commits begin and what is in them. */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { describe, it } from 'vitest';
import type { Backend, Claim, Pace } from '#src/broker/broker.js';
import { openEmbedded } from '#src/broker/embedded/broker.js';
import { memoryTables } from '#src/broker/embedded/memory-tables.js';
import type { TableName } from '#src/broker/embedded/tables.js';
import { completed } from './settlements.js';

interface Rig {
  readonly backend: Backend;
  /** Tables that were put to since the commit before, by commit. */
  readonly commits: (readonly TableName[])[];
  /** Ends the commit in flight. */
  finish(): Promise<void>;
}

function open(pace: () => Pace): Rig {
  const commits: TableName[][] = [];
  const waiting: (() => void)[] = [];
  let puts: TableName[] = [];
  const memory = memoryTables();
  const backend = openEmbedded({
    ...{ kind: 'test', lacks: {}, where: 'here', storeNumber: 1, now: () => 1_000 },
    limits: { maxPendingEnqueues: 1_000, maxPendingBytes: 1e6 },
    tables: {
      ...memory,
      kind: 'lmdb',
      put: (table, key, value) => {
        puts.push(table);
        memory.put(table, key, value);
      },
      commit: () => {
        commits.push(puts);
        puts = [];
        return new Promise((resolve) => waiting.push(resolve));
      },
    },
  });
  backend.broker.pace(pace);
  const finish = async (): Promise<void> => {
    waiting.shift()?.();
    await setImmediate();
  };
  return { backend, commits, finish };
}

function enqueue({ backend }: Rig, count = 1): Promise<void> {
  const task = { name: 't', queue: 'q', level: 5, body: Buffer.from('x') };
  return backend.broker.enqueue(new Array(count).fill(task)).accepted;
}

/** Settles all that can be claimed now; this broker answers a claim at once. */
function settleAll({ backend }: Rig): Promise<void> {
  const claims = backend.broker.claim(() => 'take', 100) as readonly Claim[];
  return backend.broker.settle(claims.map(completed));
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await setImmediate();
}

describe('a commit', () => {
  it('takes everything of one turn of the event loop', async () => {
    const rig = open(() => 'idle');
    for (let at = 0; at < 20; at++) void enqueue(rig);
    assert.equal(rig.commits.length, 0);
    await turns(2);
    assert.equal(rig.commits.length, 1);
    assert.equal(
      rig.commits[0]!.filter((table) => table === 'ready').length,
      1,
      'twenty tasks are one segment',
    );
  });

  it('is the only one in flight; what comes meanwhile gathers for the next', async () => {
    const rig = open(() => 'idle');
    const first = enqueue(rig);
    await turns(2);
    const later = [enqueue(rig), enqueue(rig)];
    await turns(5);
    assert.equal(rig.commits.length, 1);
    await rig.finish();
    await first;
    await turns(2);
    assert.equal(rig.commits.length, 2);
    await rig.finish();
    await Promise.all(later);
    await turns(5);
    assert.equal(rig.commits.length, 2, 'nothing is left to commit');
  });

  it('never writes a segment whose tasks ended before it began', async () => {
    const rig = open(() => 'idle');
    void enqueue(rig, 3);
    void settleAll(rig);
    await turns(2);
    assert.ok(!rig.commits[0]!.includes('ready'));
    assert.ok(rig.commits[0]!.includes('done'));
  });

  it('is held a little for the results of work that has just begun', async () => {
    let pace: Pace = 'fresh';
    const rig = open(() => pace);
    const accepted = enqueue(rig);
    await setImmediate();
    const settled = settleAll(rig);
    pace = 'idle';
    await turns(2);
    assert.equal(rig.commits.length, 1);
    await rig.finish();
    await Promise.all([accepted, settled]);
  });

  it('is not held for long', async () => {
    const rig = open(() => 'fresh');
    void enqueue(rig);
    const startedAt = performance.now();
    while (rig.commits.length === 0) await setImmediate();
    assert.ok(performance.now() - startedAt < 1_000);
  });

  it('waits for more results while all threads are busy, unless an acceptance waits', async () => {
    let pace: Pace = 'idle';
    const rig = open(() => pace);
    void enqueue(rig, 3);
    await turns(2);
    await rig.finish();
    const claims = await rig.backend.broker.claim(() => 'take', 3);
    pace = 'busy';
    const first = rig.backend.broker.settle([completed(claims[0]!)]);
    await turns(3);
    const second = rig.backend.broker.settle([completed(claims[1]!)]);
    await turns(3);
    assert.equal(rig.commits.length, 1);
    void enqueue(rig);
    await turns(2);
    assert.equal(rig.commits.length, 2);
    await rig.finish();
    await Promise.all([first, second]);
    const third = rig.backend.broker.settle([completed(claims[2]!)]);
    while (rig.commits.length < 3) await setImmediate();
    await rig.finish();
    await third;
  });

  it('is made at once by close, and the last one', async () => {
    const rig = open(() => 'busy');
    const accepted = enqueue(rig);
    const settled = settleAll(rig);
    const closed = rig.backend.close();
    assert.equal(rig.commits.length, 1);
    await rig.finish();
    await Promise.all([accepted, settled, closed]);
    assert.equal(rig.commits.length, 1);
  });
});
