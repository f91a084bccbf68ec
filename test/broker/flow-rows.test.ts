/** What flows keep of tasks that their members wait for, held against the whole store. */
import assert from 'node:assert/strict';
import { describe, it } from 'vitest';
import type { Claim, Settlement } from '#src/broker/broker.js';
import { openEmbedded } from '#src/broker/embedded/broker.js';
import type { EmbeddedFlows } from '#src/broker/embedded/flows/flows.js';
import { memoryTables } from '#src/broker/embedded/memory-tables.js';
import type { Tables } from '#src/broker/embedded/tables.js';
import { completed } from './settlements.js';
import { checkStore } from './store-check.js';

const ALL = { start: '', end: '\u0100', limit: 100 } as const;
const KEPT = { completed: 1e9, dead: 1e9, cancelled: 1e9 };
const task = (text: string) => ({ name: 't', queue: 'q', level: 5, body: Buffer.from(text) });

describe('a member that stands for a task that another one would add', () => {
  for (const forMs of [undefined, 1_000]) {
    const when = forMs === undefined ? 'that ends later' : 'that has ended';
    it(`is waited for, and nothing of it is left when the flow is deleted (${when})`, async () => {
      const { broker, flows, tables } = open();
      const unique = { key: 'k', onConflict: 'keep', ...(forMs === undefined ? {} : { forMs }) } as const;
      const intake = flows.flow({ retentionMs: KEPT });
      await intake.add([
        { kind: 'task', task: task('adds') },
        { kind: 'task', task: { ...task('holds'), unique } },
        { kind: 'task', task: task('child'), after: [{ label: 'p', from: 0 }] },
      ]);
      const { id, nodes } = await intake.accept();
      const [adds, holds] = (await broker.claim(() => 'take', 10)) as readonly [Claim, Claim];
      const more = { ...completed(adds), next: [{ ...task('more'), unique, inFlow: true }] } as Settlement;
      const dies = { ...completed(holds), kind: 'dead', reason: 'failed' } as Settlement;
      for (const settlement of forMs === undefined ? [more, dies] : [dies, more]) {
        await broker.settle([settlement]);
        checkStore(tables);
      }
      assert.equal((await flows.get(id))?.state, 'dead');
      await broker.redrive(nodes.ticket(1).id);
      await broker.settle(((await broker.claim(() => 'take', 10)) as readonly Claim[]).map(completed));
      await broker.redrive(nodes.ticket(2).id);
      await broker.settle(((await broker.claim(() => 'take', 10)) as readonly Claim[]).map(completed));
      assert.equal((await flows.get(id))?.state, 'completed');
      checkStore(tables);
      await flows.delete(id);
      isEmpty(tables);
    });
  }
});

describe('a member that another flow waits for', () => {
  for (const first of ['its own flow', 'the other flow']) {
    it(`is forgotten when both are deleted, ${first} first`, async () => {
      const { broker, flows, tables } = open();
      const own = flows.flow({ retentionMs: KEPT });
      await own.add([
        { kind: 'task', task: task('a') },
        { kind: 'task', task: task('b'), after: [{ label: 'p', from: 0 }] },
      ]);
      const { id, nodes } = await own.accept();
      const other = flows.flow({ retentionMs: KEPT });
      await other.add([{ kind: 'task', task: task('c'), after: [{ label: 'p', from: nodes.ticket(0).id }] }]);
      const { id: otherId } = await other.accept();
      const [claim] = (await broker.claim(() => 'take', 10)) as readonly [Claim];
      await broker.settle([{ ...completed(claim), kind: 'dead', reason: 'failed' } as Settlement]);
      const ids = [id, otherId];
      for (const each of first === 'its own flow' ? ids : ids.toReversed()) {
        await flows.delete(each);
        checkStore(tables);
      }
      isEmpty(tables);
    });
  }
});

describe('a list of what is blocked', () => {
  it('ends its page also when all that it finds belongs to flows that are not accepted yet', async () => {
    const { flows, inspect } = open();
    const intake = flows.flow({ retentionMs: KEPT });
    await intake.add(Array.from({ length: 5_000 }, () => ({ kind: 'task', task: task('a') }) as const));
    for (let after: string | undefined, pages = 1; ; pages++) {
      const page = await inspect.list({ state: 'blocked' }, 1_000, after);
      assert.deepEqual(page.tasks, []);
      after = page.after;
      if (after !== undefined) continue;
      assert.equal(pages, 3, 'of two thousand rows at most');
      break;
    }
    await intake.abandon();
  });
});

describe('a prune that meets no flow', () => {
  it('does not wait for what is being done to one', async () => {
    const { broker, flows } = open();
    const intake = flows.flow({ retentionMs: KEPT });
    await intake.add(Array.from({ length: 3_000 }, () => ({ kind: 'task', task: task('a') }) as const));
    await intake.accept();
    assert.ok(flows.idle() !== undefined, 'its tasks are being let go');
    assert.equal(broker.prune(1, 10), 0);
  });
});

function open() {
  const tables = memoryTables();
  const { broker, flows, inspect } = openEmbedded({
    ...{ kind: 'memory', lacks: {}, tables, where: 'here', storeNumber: 1, now: () => 1 },
    limits: { maxPendingEnqueues: 1_000, maxPendingBytes: 1e6 },
    onCorrupt: (error) => assert.fail(error),
  });
  return { broker, flows: flows as EmbeddedFlows, inspect: inspect!, tables };
}

function isEmpty(tables: Tables): void {
  for (const table of ['flow', 'node', 'edge', 'parent', 'work', 'task'] as const)
    assert.deepEqual(tables.range(table, ALL), [], table);
}
