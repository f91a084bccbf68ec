/** Tasks that were claimed and go back: uncharged, to the very place where they were. */
import assert from 'node:assert/strict';
import type { Claim } from '../../broker/broker.js';
import { textOf, texts } from './probe.js';
import { it, type Theme } from './suite.js';

export const releaseThemes: readonly Theme[] = [
  {
    subject: 'release',
    sentences: [
      it('puts tasks back to their places, in whatever order they come', async (probe) => {
        await probe.enqueue(...texts('a', 20).map((text) => ({ text })));
        const claims = await probe.take(12);
        await probe.complete([claims[2]!, claims[3]!, claims[9]!]);
        await probe.release([claims[11]!, claims[0]!, claims[7]!]);
        await probe.release([claims[5]!, claims[1]!]);
        await probe.release([claims[10]!, claims[4]!, claims[8]!, claims[6]!]);
        const expected = texts('a', 20).filter((_, at) => at !== 2 && at !== 3 && at !== 9);
        assert.deepEqual(await probe.drain(), expected);
      }),

      it('lets what is better go first, then goes on where it was', async (probe) => {
        await probe.enqueueTexts(['low 0', 'low 1', 'low 2'], { level: 2 });
        const claims = await probe.take(2);
        await probe.enqueue({ level: 8, text: 'high' });
        await probe.release([...claims].reverse());
        await probe.enqueue({ level: 2, text: 'low 3' });
        assert.deepEqual(await probe.drain(), ['high', 'low 0', 'low 1', 'low 2', 'low 3']);
      }),

      it('puts a task back before what was enqueued after it, across many commits', async (probe) => {
        const first: Claim[] = [];
        for (let round = 0; round < 10; round++) {
          await probe.enqueue({ text: `${round}` });
          first.push(...(await probe.take(1)));
        }
        await probe.enqueue({ text: '10' });
        await probe.release([8, 1, 5, 3, 0, 9, 2, 7, 6, 4].map((at) => first[at]!));
        assert.deepEqual(
          await probe.drain(),
          Array.from({ length: 11 }, (_, at) => `${at}`),
        );
      }),

      it('charges nothing', async (probe) => {
        await probe.enqueue({ text: 'a' });
        const [first] = await probe.take();
        await probe.release([first!]);
        const again = await probe.takeOne();
        assert.deepEqual([again.attempt, again.tally, again.id], [1, first!.tally, first!.id]);
        assert.equal(again.suspect, false);
        await probe.retry([again], 0);
        await probe.pass(0);
        await probe.release(await probe.take());
        assert.equal((await probe.takeOne()).attempt, 2);
      }),

      it('can make a task suspect, which stays in its place', async (probe) => {
        await probe.enqueue({ text: 'a' }, { text: 'b' });
        const claims = await probe.take();
        await probe.release(claims.slice(0, 1), true);
        await probe.release(claims.slice(1));
        const again = await probe.take();
        assert.deepEqual(
          again.map((claim) => [textOf(claim), claim.suspect]),
          [
            ['a', true],
            ['b', false],
          ],
        );
        await probe.complete(again);
        await probe.enqueue({ text: 'c' });
        assert.equal((await probe.takeOne()).suspect, false);
      }),

      it(
        'wakes the dispatcher, and counts the task as ready',
        async (probe) => {
          await probe.enqueue({});
          const claims = await probe.take();
          assert.deepEqual(probe.counts(), { running: 1 });
          let wakes = 0;
          probe.broker.onReady(() => wakes++);
          await probe.release(claims);
          assert.ok(wakes > 0);
          assert.deepEqual(probe.counts(), { ready: 1 });
        },
        { has: ['inspect'] },
      ),

      it('puts a retried task back to its place, too', async (probe) => {
        await probe.enqueue({ text: 'retried' });
        await probe.retry(await probe.take(), 10);
        await probe.pass(10);
        await probe.enqueue({ text: 'fresh' });
        const claims = await probe.take(1);
        await probe.release(claims);
        assert.deepEqual(await probe.drain(), ['retried', 'fresh']);
      }),
    ],
  },
];
