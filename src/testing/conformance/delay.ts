/** Tasks that wait for an instant: delayed at enqueue, or between attempts. */
import assert from 'node:assert/strict';
import { textOf, texts } from './probe.js';
import { it, type Theme } from './suite.js';

export const delayThemes: readonly Theme[] = [
  {
    subject: 'delay',
    sentences: [
      it('keeps a task back until its instant, not a millisecond less', async (probe) => {
        await probe.enqueue({ text: 'a', runAt: probe.now + 100 });
        assert.equal(await probe.pass(99), 0);
        assert.deepEqual(await probe.drain(), []);
        assert.equal(await probe.pass(1), 1);
        assert.deepEqual(await probe.drain(), ['a']);
      }),

      it('starts a task whose instant is past at once', async (probe) => {
        await probe.enqueue({ text: 'a', runAt: probe.now }, { text: 'b', runAt: 0 });
        assert.deepEqual(await probe.drain(), ['a', 'b']);
      }),

      it('takes an instant at any distance', async (probe) => {
        const years = [0.001, 1, 30, 300].map((count) => count * 365 * 86_400_000);
        for (const [at, delayMs] of years.entries())
          await probe.enqueue({ text: `${at}`, runAt: probe.now + delayMs });
        assert.equal(await probe.broker.nextDueAt(), probe.now + years[0]!);
        const seen: string[] = [];
        for (const delayMs of years) {
          await probe.broker.promote(probe.now + delayMs, 100);
          seen.push(...(await probe.drain()));
        }
        assert.deepEqual(seen, ['0', '1', '2', '3']);
      }),

      it('makes tasks ready in the order in which they are due', async (probe) => {
        const delays = [50, 10, 90, 30, 70, 20];
        for (const delayMs of delays) await probe.enqueue({ text: `${delayMs}`, runAt: probe.now + delayMs });
        await probe.pass(100);
        assert.deepEqual(await probe.drain(), ['10', '20', '30', '50', '70', '90']);
      }),

      it('says when the next task is due', async (probe) => {
        assert.equal(await probe.broker.nextDueAt(), undefined);
        const dueAt = probe.now + 500;
        await probe.enqueue({ runAt: dueAt + 1_000 }, { runAt: dueAt });
        assert.equal(await probe.broker.nextDueAt(), dueAt);
        await probe.pass(500);
        assert.equal(await probe.broker.nextDueAt(), dueAt + 1_000);
        await probe.pass(1_000);
        assert.equal(await probe.broker.nextDueAt(), undefined);
      }),

      it('promotes no more than it is asked for, the earliest first', async (probe) => {
        await probe.enqueue(...texts('a', 9).map((text, at) => ({ text, runAt: probe.now + 9 - at })));
        probe.clock.advance(10);
        assert.equal(await probe.broker.promote(probe.now, 4), 4);
        assert.deepEqual(await probe.drain(), ['a 8', 'a 7', 'a 6', 'a 5']);
        assert.equal(await probe.broker.promote(probe.now, 100), 5);
        assert.equal(await probe.broker.promote(probe.now, 100), 0);
        assert.deepEqual(await probe.drain(), ['a 4', 'a 3', 'a 2', 'a 1', 'a 0']);
      }),

      it('puts what becomes ready behind all that is ready', async (probe) => {
        await probe.enqueue({ text: 'delayed', runAt: probe.now + 10 }, { text: 'a' });
        const { accepted } = probe.broker.enqueue([probe.draft({ text: 'b' })]);
        await probe.pass(10);
        probe.broker.enqueue([probe.draft({ text: 'c' })]);
        await accepted;
        await probe.enqueue({ text: 'd' });
        assert.deepEqual(await probe.drain(), ['a', 'b', 'delayed', 'c', 'd']);
      }),

      it('keeps the level of a task, and wakes the dispatcher', async (probe) => {
        await probe.enqueue({ text: 'a', level: 3 }, { text: 'b', level: 9, runAt: probe.now + 5 });
        let wakes = 0;
        probe.broker.onReady(() => wakes++);
        await probe.pass(5);
        assert.ok(wakes > 0);
        const claims = await probe.take();
        assert.deepEqual(
          claims.map((claim) => [textOf(claim), claim.level]),
          [
            ['b', 9],
            ['a', 3],
          ],
        );
      }),

      it('does not start a promoted task that asks for its commit before that', async (probe) => {
        const draft = probe.draft({ text: 'a', runAt: probe.now + 1, startAfterCommit: true });
        const { accepted } = probe.broker.enqueue([draft]);
        probe.clock.advance(1);
        await probe.broker.promote(probe.now, 1);
        assert.equal((await probe.take()).length, 0);
        await accepted;
        await probe.enqueue({ text: 'b' });
        assert.deepEqual(await probe.drain(), ['a', 'b']);
      }),

      it(
        'is counted and listed as scheduled, a retry as retrying',
        async (probe) => {
          const [id] = await probe.enqueue({ runAt: probe.now + 70 }, {});
          await probe.retry(await probe.take(), 50);
          assert.deepEqual(probe.counts(), { scheduled: 2, retrying: 1 });
          const { state, nextAttemptAt } = await probe.view(id!);
          assert.deepEqual([state, nextAttemptAt], ['scheduled', probe.now + 70]);
          await probe.pass(50);
          assert.deepEqual(probe.counts(), { scheduled: 1, ready: 1 });
          await probe.pass(20);
          assert.deepEqual(probe.counts(), { ready: 2 });
        },
        { has: ['inspect'] },
      ),
    ],
  },
];
