/** What very many lanes cost, and what is left of them; beside the sentences about lanes of the suite. */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { describe, it } from 'vitest';
import type { Backend, Claim, OrderRules } from '#src/broker/broker.js';
import { type EmbeddedOptions, openEmbedded } from '#src/broker/embedded/broker.js';
import { memoryTables } from '#src/broker/embedded/memory-tables.js';
import type { Tables } from '#src/broker/embedded/tables.js';
import { limitLane } from '#src/task/lane.js';
import { checkStore } from './store-check.js';

/** In the long run 100,000. What is counted does not depend on it. */
const LANES = 10_000 * Number(process.env.MODEL_RUNS ?? 1);
const WINDOW = LANES / 5;
/** What a broker says for tasks that are only in the store. */
const SPILLED = 1_024;
const OPEN: OrderRules = { weightOf: () => 1, isOpen: () => true };
const lane = (key: number | string): string => limitLane('task', `${key}`);

function open(tables: Tables, options: Partial<EmbeddedOptions> = {}): Backend {
  return openEmbedded({
    ...{ kind: 'memory', lacks: {}, tables, where: 'lanes', storeNumber: 1, now: () => 1_000 },
    limits: { maxPendingEnqueues: 1e6, maxPendingBytes: 1e9 },
    ...options,
  });
}

/** Tables that count what is read of them. */
function counting(tables: Tables): { readonly tables: Tables; reads: number } {
  const counter = {
    reads: 0,
    tables: {
      ...tables,
      get: (...args: Parameters<Tables['get']>) => {
        counter.reads++;
        return tables.get(...args);
      },
      has: (...args: Parameters<Tables['has']>) => {
        counter.reads++;
        return tables.has(...args);
      },
      range: (...args: Parameters<Tables['range']>) => {
        counter.reads++;
        return tables.range(...args);
      },
    },
  };
  return counter;
}

async function enqueue({ broker }: Backend, keys: readonly (number | string)[], text = ''): Promise<void> {
  for (let at = 0; at < keys.length; at += 20_000) {
    const batch = keys.slice(at, at + 20_000).map((key) => {
      return {
        name: 'task',
        queue: 'default',
        level: 5,
        lane: lane(key),
        body: Buffer.from(`${key}${text}`),
      };
    });
    await broker.enqueue(batch).accepted;
  }
}

async function complete({ broker }: Backend, claims: readonly Claim[]): Promise<void> {
  await broker.settle(
    claims.map((claim) => ({
      ...{ claim, kind: 'completed', result: Buffer.alloc(1), tally: claim.tally },
      ...{ settledAt: 1, expiresAt: 1e9 },
      attempt: { attempt: 1, startedAt: 1, runMs: 1, outcome: 'completed' },
    })),
  );
}

/** Claims as a dispatcher does that is woken, until there is something. */
async function claimOne({ broker }: Backend): Promise<Claim | undefined> {
  let isWoken = true;
  broker.onReady(() => {
    isWoken = true;
  });
  while (isWoken) {
    isWoken = false;
    const [claim] = await broker.claim(({ lane: of }) => (of === lane('one') ? 'take' : 'hold'), 1);
    if (claim !== undefined) return claim;
    await setImmediate();
  }
  return undefined;
}

const textOf = (claim: Claim | undefined): string => Buffer.from(claim?.body ?? []).toString();

describe('very many lanes of which one has permits', () => {
  it('let its task start after a constant number of reads, also after a restart', async () => {
    const counter = counting(memoryTables());
    let backend = open(counter.tables, { windowTasks: WINDOW });
    const rules = { ...OPEN, isOpen: (_: string, of: string) => of === lane('one') };
    backend.broker.order(rules);
    await enqueue(backend, [...Array(LANES).keys(), 'one', 'one']);

    counter.reads = 0;
    const first = await claimOne(backend);
    assert.equal(textOf(first), 'one');
    assert.ok(counter.reads <= 16, `${counter.reads} reads`);

    counter.reads = 0;
    const second = await claimOne(backend);
    assert.equal(textOf(second), 'one');
    assert.equal(counter.reads, 0);
    assert.equal(await claimOne(backend), undefined);
    assert.equal(backend.broker.backlog(), 0, 'what is held is no backlog');
    await complete(backend, [first!, second!]);
    await enqueue(backend, ['one'], ' later');
    await backend.close();

    backend = open(counter.tables, { windowTasks: WINDOW });
    backend.broker.order(rules);
    counter.reads = 0;
    const third = await claimOne(backend);
    assert.equal(textOf(third), 'one later');
    assert.ok(counter.reads <= 16, `${counter.reads} reads`);
    await complete(backend, [third!]);
    await enqueue(backend, ['one'], ' again');
    counter.reads = 0;
    assert.equal(textOf(await claimOne(backend)), 'one again');
    assert.equal(counter.reads, 0);
    await backend.close();
  });
});

describe('a claim', () => {
  it('looks at a bounded number of lines in vain, says so, and asks to be called again', async () => {
    const backend = open(memoryTables());
    await enqueue(backend, [...Array(5_000).keys()]);
    let asked = 0;
    let woken = 0;
    backend.broker.onReady(() => woken++);
    const claim = () =>
      backend.broker.claim(() => {
        asked++;
        return 'hold';
      }, 10);
    await claim();
    assert.deepEqual([asked, backend.broker.endedEarly], [1_000, true]);
    await setImmediate();
    assert.equal(woken, 1);
    for (let at = 0; at < 6; at++) await claim();
    await setImmediate();
    assert.deepEqual([asked, backend.broker.endedEarly], [5_000, false]);
    await backend.close();
  });
});

