/** Tasks go out: which one is next, and what becomes of those that are not taken. */
import assert from 'node:assert/strict';
import type { Verdict } from '../../broker/broker.js';
import { textOf, texts } from './probe.js';
import { it, type Theme } from './suite.js';

export const claimThemes: readonly Theme[] = [
  {
    subject: 'claim',
    sentences: [
      it('hands out level 9 before level 0, and the oldest first within a level', async (probe) => {
        const levels = [5, 0, 9, 5, 1, 8, 9, 0, 4, 2, 7, 3, 6, 5];
        for (const [at, level] of levels.entries()) await probe.enqueue({ level, text: `${level}:${at}` });
        const expected = levels
          .map((level, at) => ({ level, at }))
          .sort((a, b) => b.level - a.level || a.at - b.at)
          .map(({ level, at }) => `${level}:${at}`);
        assert.deepEqual(await probe.drain(), expected);
      }),

      it('prefers what came last when its level is higher', async (probe) => {
        await probe.enqueue(...texts('low', 300).map((text) => ({ level: 4, text })));
        const first = await probe.take(3);
        await probe.enqueue({ level: 5, text: 'high' });
        assert.deepEqual((await probe.take(2)).map(textOf), ['high', 'low 3']);
        assert.deepEqual(first.map(textOf), ['low 0', 'low 1', 'low 2']);
      }),

      it('takes no more than it was asked for', async (probe) => {
        await probe.enqueue({}, {}, {});
        assert.equal((await probe.take(2)).length, 2);
        assert.equal((await probe.take(2)).length, 1);
        assert.equal((await probe.take(2)).length, 0);
      }),

      it('never hands one task to two claims', async (probe) => {
        await probe.enqueue(...texts('a', 600).map((text, at) => ({ text, level: at % 10 })));
        const claims = (await Promise.all([1, 50, 7, 300, 2, 400].map((max) => probe.take(max)))).flat();
        assert.equal(claims.length, 600);
        assert.equal(new Set(claims.map((claim) => claim.id)).size, 600);
      }),

      it(
        'stops when it is told to, and takes nothing of what it only looked at',
        async (probe) => {
          await probe.enqueueTexts(['a', 'b', 'c']);
          const seen: string[] = [];
          const verdicts: Verdict[] = ['take', 'stop'];
          const claims = await probe.take(10, (head) => {
            seen.push(`${head.name} ${head.queue} ${head.level} ${head.bodyBytes}`);
            return verdicts.shift()!;
          });
          assert.deepEqual(claims.map(textOf), ['a']);
          assert.equal(seen.length, 2);
          assert.deepEqual(await probe.drain(), ['b', 'c']);
        },
        { has: ['peek'] },
      ),

      it(
        'passes over the line of a task that is skipped, at all its levels',
        async (probe) => {
          await probe.enqueue({ queue: 'paused', level: 9, text: 'p9' });
          await probe.enqueue({ queue: 'paused', level: 1, text: 'p1' });
          await probe.enqueue({ level: 5, text: 'a' }, { level: 0, text: 'b' });
          let asked = 0;
          const accept = ({ queue }: { queue: string }): Verdict => {
            if (queue !== 'paused') return 'take';
            asked++;
            return 'skip';
          };
          assert.deepEqual((await probe.take(10, accept)).map(textOf), ['a', 'b']);
          assert.equal(asked, 1);
          assert.deepEqual(await probe.drain(), ['p9', 'p1']);
        },
        { has: ['peek'] },
      ),

      it(
        'keeps the lines of different queues apart',
        async (probe) => {
          for (let at = 0; at < 4; at++) await probe.enqueue({ queue: `q${at % 2}`, text: `${at}` });
          const only =
            (name: string) =>
            (head: { queue: string }): Verdict =>
              head.queue === name ? 'take' : 'skip';
          assert.deepEqual((await probe.take(10, only('q1'))).map(textOf), ['1', '3']);
          assert.deepEqual((await probe.take(10, only('q0'))).map(textOf), ['0', '2']);
        },
        { has: ['peek'] },
      ),

      it('keeps enqueue order over many commits while others are taken', async (probe) => {
        const seen: string[] = [];
        for (let round = 0; round < 30; round++) {
          await probe.enqueue({ text: `${round}a` }, { text: `${round}b` });
          const claims = await probe.take(round % 3);
          seen.push(...claims.map(textOf));
          await probe.complete(claims);
        }
        seen.push(...(await probe.drain()));
        assert.deepEqual(
          seen,
          texts('', 30).flatMap((_, round) => [`${round}a`, `${round}b`]),
        );
      }),

      it('gives claims that can be held and let go', async (probe) => {
        await probe.enqueue({}, {}, {});
        const claims = await probe.take();
        const hold = probe.broker.hold(claims);
        hold.release();
        hold.release();
        await probe.complete(claims);
      }),
    ],
  },
];
