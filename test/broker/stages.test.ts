/**
 * What of a staged batch is in the store when its owner dies: looked at after each single commit, of staging,
 * accepting, abandoning, and of the recovery itself.
 */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { describe, it } from 'vitest';
import type { Backend, Claim, Stage } from '#src/broker/broker.js';
import { openEmbedded } from '#src/broker/embedded/broker.js';
import { memoryTables } from '#src/broker/embedded/memory-tables.js';
import { passOverUnaccepted } from '#src/broker/embedded/numbering.js';
import { TABLE_NAMES, type TableName, type Tables } from '#src/broker/embedded/tables.js';
import type { NewTask } from '#src/task/task.js';
import { completed } from './settlements.js';
import { checkStore } from './store-check.js';

const NOW = 1_000;
/** A third is delayed. */
const TASKS = 9_000;
const ALL = { blocked: 0, ready: 6_001, scheduled: 3_000, unhandled: 1_500 };
const NONE = { blocked: 0, ready: 1, scheduled: 0, unhandled: 0 };

type Rows = readonly (readonly [TableName, string, Uint8Array])[];

interface Rig {
  readonly backend: Backend;
  readonly tables: Tables;
  /** What was durable after each commit. */
  readonly stores: Rows[];
  /** Rows put or deleted for each commit. */
  readonly changes: number[];
}

async function open(before: Rows = []): Promise<Rig> {
  const memory = memoryTables();
  const stores: Rows[] = [];
  const changes: number[] = [];
  let changed = 0;
  for (const [table, key, value] of before) memory.put(table, key, value);
  const tables: Tables = {
    ...memory,
    put: (table, key, value) => {
      changed++;
      memory.put(table, key, value);
    },
    delete: (table, key) => {
      changed++;
      memory.delete(table, key);
    },
    commit: () => {
      stores.push(rowsOf(memory));
      changes.push(changed);
      changed = 0;
      return memory.commit();
    },
  };
  await passOverUnaccepted(tables);
  const backend = openEmbedded({
    ...{ kind: 'test', lacks: {}, where: 'here', storeNumber: 1, now: () => NOW, tables },
    limits: { maxPendingEnqueues: 1_000, maxPendingBytes: 1e6 },
  });
  return { backend, tables, stores, changes };
}

function rowsOf(tables: Tables): Rows {
  const range = { start: '', end: '\u0100', limit: 1e6 };
  return TABLE_NAMES.flatMap((table) =>
    tables.range(table, range).map(([key, value]) => [table, key, value] as const),
  );
}

function task(at: number): NewTask {
  const base = { name: 't', queue: 'q', level: at % 4, body: Buffer.from(`task ${at}`) };
  if (at % 3 === 0) return { ...base, runAt: NOW + 10 + at };
  return at % 3 === 1 && at % 2 === 0 ? { ...base, name: 'nobody', unhandled: true } : base;
}

/** One task that is there, and a batch in several commits. */
async function stageIn({ backend }: Rig): Promise<Stage> {
  await backend.broker.enqueue([{ name: 't', queue: 'q', level: 9, body: Buffer.from('here') }]).accepted;
  const stage = backend.broker.stage();
  for (let from = 0; from < TASKS; from += 1_000) {
    await stage.add(Array.from({ length: Math.min(1_000, TASKS - from) }, (_, at) => task(from + at)));
    await setImmediate();
  }
  return stage;
}

function countsOf({ backend }: Rig): typeof ALL {
  const { blocked, ready, scheduled, unhandled } = backend.inspect!.counts().get('q')!;
  return { blocked, ready, scheduled, unhandled };
}

/** Until nothing of a staged batch is under way. */
async function recovered({ tables }: Rig): Promise<void> {
  const range = { start: 'stage:', end: 'stage;', limit: 1 };
  for (let turn = 0; tables.range('meta', range).length > 0; turn++) {
    assert.ok(turn < 10_000, 'recovery comes to an end');
    await setImmediate();
  }
}

/** The batch is there or not, and the store is as it should be. @returns which. */
async function looksLike(rig: Rig): Promise<'all' | 'none'> {
  const first = countsOf(rig);
  const is = first.ready === ALL.ready ? 'all' : 'none';
  assert.deepEqual(first, is === 'all' ? ALL : NONE);
  await recovered(rig);
  assert.deepEqual(countsOf(rig), first);
  checkStore(rig.tables);
  const claims = rig.backend.broker.claim(() => 'take', 20_000) as readonly Claim[];
  assert.equal(claims.length, first.ready);
  await rig.backend.broker.settle(claims.map(completed));
  assert.equal(await rig.backend.broker.promote(NOW + 20_000, 20_000), first.scheduled);
  return is;
}

async function nextOwner(rows: Rows): Promise<'all' | 'none'> {
  const rig = await open(rows);
  const is = await looksLike(rig);
  await rig.backend.close();
  return is;
}

/** Stores in which the one task that was there before is. */
function begun({ stores }: Rig): Rows[] {
  return stores.slice(2);
}

describe('a store whose owner died while a batch was staged', () => {
  it('has none of it up to one commit, and all of it from that commit on', async () => {
    const rig = await open();
    const stage = await stageIn(rig);
    const before = begun(rig).length;
    await stage.accept();
    await recovered(rig);
    const seen: string[] = [];
    for (const rows of begun(rig)) seen.push(await nextOwner(rows));
    const accepted = seen.indexOf('all');
    assert.ok(before > 5 && accepted >= before, `${accepted} of ${seen}`);
    assert.ok(seen.length - accepted > 3, 'delayed tasks are linked in several commits');
    assert.deepEqual(new Set(seen.slice(accepted)), new Set(['all']));
    await rig.backend.close();
  });

  it('has none of it while it is taken away, and nothing is left at the end', async () => {
    const rig = await open();
    const stage = await stageIn(rig);
    await stage.abandon();
    for (const rows of begun(rig)) assert.equal(await nextOwner(rows), 'none');
    const left = rig.stores.at(-1)!.filter(([table]) => !['meta', 'count', 'name', 'lane'].includes(table));
    assert.equal(left.length, 1);
    await rig.backend.close();
  });

  it('has none of it when the next owner dies while it takes the rest away', async () => {
    const rig = await open();
    await stageIn(rig);
    const next = await open(rig.stores.at(-1));
    await recovered(next);
    assert.ok(next.stores.length > 5);
    for (const rows of next.stores) assert.equal(await nextOwner(rows), 'none');
    await Promise.all([rig.backend.close(), next.backend.close()]);
  });

  it('changes a bounded number of rows in each commit, also in the one that accepts', async () => {
    const rig = await open();
    const stage = await stageIn(rig);
    const before = rig.changes.length;
    await stage.accept();
    await recovered(rig);
    const [flip, ...links] = rig.changes.slice(before);
    assert.ok(flip! < 100, `${flip} rows`);
    assert.ok(Math.max(...links) <= 2_100, `${links} rows`);
    await rig.backend.close();
  });
});