describe('a lane', () => {
  it('leaves nothing behind when its last task has gone, and comes back with its next', async () => {
    const tables = memoryTables();
    const backend = open(tables);
    for (const round of [' 1', ' 2']) {
      await enqueue(backend, ['a', 'b', 'b', 'c'], round);
      assert.equal(checkStore(tables).rows.lane, 3);
      const claims = await backend.broker.claim(() => 'take', 10);
      assert.deepEqual(claims.map(textOf).sort(), ['a', 'b', 'b', 'c'].map((key) => key + round).sort());
      await complete(backend, claims.slice(0, 3));
      assert.ok(checkStore(tables).rows.lane >= 1);
      await complete(backend, claims.slice(3));
      assert.equal(checkStore(tables).rows.lane, 0);
    }
    await backend.close();
  });

  it('is not stored at all when its tasks end before their commit begins', async () => {
    const tables = memoryTables();
    const backend = open(tables);
    const names: string[] = [];
    const put = tables.put;
    tables.put = (table, ...rest) => {
      names.push(table);
      put(table, ...rest);
    };
    const accepted = enqueue(backend, ['a']);
    await complete(backend, await backend.broker.claim(() => 'take', 1));
    await accepted;
    assert.ok(names.includes('done') && !names.includes('lane') && !names.includes('place'), `${names}`);
    await backend.close();
  });

  it('is never mixed up with another whose hash is the same', async () => {
    const tables = memoryTables();
    const laneHash = (name: string): string => (name.endsWith('z') ? '\xff'.repeat(8) : 'samehash');
    const keys = ['a', 'b', 'c', 'z', 'zz', 'zzz'];
    let backend = open(tables, { laneHash });
    await enqueue(backend, keys);
    await enqueue(backend, keys);
    const byKey = async (take: readonly string[]): Promise<Claim[]> => [
      ...(await backend.broker.claim(
        ({ lane: of }) => (take.some((key) => of === lane(key)) ? 'take' : 'skip'),
        99,
      )),
    ];
    const check = (claims: readonly Claim[], expected: readonly string[]): void => {
      assert.deepEqual(claims.map(textOf).sort(), [...expected].sort());
      for (const claim of claims) assert.equal(claim.limitLane, lane(textOf(claim)));
    };
    const first = await byKey(['a', 'zz']);
    check(first, ['a', 'a', 'zz', 'zz']);
    await complete(backend, first);
    await backend.close();
    backend = open(tables, { laneHash });
    await enqueue(backend, ['c', 'zzz', 'a', 'd']);
    check(await byKey(['c', 'd']), ['c', 'c', 'c', 'd']);
    check(await byKey([...keys, 'd']), ['a', 'b', 'b', 'z', 'z', 'zzz', 'zzz', 'zzz']);
    await backend.close();
  });

  it('is found again by its number when another of its hash has left nothing in the store', async () => {
    const tables = memoryTables();
    const laneHash = (): string => 'samehash';
    let backend = open(tables, { laneHash });
    const accepted = enqueue(backend, ['a', 'b']);
    const eager = await backend.broker.claim(({ lane: of }) => (of === lane('a') ? 'take' : 'skip'), 1);
    await complete(backend, eager);
    await accepted;
    await backend.close();
    backend = open(tables, { laneHash });
    await enqueue(backend, ['a', 'b']);
    const claims = await backend.broker.claim(() => 'take', 9);
    assert.deepEqual(claims.map(textOf).sort(), ['a', 'b', 'b']);
    for (const claim of claims) assert.equal(claim.limitLane, lane(textOf(claim)));
    await complete(backend, claims);
    assert.equal(checkStore(tables).rows.lane, 0);
    await backend.close();
  });

  it('that is held gives its place in memory to those that can start', async () => {
    const counter = counting(memoryTables());
    const backend = open(counter.tables, { windowTasks: 100 });
    await enqueue(backend, [...Array(100).keys()]);
    await backend.broker.claim(() => 'hold', 1);
    for (let round = 0; round < 20; round++) {
      const batch = Array.from({ length: 5 }, () => {
        return { name: 'task', queue: 'default', level: 5, body: Buffer.from('plain') };
      });
      const { accepted } = backend.broker.enqueue(batch);
      counter.reads = 0;
      const claims = await backend.broker.claim(() => 'take', 5);
      assert.deepEqual([claims.length, counter.reads], [5, 0], 'they start before their commit');
      await complete(backend, claims);
      await accepted;
    }
    assert.equal(backend.broker.backlog(), 0);
    backend.broker.resumeAll();
    const claims = await backend.broker.claim(() => 'take', 1_000);
    assert.equal(new Set(claims.map(textOf)).size, 100);
    await backend.close();
  });

  it('keeps no more of its segment in memory than the window has room for', async () => {
    const backend = open(memoryTables(), { windowTasks: 200 });
    const keys = [...Array(60).keys()];
    for (let round = 0; round < 2; round++)
      await enqueue(
        backend,
        keys.flatMap((key) => Array(20).fill(key)),
      );
    const seen = new Map<string, number>();
    for (let turn = 0; turn < 40; turn++) {
      const inTurn = new Set<string>();
      for (let part = 0; part < 12; part++) {
        const claims = await backend.broker.claim(() => 'take', 5);
        for (const claim of claims) {
          inTurn.add(textOf(claim));
          seen.set(textOf(claim), (seen.get(textOf(claim)) ?? 0) + 1);
        }
        await complete(backend, claims);
        const backlog = backend.broker.backlog();
        const inMemory = backlog >= SPILLED ? backlog - SPILLED : backlog;
        assert.ok(inMemory <= 200 + 5 * 20, `${inMemory} tasks in memory`);
      }
      assert.equal(inTurn.size, 60, `turn ${turn}`);
    }
    assert.deepEqual([...seen.values()], Array(60).fill(40));
    await backend.close();
  });
});
