/** Settled tasks are kept for their time and then go, without taking anything else with them. */
import assert from 'node:assert/strict';
import { refuses, resultOf, textOf, texts } from './probe.js';
import { it, type Theme } from './suite.js';

export const retentionThemes: readonly Theme[] = [
  {
    subject: 'prune',
    sentences: [
      it(
        'removes settled tasks when their time has come, by state',
        async (probe) => {
          const ids = await probe.enqueue({ text: 'a' }, { text: 'b' }, { text: 'c' }, { text: 'd' });
          const [a, b, c, d] = await probe.take();
          await probe.broker.settle([
            probe.completed(a!, { keepMs: 1_000 }),
            probe.dead(b!, { keepMs: 10_000 }),
            probe.cancelled(c!, { keepMs: 1_000 }),
            probe.completed(d!, { keepMs: Number.POSITIVE_INFINITY }),
          ]);
          const alive = async () =>
            (await Promise.all(ids.map((id) => probe.state(id)))).map((state) => state ?? 'gone');
          await probe.prune(999);
          assert.deepEqual(await alive(), ['completed', 'dead', 'cancelled', 'completed']);
          await probe.prune(2_001);
          assert.deepEqual(await alive(), ['gone', 'dead', 'gone', 'completed']);
          await probe.prune(10_000);
          assert.deepEqual(await alive(), ['gone', 'gone', 'gone', 'completed']);
          await probe.prune(1e12);
          assert.deepEqual(await alive(), ['gone', 'gone', 'gone', 'completed']);
          assert.deepEqual(probe.counts(), { completed: 1 });
        },
        { has: ['inspect'] },
      ),

      it('says how much it looked at, and ends', async (probe) => {
        assert.equal(await probe.broker.prune(probe.now, 100), 0);
        for (const text of texts('a', 20)) {
          await probe.enqueue({ text });
          await probe.complete(await probe.take(), { keepMs: 0 });
        }
        let rounds = 0;
        probe.clock.advance(5_000);
        while ((await probe.broker.prune(probe.now, 3)) > 0) rounds++;
        assert.ok(rounds > 1 && rounds <= 20, `${rounds} rounds`);
      }),

      it('leaves alone what waits, runs or is scheduled', async (probe) => {
        await probe.enqueue({ text: 'waits' }, { text: 'runs', level: 9 });
        await probe.enqueue({ text: 'later', runAt: probe.now + 1e9 });
        const running = await probe.take(1);
        await probe.prune(1e9 - 1);
        await probe.complete(running);
        assert.equal(resultOf(await probe.broker.settled(running[0]!.id)), 'result of runs');
        assert.deepEqual(await probe.drain(), ['waits']);
        await probe.pass(1);
        assert.deepEqual(await probe.drain(), ['later']);
      }),

      it('never brings a settled task back, however its neighbours are', async (probe) => {
        const ids = await probe.enqueue(...texts('a', 10).map((text) => ({ text })));
        const claims = await probe.take();
        await probe.complete(claims.slice(1, 4), { keepMs: 0 });
        await probe.bury(claims.slice(4, 6), { keepMs: 0 });
        await probe.cancel(ids[9]!, 0).catch(() => {});
        await probe.release([claims[0]!, ...claims.slice(6)]);
        for (let round = 0; round < 5; round++) await probe.prune(120_000);
        if (probe.broker.lacks.durable === undefined) await probe.reopen();
        for (let round = 0; round < 3; round++) await probe.prune(120_000);
        assert.deepEqual(await probe.drain(), ['a 0', 'a 6', 'a 7', 'a 8', 'a 9']);
        for (let round = 0; round < 3; round++) await probe.prune(120_000);
        for (const id of ids.slice(1, 6)) await refuses('RESULT_EXPIRED', () => probe.broker.settled(id));
      }),

      it('of what was redriven and died again goes by its last end', async (probe) => {
        const [id] = await probe.enqueue({ text: 'a' });
        await probe.bury(await probe.take(), { keepMs: 1_000 });
        await probe.broker.redrive(id!);
        probe.clock.advance(500);
        await probe.bury(await probe.take(), { keepMs: 60_000 });
        await probe.prune(5_000);
        assert.equal((await probe.broker.settled(id!)).state, 'dead');
        await probe.prune(60_000);
        await refuses('RESULT_EXPIRED', () => probe.broker.settled(id!));
      }),

      it(
        'does nothing twice',
        async (probe) => {
          const ids = await probe.enqueue(...texts('a', 5).map((text) => ({ text })));
          await probe.complete(await probe.take(), { keepMs: 1_000 });
          await probe.broker.delete(ids[2]!);
          await probe.prune(3_000);
          await probe.prune(100_000);
          assert.deepEqual(probe.counts(), {});
        },
        { has: ['inspect'] },
      ),

      it(
        'empties the store in the end',
        async (probe) => {
          await probe.enqueue(...texts('a', 40).map((text, at) => ({ text, level: at % 10 })));
          await probe.enqueue(...texts('b', 9).map((text) => ({ text, runAt: probe.now + 10 })));
          await probe.pass(10);
          const claims = await probe.take();
          await probe.complete(claims.slice(0, 30), { keepMs: 0 });
          await probe.bury(claims.slice(30), { keepMs: 0 });
          for (let round = 0; round < 4; round++) await probe.prune(120_000);
          assert.deepEqual((await probe.inspect.list({}, 100)).tasks.map(textOf), []);
          assert.deepEqual(probe.counts(), {});
        },
        { has: ['inspect'] },
      ),
    ],
  },
];
