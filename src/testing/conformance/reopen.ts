/** The same store under its next owner, after a stop in good order and after a sudden death. */
import assert from 'node:assert/strict';
import { refuses, resultOf, textOf, texts } from './probe.js';
import { it, type Theme } from './suite.js';

const DURABLE = { has: ['durable'] } as const;
const CRASH = { has: ['durable'], crash: true } as const;

export const reopenThemes: readonly Theme[] = [
  {
    subject: 'a store opened again',
    sentences: [
      it(
        'has everything that was accepted, in order',
        async (probe) => {
          await probe.enqueue(...texts('a', 300).map((text) => ({ text })));
          await probe.enqueue({ text: 'high', level: 9 }, { text: 'later', runAt: probe.now + 10 });
          await probe.enqueue({ text: 'elsewhere', queue: 'other', name: 'x', options: { timeoutMs: 7 } });
          await probe.complete(await probe.take(3));
          await probe.reopen();
          const claims = await probe.take();
          assert.deepEqual(claims.map(textOf), [...texts('a', 300).slice(2), 'elsewhere']);
          assert.deepEqual(claims.at(-1)!.options, { timeoutMs: 7 });
          await probe.pass(10);
          assert.deepEqual(await probe.drain(), ['later']);
        },
        DURABLE,
      ),

      it(
        'flushes on close what was still under way',
        async (probe) => {
          const { accepted } = probe.broker.enqueue([probe.draft({ text: 'a' }), probe.draft({ text: 'b' })]);
          const settled = probe.complete(await probe.take(1));
          await probe.reopen();
          await Promise.all([accepted, settled]);
          assert.deepEqual(await probe.drain(), ['b']);
        },
        DURABLE,
      ),

      it(
        'never gives an id twice',
        async (probe) => {
          const ids = await probe.enqueue(...texts('a', 10).map((text) => ({ text })));
          for (let round = 0; round < 3; round++) {
            await probe.reopen();
            ids.push(...(await probe.enqueue({ text: 'b' }, { text: 'c', runAt: probe.now + 1 })));
          }
          assert.equal(new Set(ids).size, 16);
        },
        DURABLE,
      ),

      it(
        'knows its past: attempts, reasons, cancellations',
        async (probe) => {
          const ids = await probe.enqueue({ text: 'a' }, { text: 'b' }, { text: 'c' });
          await probe.cancel(ids[2]!);
          const [a, b] = await probe.take();
          await probe.retry([a!], 10);
          await probe.bury([b!]);
          await probe.reopen();
          await probe.pass(10);
          const again = await probe.takeOne();
          assert.deepEqual([again.id, again.attempt, again.tally.failures], [ids[0], 2, 1]);
          await probe.broker.redrive(ids[1]!);
          await probe.broker.redrive(ids[2]!);
          assert.deepEqual((await probe.take()).map(textOf), ['b', 'c']);
        },
        DURABLE,
      ),

      it(
        'holds no suspects after a stop in good order',
        async (probe) => {
          await probe.enqueue(...texts('a', 10).map((text) => ({ text })));
          const claims = await probe.take(5);
          const hold = probe.broker.hold(claims);
          await probe.release(claims);
          hold.release();
          await probe.reopen();
          assert.deepEqual(
            (await probe.take()).map((claim) => claim.suspect),
            new Array(10).fill(false),
          );
        },
        DURABLE,
      ),
    ],
  },

  {
    subject: 'a store whose owner died',
    sentences: [
      it(
        'has all that was accepted and settled, and runs the rest again',
        async (probe) => {
          const ids = await probe.enqueue(...texts('a', 30).map((text) => ({ text })));
          const claims = await probe.take(20);
          await probe.complete(claims.slice(0, 6));
          await probe.bury(claims.slice(6, 8));
          await probe.retry(claims.slice(8, 10), 10);
          await probe.crash();
          assert.equal(resultOf(await probe.broker.settled(ids[5]!)), 'result of a 5');
          assert.equal((await probe.broker.settled(ids[7]!)).state, 'dead');
          assert.deepEqual(await probe.drain(), texts('a', 30).slice(10));
          await probe.pass(10);
          assert.deepEqual(await probe.drain(), ['a 8', 'a 9']);
        },
        CRASH,
      ),

      it(
        'suspects exactly what had been handed out and had not ended',
        async (probe) => {
          await probe.enqueue(...texts('a', 20).map((text) => ({ text })));
          await probe.enqueue({ text: 'delayed', runAt: probe.now + 1, level: 9 });
          await probe.pass(1);
          const claims = await probe.take(12);
          const holds = [probe.broker.hold(claims.slice(0, 4)), probe.broker.hold(claims.slice(4, 9))];
          holds[1]!.release();
          probe.broker.hold(claims.slice(7, 9));
          await probe.complete(claims.slice(1, 3));
          await probe.crash();
          const again = await probe.take();
          const suspects = again.filter((claim) => claim.suspect).map(textOf);
          assert.deepEqual(suspects, ['delayed', 'a 2', 'a 6', 'a 7']);
          assert.equal(again.length, 19);
        },
        CRASH,
      ),

      it(
        'lets a claim pass over its suspects, but over nothing behind them',
        async (probe) => {
          await probe.enqueue(...texts('a', 600).map((text) => ({ text })));
          await probe.enqueue({ text: 'low', level: 1 });
          probe.broker.hold(await probe.take(300));
          await probe.crash();
          const met: boolean[] = [];
          const claims = await probe.broker.claim((head) => {
            met.push(head.suspect);
            return head.suspect ? 'pass' : 'take';
          }, 1_000);
          assert.deepEqual(met, [true, ...new Array(301).fill(false)]);
          assert.deepEqual(claims.map(textOf), [...texts('a', 600).slice(300), 'low']);
          assert.deepEqual((await probe.take(1_000)).map(textOf), texts('a', 600).slice(0, 300));
        },
        CRASH,
      ),

      it(
        'keeps its suspects when the next owner dies as well',
        async (probe) => {
          await probe.enqueue(...texts('a', 8).map((text) => ({ text })));
          probe.broker.hold(await probe.take(3));
          await probe.crash();
          const [first] = await probe.take(1);
          assert.equal(first!.suspect, true);
          await probe.complete([first!]);
          await probe.crash();
          const again = await probe.take();
          assert.deepEqual(again.map((claim) => [textOf(claim), claim.suspect]).slice(0, 3), [
            ['a 1', true],
            ['a 2', true],
            ['a 3', false],
          ]);
          await probe.retry(again.slice(0, 2), 5);
          await probe.crash();
          await probe.pass(5);
          assert.deepEqual(
            (await probe.take()).map((claim) => claim.suspect),
            new Array(7).fill(false),
          );
        },
        CRASH,
      ),

      it(
        'does not know ids that were never accepted, and never gives them again',
        async (probe) => {
          await probe.enqueue({ text: 'a' });
          const { tickets } = probe.broker.enqueue([probe.draft({ text: 'b' })]);
          const lost = tickets[0]!.id;
          await probe.crash();
          if ((await probe.drain()).includes('b')) return;
          await refuses('UNKNOWN_TASK', () => probe.broker.settled(lost));
          const ids = await probe.enqueue(...texts('c', 600).map((text, at) => ({ text, level: at % 10 })));
          assert.ok(!ids.includes(lost));
          await refuses('UNKNOWN_TASK', () => probe.broker.settled(lost));
        },
        CRASH,
      ),
    ],
  },
];
