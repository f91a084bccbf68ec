/** Tasks come in together: all of them or none. */
import assert from 'node:assert/strict';
import { refuses, textOf, texts } from './probe.js';
import { it, type Theme } from './suite.js';

export const batchThemes: readonly Theme[] = [
  {
    subject: 'a batch',
    sentences: [
      it('may be empty', async (probe) => {
        const { tickets, accepted } = probe.broker.enqueue([]);
        await accepted;
        assert.deepEqual(tickets, []);
      }),

      it('gives the ticket of each task at its place', async (probe) => {
        const levels = [3, 9, 3, 0, 9, 5];
        const tickets = await probe.tickets(...levels.map((level, at) => ({ level, text: `${at}` })));
        const claims = await probe.take();
        for (const claim of claims) assert.equal(tickets[Number(textOf(claim))]!.id, claim.id);
        assert.deepEqual(claims.map(textOf), ['1', '4', '5', '0', '2', '3']);
      }),

      it('of thousands keeps its order', async (probe) => {
        const all = texts('a', 3_000);
        await probe.enqueue(...all.map((text) => ({ text })));
        const claims = [...(await probe.take(1_234)), ...(await probe.take(5_000))];
        assert.deepEqual(claims.map(textOf), all);
        await probe.complete(claims);
      }),

      it('larger than one commit is refused', async (probe) => {
        const batch = new Array(20_001).fill(probe.draft());
        await refuses('INVALID_ARGUMENT', () => probe.broker.enqueue(batch));
        assert.equal((await probe.take()).length, 0);
      }),

      it(
        'of which one is refused leaves nothing behind',
        async (probe) => {
          await probe.enqueue({ text: 'holder', unique: { key: 'k', onConflict: 'reject' } });
          const batch = [
            probe.draft({ text: 'a' }),
            probe.draft({ text: 'b', unique: { key: 'free', onConflict: 'keep' } }),
            probe.draft({ text: 'c', unique: { key: 'k', onConflict: 'reject' } }),
          ];
          await refuses('DUPLICATE_TASK', () => probe.broker.enqueue(batch));
          const [again] = await probe.tickets({ text: 'd', unique: { key: 'free', onConflict: 'keep' } });
          assert.equal(again?.isNew, true);
          assert.deepEqual(await probe.drain(), ['holder', 'd']);
        },
        { has: ['unique', 'atomicBatch'] },
      ),

      it(
        'that is too large to wait leaves nothing behind',
        async (probe) => {
          await refuses('QUEUE_FULL', () =>
            probe.broker.enqueue(texts('a', 11).map((text) => probe.draft({ text }))),
          );
          assert.deepEqual(await probe.drain(), []);
        },
        { maxPendingEnqueues: 10 },
      ),

      it('may hold tasks of all kinds', async (probe) => {
        const ids = await probe.enqueue(
          { text: 'now' },
          { text: 'later', runAt: probe.now + 1_000 },
          { text: 'elsewhere', queue: 'other' },
          { text: 'first', level: 9 },
          { text: 'due', runAt: probe.now },
          { text: 'past', runAt: probe.now - 1_000 },
        );
        assert.equal(new Set(ids).size, 6);
        assert.deepEqual(await probe.drain(), ['first', 'now', 'due', 'past', 'elsewhere']);
        await probe.pass(1_000);
        assert.deepEqual(await probe.drain(), ['later']);
      }),
    ],
  },
];
