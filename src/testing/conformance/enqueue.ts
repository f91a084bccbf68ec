/** Tasks come in one by one: what they are afterwards, and when they are refused. */
import assert from 'node:assert/strict';
import { refuses, textOf, texts } from './probe.js';
import { it, type Theme } from './suite.js';

export const enqueueThemes: readonly Theme[] = [
  {
    subject: 'enqueue',
    sentences: [
      it('gives every task an id of its own', async (probe) => {
        const ids = await probe.enqueue(...texts('a', 700).map((text) => ({ text })));
        ids.push(...(await probe.enqueueTexts(texts('b', 5))));
        ids.push(...(await probe.enqueue({ runAt: probe.now + 1_000 }, { level: 9 }, { queue: 'other' })));
        assert.equal(new Set(ids).size, 708);
        for (const id of ids) assert.match(id, /^[0-9a-v]{26}$/);
      }),

      it('hands out exactly what was put in', async (probe) => {
        const options = { timeoutMs: 50, notRetryable: ['TypeError'] };
        const staleAt = probe.now + 5_000;
        const parent = (await probe.enqueue({ text: 'parent', level: 9 }))[0]!;
        const draft = { name: 'resize', queue: 'images', level: 7, options, staleAt, parent };
        const [id] = await probe.enqueue({ ...draft, text: 'pixels' });
        const [, claim] = await probe.take();
        assert.ok(claim !== undefined);
        assert.equal(textOf(claim), 'pixels');
        assert.equal(claim.bodyBytes, 6);
        const { name, queue, level, lane, suspect, attempt, tally, createdAt } = claim;
        assert.deepEqual([name, queue, level, lane, suspect], ['resize', 'images', 7, '', false]);
        assert.deepEqual([attempt, tally], [1, { failures: 0, crashes: 0, snoozes: 0 }]);
        assert.deepEqual([claim.options, claim.staleAt, createdAt], [options, staleAt, probe.now]);
        assert.equal(claim.id, id);
        const bytes = new Uint8Array(18);
        claim.writeId(bytes, 1);
        assert.ok(bytes.subarray(1, 17).some((byte) => byte !== 0) && bytes[0] === 0 && bytes[17] === 0);
      }),

      it('keeps payloads of any size apart', async (probe) => {
        const sizes = [0, 1, 70_000, 0, 65_535, 3, 1_048_576, 2, 0];
        const { accepted } = probe.broker.enqueue(
          sizes.map((bytes, at) => ({ ...probe.draft(), body: new Uint8Array(bytes).fill(at + 1) })),
        );
        await accepted;
        const claims = await probe.take();
        assert.deepEqual(
          claims.map((claim) => claim.body.length),
          sizes,
        );
        for (const [at, { body }] of claims.entries()) assert.ok(body.every((byte) => byte === at + 1));
      }),

      it(
        'makes a task ready, and accepted after its flush',
        async (probe) => {
          const [id] = await probe.enqueue({ text: 'a' });
          assert.equal(await probe.state(id!), 'ready');
          assert.deepEqual(probe.counts(), { ready: 1 });
        },
        { has: ['inspect'] },
      ),

      it('wakes the dispatcher', async (probe) => {
        let wakes = 0;
        probe.broker.onReady(() => wakes++);
        await probe.enqueue({});
        assert.ok(wakes > 0);
      }),

      it('tells about how much waits', async (probe) => {
        assert.equal(probe.broker.backlog(), 0);
        await probe.enqueue({}, {});
        assert.ok(probe.broker.backlog() > 0);
      }),

      it('does not start a task that asks for its commit before that', async (probe) => {
        const before = probe.broker.enqueue([probe.draft({ text: 'a' })]);
        const held = probe.broker.enqueue([probe.draft({ text: 'b', startAfterCommit: true })]);
        const after = probe.broker.enqueue([probe.draft({ text: 'c' })]);
        const early = (await probe.take()).map(textOf);
        assert.ok(!early.includes('b'), `b was handed out among ${early}`);
        await Promise.all([before.accepted, held.accepted, after.accepted]);
        assert.deepEqual([...early, ...(await probe.take()).map(textOf)], ['a', 'b', 'c']);
      }),

      it(
        'refuses at once when too many tasks wait for their flush',
        async (probe) => {
          const batch = texts('a', 8).map((text) => probe.draft({ text }));
          const { accepted } = probe.broker.enqueue(batch);
          await refuses('QUEUE_FULL', () => probe.broker.enqueue(batch.slice(0, 3)));
          probe.broker.enqueue(batch.slice(0, 2));
          await accepted;
          await probe.enqueue({ text: 'later' });
          assert.equal((await probe.take()).length, 11);
        },
        { maxPendingEnqueues: 10 },
      ),

      it(
        'refuses at once when too many bytes wait for their flush',
        async (probe) => {
          const { accepted } = probe.broker.enqueue([probe.draft({ text: 'x'.repeat(900) })]);
          await refuses('QUEUE_FULL', () => probe.broker.enqueue([probe.draft({ text: 'x'.repeat(101) })]));
          await accepted;
          await probe.enqueue({ text: 'x'.repeat(101) });
          assert.equal((await probe.take()).length, 2);
        },
        { maxPendingBytes: 1_000 },
      ),

      it(
        'takes one task that is larger than all that may wait, when nothing waits',
        async (probe) => {
          await probe.enqueue({ text: 'x'.repeat(5_000) });
          assert.equal((await probe.takeOne()).bodyBytes, 5_000);
        },
        { maxPendingBytes: 1_000 },
      ),

      it('is refused once the backend is closed', async (probe) => {
        await probe.close();
        await refuses('STOPPED', () => probe.broker.enqueue([probe.draft()]));
      }),
    ],
  },
];
