/**
 * Rows with flipped bits are reported and passed over, and nothing else suffers; deleted tasks leave nothing.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'vitest';
import type { Backend, Claim, Settlement } from '#src/broker/broker.js';
import { openEmbedded } from '#src/broker/embedded/broker.js';
import { memoryTables } from '#src/broker/embedded/memory-tables.js';
import type { TableName, Tables } from '#src/broker/embedded/tables.js';
import { limitLane } from '#src/task/lane.js';
import type { NewTask } from '#src/task/task.js';

const DAY_MS = 86_400_000;
const ALL = { start: '', end: '\u0100', limit: 100 } as const;

interface Store {
  readonly tables: Tables;
  readonly damages: Error[];
  now: number;
  open(): Backend;
  /** Flips one bit of the n-th row. */
  flip(table: TableName, nth: number, byte: number): void;
}

function newStore(): Store {
  const tables = memoryTables();
  const damages: Error[] = [];
  return {
    ...{ tables, damages, now: 1_000_000 },
    open() {
      return openEmbedded({
        ...{ kind: 'memory', lacks: {}, tables, where: 'the store', storeNumber: 1, now: () => this.now },
        limits: { maxPendingEnqueues: 1_000, maxPendingBytes: 1e6 },
        onCorrupt: (error) => damages.push(error),
      });
    },
    flip(table, nth, byte) {
      const [key, value] = tables.range(table, ALL)[nth]!;
      const copy = Buffer.from(value);
      copy[byte < 0 ? copy.length + byte : byte]! ^= 0x10;
      tables.put(table, key, copy);
    },
  };
}

async function enqueue({ broker }: Backend, texts: readonly string[], fields: Partial<NewTask> = {}) {
  const tasks = texts.map((text) => ({
    name: 't',
    queue: 'q',
    level: 5,
    body: Buffer.from(text),
    ...fields,
  }));
  const { tickets, accepted } = broker.enqueue(tasks);
  await accepted;
  return tickets.map((ticket) => ticket.id);
}

function ended(claim: Claim, kind: 'completed' | 'dead'): Settlement {
  const attempt = { attempt: 1, startedAt: 1, runMs: 1, outcome: 'completed' } as const;
  const final = { claim, settledAt: 1_000_000, expiresAt: 1_000_000 + DAY_MS, tally: claim.tally, attempt };
  return kind === 'dead'
    ? { ...final, kind, reason: 'why' }
    : { ...final, kind, result: Buffer.from(claim.body) };
}

async function take({ broker }: Backend, max = 100): Promise<readonly Claim[]> {
  return broker.claim(() => 'take', max);
}

function textsOf(claims: readonly Claim[]): string[] {
  return claims.map((claim) => Buffer.from(claim.body).toString());
}

/** Header, its count, the checksum itself, and the end. */
const BYTES = [0, 1, 3, 9, 12, -1];

