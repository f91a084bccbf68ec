/**
 * A backlog larger than what is held in memory: order, waits and all verbs are the same. Windows are as small
 * as eight tasks here, so that nearly everything is read back.
 */
import assert from 'node:assert/strict';
import { resultOf, textOf, texts } from './probe.js';
import { it, type Theme } from './suite.js';

const SMALL = { windowTasks: 8 } as const;

export const windowThemes: readonly Theme[] = [
  {
    subject: 'a backlog beyond the window',
    sentences: [
      it(
        'comes back in exact order',
        async (probe) => {
          const all = texts('a', 400);
          for (let from = 0; from < all.length; from += 5) {
            await probe.enqueue(...all.slice(from, from + 5).map((text) => ({ text })));
          }
          assert.deepEqual(await probe.drain(), all);
        },
        SMALL,
      ),

      it(
        'keeps level before age',
        async (probe) => {
          const expected: { level: number; text: string; at: number }[] = [];
          for (let at = 0; at < 90; at++) {
            const level = (at * 7) % 10;
            expected.push({ level, text: `${at}`, at });
            await probe.enqueue({ level, text: `${at}` });
          }
          expected.sort((a, b) => b.level - a.level || a.at - b.at);
          assert.deepEqual(
            await probe.drain(),
            expected.map(({ text }) => text),
          );
        },
        SMALL,
      ),

      it(
        'keeps its order while tasks come, go and are given back',
        async (probe) => {
          const seen: string[] = [];
          let next = 0;
          for (let round = 0; round < 60; round++) {
            const fresh = Array.from({ length: (round * 5) % 9 }, () => ({ text: `${next++}` }));
            if (fresh.length > 0) await probe.enqueue(...fresh);
            const claims = await probe.take(7);
            const done = claims.slice(0, (round * 3) % 8);
            await probe.release(claims.slice(done.length).reverse());
            await probe.complete(done);
            seen.push(...done.map(textOf));
          }
          seen.push(...(await probe.drain()));
          assert.deepEqual(
            seen,
            Array.from({ length: next }, (_, at) => `${at}`),
          );
        },
        SMALL,
      ),

      it(
        'can be claimed before it is flushed, or as soon as it is',
        async (probe) => {
          const accepted = texts('a', 40).map(
            (text) => probe.broker.enqueue([probe.draft({ text })]).accepted,
          );
          const early = await probe.take(5);
          await Promise.all(accepted);
          assert.deepEqual([...early, ...(await probe.take())].map(textOf), texts('a', 40));
        },
        SMALL,
      ),

      it(
        'is awaited as any other, by whoever asked when',
        async (probe) => {
          const batches = [];
          for (let at = 0; at < 40; at++)
            batches.push(probe.broker.enqueue([probe.draft({ text: `${at}` })]));
          const tickets = batches.map((batch) => batch.tickets[0]!);
          const waits = tickets.map((ticket) => ticket.settled());
          await Promise.all(batches.map((batch) => batch.accepted));
          waits.push(...tickets.map((ticket) => ticket.settled()));
          waits.push(...tickets.map((ticket) => probe.broker.settled(ticket.id)));
          await probe.drain();
          waits.push(...tickets.map((ticket) => ticket.settled()));
          for (const [at, settled] of (await Promise.all(waits)).entries()) {
            assert.equal(resultOf(settled), `result of ${at % 40}`);
          }
        },
        SMALL,
      ),

      it(
        'can be cancelled wherever it is',
        async (probe) => {
          const ids = await probe.enqueueTexts(texts('a', 60));
          const wait = probe.broker.settled(ids[59]!);
          for (const [at, id] of ids.entries()) if (at % 3 === 2) await probe.cancel(id);
          assert.equal((await wait).state, 'cancelled');
          assert.deepEqual(
            await probe.drain(),
            texts('a', 60).filter((_, at) => at % 3 !== 2),
          );
        },
        SMALL,
      ),

      it(
        'can be cancelled as a whole',
        async (probe) => {
          const ids = await probe.enqueue(...texts('a', 300).map((text) => ({ text })));
          const more = await probe.enqueueTexts(texts('b', 30));
          await Promise.all([...ids, ...more].map((id) => probe.cancel(id)));
          assert.deepEqual(await probe.drain(), []);
          assert.deepEqual(probe.counts(), { cancelled: 330 });
          await probe.enqueue({ text: 'c' });
          assert.deepEqual(await probe.drain(), ['c']);
        },
        { ...SMALL, has: ['inspect'] },
      ),

      it(
        'of delayed and retried tasks is kept in order, too',
        async (probe) => {
          await probe.enqueue(...texts('a', 30).map((text, at) => ({ text, runAt: probe.now + at })));
          await probe.pass(40);
          await probe.enqueueTexts(texts('b', 30));
          await probe.retry(await probe.take(20), 10);
          await probe.pass(10);
          const expected = [...texts('a', 30).slice(20), ...texts('b', 30), ...texts('a', 20)];
          assert.deepEqual(await probe.drain(), expected);
        },
        SMALL,
      ),

      it(
        'of retried tasks can be awaited and cancelled',
        async (probe) => {
          const tickets = await probe.tickets(...texts('a', 30).map((text) => ({ text })));
          await probe.retry(await probe.take(), 10);
          await probe.pass(10);
          await probe.enqueueTexts(texts('b', 10));
          const waits = tickets.map((ticket) => ticket.settled());
          for (const [at, { id }] of tickets.entries()) if (at % 2 === 0) await probe.cancel(id);
          await probe.drain();
          const ends = await Promise.all(waits);
          assert.deepEqual(
            ends.map(({ state }) => state),
            tickets.map((_, at) => (at % 2 ? 'completed' : 'cancelled')),
          );
        },
        SMALL,
      ),

      it(
        "of tasks that nobody handles stands in nobody's way",
        async (probe) => {
          await probe.enqueue(...texts('x', 40).map((text) => ({ text, name: 'nobody' })));
          await probe.enqueueTexts(texts('a', 5));
          const park = ({ name }: { name: string }) =>
            (name === 'nobody' ? 'park' : 'take') as 'park' | 'take';
          assert.deepEqual(await probe.drain(park), texts('a', 5));
          await probe.enqueueTexts(texts('b', 5));
          assert.deepEqual(await probe.drain(park), texts('b', 5));
          assert.deepEqual(await probe.drain(), texts('x', 40));
        },
        { ...SMALL, has: ['peek'] },
      ),

      it(
        'is listed and counted as a whole',
        async (probe) => {
          const ids = await probe.enqueueTexts(texts('a', 50));
          await probe.complete(await probe.take(10));
          const claims = await probe.take(5);
          assert.deepEqual(probe.counts(), { ready: 35, running: 5, completed: 10 });
          const { tasks } = await probe.inspect.list({ state: 'ready' }, 100);
          assert.deepEqual(
            tasks.map(({ id }) => id),
            ids.slice(15),
          );
          for (const { id } of tasks) assert.equal(await probe.state(id), 'ready');
          await probe.release(claims);
          assert.deepEqual(await probe.drain(), texts('a', 50).slice(10));
        },
        { ...SMALL, has: ['inspect'] },
      ),
    ],
  },
];
