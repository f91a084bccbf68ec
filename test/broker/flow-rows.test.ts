/** What flows keep of tasks that their members wait for, held against the whole store. */
import assert from 'node:assert/strict';
import { describe, it } from 'vitest';
import type { Claim, Settlement } from '#src/broker/broker.js';
import { openEmbedded } from '#src/broker/embedded/broker.js';
import { memoryTables } from '#src/broker/embedded/memory-tables.js';
import { completed } from './settlements.js';
import { checkStore } from './store-check.js';

const ALL = { start: '', end: '\u0100', limit: 100 } as const;
const task = (text: string) => ({ name: 't', queue: 'q', level: 5, body: Buffer.from(text) });

describe('a member that stands for a task that another one would add', () => {
  for (const forMs of [undefined, 1_000]) {
    const when = forMs === undefined ? 'that ends later' : 'that has ended';
    it(`is waited for, and nothing of it is left when the flow is deleted (${when})`, async () => {
      const tables = memoryTables();
      const { broker, flows } = openEmbedded({
        ...{ kind: 'memory', lacks: {}, tables, where: 'here', storeNumber: 1, now: () => 1 },
        limits: { maxPendingEnqueues: 1_000, maxPendingBytes: 1e6 },
        onCorrupt: (error) => assert.fail(error),
      });
      const unique = { key: 'k', onConflict: 'keep', ...(forMs === undefined ? {} : { forMs }) } as const;
      const intake = flows!.flow({ retentionMs: { completed: 1e9, dead: 1e9, cancelled: 1e9 } });
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
      assert.equal((await flows!.get(id))?.state, 'dead');
      await broker.redrive(nodes.ticket(1).id);
      await broker.settle(((await broker.claim(() => 'take', 10)) as readonly Claim[]).map(completed));
      await broker.redrive(nodes.ticket(2).id);
      await broker.settle(((await broker.claim(() => 'take', 10)) as readonly Claim[]).map(completed));
      assert.equal((await flows!.get(id))?.state, 'completed');
      checkStore(tables);
      await flows!.delete(id);
      for (const table of ['flow', 'node', 'edge', 'parent', 'work', 'task'] as const)
        assert.deepEqual(tables.range(table, ALL), [], table);
    });
  }
});