describe('a damaged row', () => {
  for (const byte of BYTES) {
    it(`of waiting tasks is passed over (byte ${byte})`, async () => {
      const store = newStore();
      const first = store.open();
      const lost = await enqueue(first, ['a', 'b']);
      await enqueue(first, ['c']);
      store.flip('ready', 0, byte);
      const second = store.open();
      assert.deepEqual(textsOf(await take(second)), ['c']);
      assert.ok(store.damages.length > 0);
      await assert.rejects(second.broker.settled(lost[0]!), { code: 'ERR_MILLRACE_RESULT_EXPIRED' });
      assert.equal((await second.inspect!.list({ state: 'running' }, 10)).tasks.length, 1);
      assert.equal(store.tables.range('ready', ALL).length, 2, 'it is left where it is');
    });

    it(`of a flow is passed over (byte ${byte})`, async () => {
      const store = newStore();
      const first = store.open();
      const keepMs = { completed: DAY_MS, dead: DAY_MS, cancelled: DAY_MS };
      const intake = first.flows!.flow({ retentionMs: keepMs });
      const task = { name: 't', queue: 'q', level: 5, body: Buffer.from('member') };
      await intake.add([{ kind: 'task', task }]);
      await intake.accept();
      await enqueue(first, ['a', 'b']);
      store.flip('flow', 0, byte);
      const second = store.open();
      const claims = await take(second);
      assert.deepEqual(textsOf(claims), ['member', 'a', 'b']);
      await second.broker.settle(claims.map((claim) => ended(claim, 'completed')));
      assert.deepEqual((await second.flows!.list(10)).flows, []);
      assert.equal(second.inspect!.counts().get('q')!.completed, 3);
      assert.ok(store.damages.length > 0);
    });

    it(`of results is passed over (byte ${byte})`, async () => {
      const store = newStore();
      const first = store.open();
      const ids = [...(await enqueue(first, ['a'])), ...(await enqueue(first, ['b']))];
      await first.broker.settle((await take(first)).map((claim) => ended(claim, 'completed')));
      store.flip('done', 0, byte);
      const second = store.open();
      await assert.rejects(second.broker.settled(ids[0]!), { code: 'ERR_MILLRACE_STORE_CORRUPT' });
      assert.equal(Buffer.from((await second.broker.settled(ids[1]!)).result!).toString(), 'b');
      const { tasks } = await second.inspect!.list({ state: 'completed' }, 10);
      assert.deepEqual(
        tasks.map(({ id }) => id),
        [ids[1]],
      );
      store.now += 2 * DAY_MS;
      assert.ok((await second.broker.prune(store.now, 100)) > 0);
      assert.equal(store.tables.range('done', ALL).length, 1, 'the sound one is gone');
    });

    it(`of one record leaves its neighbours alone (byte ${byte})`, async () => {
      const store = newStore();
      const first = store.open();
      const ids = await enqueue(first, ['a', 'b', 'c'], { runAt: store.now + 5 });
      store.now += 10;
      await first.broker.promote(store.now, 10);
      await first.broker.settle([]);
      store.flip('task', 1, byte);
      const second = store.open();
      assert.deepEqual(textsOf(await take(second)), ['a', 'c']);
      await assert.rejects(second.broker.settled(ids[1]!), { code: 'ERR_MILLRACE_STORE_CORRUPT' });
      await assert.rejects(second.broker.cancel(ids[1]!, 'x', 1, 1), { code: 'ERR_MILLRACE_STORE_CORRUPT' });
    });
  }

  it('of a lane that has lost its name keeps none of its tasks from running', async () => {
    const store = newStore();
    const first = store.open();
    await enqueue(first, ['plain']);
    for (const key of ['a', 'b']) await enqueue(first, [key, key], { lane: limitLane('t', key) });
    for (const [key] of store.tables.range('lane', ALL)) store.tables.delete('lane', key);
    const second = store.open();
    await enqueue(second, ['plain', 'a'], { lane: '' });
    const claims = await take(second);
    assert.deepEqual(textsOf(claims).sort(), ['a', 'a', 'a', 'b', 'b', 'plain', 'plain']);
    await second.broker.settle(claims.map((claim) => ended(claim, 'completed')));
    assert.equal(second.inspect!.counts().get('q')!.completed, 7);
  });

  it('of a scheduled record does not stop the others from being promoted', async () => {
    const store = newStore();
    const first = store.open();
    await enqueue(first, ['a', 'b', 'c'], { runAt: store.now + 5 });
    store.flip('task', 0, -1);
    const second = store.open();
    store.now += 10;
    assert.equal(await second.broker.promote(store.now, 10), 3);
    assert.deepEqual(textsOf(await take(second)), ['b', 'c']);
  });

  it('of a dead record is listed by nobody and pruned by nobody', async () => {
    const store = newStore();
    const first = store.open();
    await enqueue(first, ['a', 'b']);
    await first.broker.settle((await take(first)).map((claim) => ended(claim, 'dead')));
    store.flip('task', 0, 20);
    const second = store.open();
    assert.equal((await second.inspect!.list({ state: 'dead' }, 10)).tasks.length, 1);
    store.now += 2 * DAY_MS;
    await second.broker.prune(store.now, 100);
    assert.equal(store.tables.range('task', ALL).length, 1);
    await second.broker.settle([]);
  });

  it('of results keeps their tasks from running again', async () => {
    const store = newStore();
    const first = store.open();
    await enqueue(first, ['a', 'b']);
    const claims = await take(first, 1);
    await first.broker.settle(claims.map((claim) => ended(claim, 'completed')));
    store.flip('done', 0, -1);
    const second = store.open();
    assert.deepEqual(textsOf(await take(second)), [], 'it cannot be known which of the segment has ended');
    assert.equal(store.damages.length, 1);
  });
});

