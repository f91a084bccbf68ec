/** Levels that were passed over for long. */
import assert from 'node:assert/strict';
import type { OrderRules, Verdict } from '../../broker/broker.js';
import { limitLane } from '../../task/lane.js';
import { type Probe, textOf, texts } from './probe.js';
import { it, type Theme } from './suite.js';

const after = (afterStarts: number): OrderRules => ({
  weightOf: () => 1,
  isOpen: () => true,
  ageing: { afterStarts },
});

/** Claims of others between the heads of each level becoming the head and their claims; the longest waits. */
async function waits(probe: Probe, perClaim: number): Promise<number[]> {
  const longest = new Array<number>(10).fill(0);
  const since = new Array<number>(10).fill(0);
  for (let count = 0; ; ) {
    const claims = await probe.take(perClaim);
    if (claims.length === 0) return longest;
    for (const { level } of claims) {
      longest[level] = Math.max(longest[level]!, count - since[level]!);
      since[level] = ++count;
    }
    await probe.complete(claims);
  }
}

export const ageingThemes: readonly Theme[] = [
  {
    subject: 'ageing',
    sentences: [
      it('is off: a low level waits for all others', async (probe) => {
        await probe.enqueue(
          { level: 0, text: 'low' },
          ...texts('high', 300).map((text) => ({ level: 9, text })),
        );
        assert.equal((await probe.drain()).at(-1), 'low');
      }),

      it('starts the head of each level within the stated number of starts of others', async (probe) => {
        for (const [afterStarts, perClaim] of [
          [1, 1],
          [7, 4],
          [20, 256],
        ] as const) {
          probe.broker.order(after(afterStarts));
          for (let level = 0; level < 10; level++) {
            const drafts = texts(`${level}`, 40).map((text) => ({ level, text }));
            await probe.enqueue(...drafts, { level, lane: limitLane('task', 'k'), queue: `q${level % 3}` });
          }
          const longest = await waits(probe, perClaim);
          assert.ok(Math.max(...longest) <= afterStarts + 9, `${longest} after ${afterStarts}`);
          assert.ok(Math.max(...longest) >= afterStarts, `${longest} after ${afterStarts}`);
        }
      }),

      it('lets what is due count as the highest level', async (probe) => {
        probe.broker.order(after(3));
        await probe.enqueue(
          { level: 2, text: 'low' },
          ...texts('high', 9).map((text) => ({ level: 6, text })),
        );
        const claims = await probe.take();
        assert.deepEqual(
          claims.map(({ rank }) => rank),
          [6, 6, 6, 9, 6, 6, 6, 6, 6, 6],
        );
        assert.equal(textOf(claims[3]!), 'low');
        assert.equal(claims[3]!.level, 2);
      }),

      it(
        'counts only while something could start',
        async (probe) => {
          probe.broker.order(after(5));
          await probe.enqueue({ queue: 'paused', level: 0, text: 'low' });
          await probe.enqueue(...texts('high', 60).map((text) => ({ level: 9, text })));
          const paused = ({ queue }: { queue: string }): Verdict =>
            queue === 'paused' ? 'skipQueue' : 'take';
          assert.equal((await probe.take(22, paused)).length, 22);
          const claimed = (await probe.take(8)).map(textOf);
          assert.ok(claimed.includes('low'), `${claimed}`);
          assert.notEqual(claimed[0], 'low');
        },
        { has: ['peek'] },
      ),
    ],
  },
];