describe('a deleted task', () => {
  it('leaves no byte of its payload, result or reports in the store', async () => {
    const store = newStore();
    const backend = store.open();
    const ids = await enqueue(backend, ['keep me', 'SECRET 1', 'SECRET 2', 'SECRET 3']);
    const claims = await take(backend);
    await backend.broker.settle([
      ...claims.slice(0, 2).map((claim) => ended(claim, 'completed')),
      {
        ...ended(claims[2]!, 'dead'),
        progress: 'SECRET 4',
        logs: [{ at: 1, message: 'SECRET 5' }],
      } as Settlement,
    ]);
    const last = backend.broker.settle([ended(claims[3]!, 'completed')]);
    for (const id of ids.slice(1)) await backend.broker.delete(id);
    await last;
    const rows = (['ready', 'done', 'task', 'note'] as const).flatMap((table) =>
      store.tables.range(table, ALL),
    );
    const bytes = Buffer.concat(rows.map(([, value]) => value)).toString('latin1');
    assert.ok(bytes.includes('keep me'));
    assert.ok(!bytes.includes('SECRET'));
  });
});

const CORRUPT = 'ERR_MILLRACE_STORE_CORRUPT';
/** What of them may be wrong is refused, never guessed. */
const WRONG_ROWS = [
  { table: 'work', what: 'an unknown errand', value: 'ff' },
  { table: 'work', what: 'nothing', value: '' },
  { table: 'node', what: 'an unknown kind', value: `ff${'00'.repeat(14)}` },
  { table: 'node', what: 'too little', value: '00' },
  { table: 'edge', what: 'an unknown status', value: '03000000000000' },
  { table: 'edge', what: 'half a place', value: '00000000' },
  { table: 'parent', what: 'half an id', value: '0000000000000000000000' },
] as const;

describe('a row that flows have without a checksum', () => {
  for (const { table, what, value } of WRONG_ROWS) {
    it(`is reported and passed over when ${table} holds ${what}`, async () => {
      const store = newStore();
      const first = store.open();
      const task = { name: 't', queue: 'q', level: 5, body: Buffer.from('a') };
      const intake = first.flows!.flow({ retentionMs: { completed: 1, dead: 1, cancelled: 1 } });
      const after = [{ label: 'p', from: 0 }];
      await intake.add([
        { kind: 'task', task },
        { kind: 'task', task: { ...task, body: Buffer.from('b') }, after },
      ]);
      const { id, nodes } = await intake.accept();
      const claims = await take(first);
      if (table === 'work') await first.flows!.cancel(id, 'enough');
      const [key] = store.tables.range(table, ALL)[0]!;
      store.tables.put(table, key, Buffer.from(value, 'hex'));
      const second = store.open();
      const { flows, broker, inspect } = second;
      if (table === 'parent') {
        const wrong = { code: CORRUPT };
        await assert.rejects(inspect!.get(nodes.ticket(1).id), wrong);
        await assert.rejects(flows!.parents(nodes.ticket(1).id, 'p', 1), wrong);
      }
      await broker.settle((await take(second)).map((claim) => ended(claim, 'completed')));
      assert.equal(claims.length, 1);
      assert.equal((await flows!.get(id))?.total, 2, 'nothing is taken away');
      for (const each of store.damages) assert.equal((each as { code?: string }).code, CORRUPT, String(each));
      assert.equal(store.damages.length > 0, table !== 'parent');
      await flows!.cancel(id, 'enough');
      await broker.settle([]);
      if ((await flows!.get(id))?.state !== 'running') await flows!.delete(id);
    });
  }
});
