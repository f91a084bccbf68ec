/** Claims end: each in exactly one way, with all its effects. */
import assert from 'node:assert/strict';
import { resultOf, textOf } from './probe.js';
import { it, type Theme } from './suite.js';

export const settleThemes: readonly Theme[] = [
  {
    subject: 'settle',
    sentences: [
      it(
        'completes, buries, cancels and schedules in one call',
        async (probe) => {
          const ids = await probe.enqueue({ text: 'a' }, { text: 'b' }, { text: 'c' }, { text: 'd' });
          const [a, b, c, d] = await probe.take();
          await probe.broker.settle([
            probe.completed(a!),
            probe.dead(b!),
            probe.cancelled(c!),
            probe.scheduled(d!, 1_000),
          ]);
          const states = await Promise.all(ids.map((id) => probe.state(id)));
          assert.deepEqual(states, ['completed', 'dead', 'cancelled', 'scheduled']);
          assert.deepEqual(probe.counts(), {
            completed: 1,
            dead: 1,
            cancelled: 1,
            scheduled: 1,
            retrying: 1,
          });
          assert.equal((await probe.take()).length, 0);
        },
        { has: ['inspect'] },
      ),

      it('refuses and counts the second settlement of a claim', async (probe) => {
        const [id] = await probe.enqueue({ text: 'a' });
        const claim = await probe.takeOne();
        await probe.complete([claim], { result: 'first' });
        const before = probe.broker.lostSettlements;
        await probe.complete([claim], { result: 'second' });
        await probe.bury([claim]);
        await probe.retry([claim], 0);
        await probe.release([claim]);
        assert.equal(probe.broker.lostSettlements - before, 4);
        assert.equal(resultOf(await probe.broker.settled(id!)), 'first');
        assert.deepEqual(await probe.drain(), []);
      }),

      it('refuses the settlement of a claim that was given back and taken again', async (probe) => {
        await probe.enqueue({ text: 'a' });
        const old = await probe.takeOne();
        await probe.release([old]);
        const current = await probe.takeOne();
        await probe.complete([old], { result: 'old' });
        await probe.complete([current], { result: 'current' });
        assert.equal(probe.broker.lostSettlements, 1);
        assert.equal(resultOf(await probe.broker.settled(current.id)), 'current');
      }),

      it('refuses the same claim twice in one call', async (probe) => {
        await probe.enqueue({ text: 'a' });
        const claim = await probe.takeOne();
        await probe.broker.settle([probe.completed(claim), probe.dead(claim)]);
        assert.equal(probe.broker.lostSettlements, 1);
        assert.equal((await probe.broker.settled(claim.id)).state, 'completed');
      }),

      it('takes settlements in any order, some tasks late', async (probe) => {
        const ids = await probe.enqueue(...Array.from({ length: 40 }, (_, at) => ({ text: `${at}` })));
        const claims = await probe.take();
        const order = [...claims].sort(
          (a, b) => ((Number(textOf(a)) * 17) % 41) - ((Number(textOf(b)) * 17) % 41),
        );
        for (let from = 0; from < order.length; from += 7) {
          await probe.complete(order.slice(from, from + 7));
          probe.clock.advance(3);
        }
        for (const [at, id] of ids.entries()) {
          assert.equal(resultOf(await probe.broker.settled(id)), `result of ${at}`);
        }
      }),

      it('schedules the next attempt with its counts and its past', async (probe) => {
        const [id] = await probe.enqueue({ text: 'a' });
        await probe.retry(await probe.take(), 100);
        await probe.pass(100);
        const second = await probe.takeOne();
        assert.equal(second.id, id);
        assert.deepEqual([second.attempt, second.tally.failures, textOf(second)], [2, 1, 'a']);
        await probe.retry([second], 100);
        await probe.pass(100);
        const third = await probe.takeOne();
        assert.deepEqual([third.attempt, third.tally.failures], [3, 2]);
        await probe.complete([third]);
        assert.equal((await probe.broker.settled(id!)).state, 'completed');
      }),

      it(
        'keeps every attempt, its error, its progress and its log lines',
        async (probe) => {
          const [id] = await probe.enqueue({ text: 'a' });
          await probe.retry(await probe.take(), 0, { progress: { done: 1 } });
          await probe.pass(0);
          const logs = [{ at: probe.now, message: 'a line' }];
          await probe.bury(await probe.take(), { logs });
          const view = await probe.view(id!);
          assert.deepEqual(
            view.attempts.map(({ attempt, outcome }) => [attempt, outcome]),
            [
              [1, 'failed'],
              [2, 'failed'],
            ],
          );
          assert.equal(view.attempts[1]!.error?.message, 'no a');
          assert.deepEqual([view.progress, view.logs], [{ done: 1 }, logs]);
          assert.deepEqual([view.failures, view.reason, view.settledAt], [2, 'failed', probe.now]);
        },
        { has: ['inspect'] },
      ),

      it('accepts the next tasks together with the settlement', async (probe) => {
        await probe.enqueue({ text: 'a' });
        let wakes = 0;
        probe.broker.onReady(() => wakes++);
        const next = [probe.draft({ text: 'b' }), probe.draft({ text: 'c', runAt: probe.now + 50 })];
        await probe.complete(await probe.take(), { next });
        assert.ok(wakes > 0, 'the dispatcher hears of them');
        assert.deepEqual(await probe.drain(), ['b']);
        await probe.pass(50);
        assert.deepEqual(await probe.drain(), ['c']);
      }),

      it('drops nothing of the next tasks of a refused settlement into the queue', async (probe) => {
        await probe.enqueue({ text: 'a' });
        const claim = await probe.takeOne();
        await probe.complete([claim]);
        await probe.complete([claim], { next: [probe.draft({ text: 'b' })] });
        assert.deepEqual(await probe.drain(), []);
      }),

      it(
        'shows what a running handler noted, and keeps it',
        async (probe) => {
          const [id] = await probe.enqueue({ text: 'a' });
          const claim = await probe.takeOne();
          probe.broker.note(claim, { progress: 40 });
          probe.broker.note(claim, { logs: [{ at: 1, message: 'x' }] });
          const running = await probe.view(id!);
          assert.deepEqual([running.state, running.progress, running.logs.length], ['running', 40, 1]);
          await probe.complete([claim]);
          probe.broker.note(claim, { progress: 99 });
          const done = await probe.view(id!);
          assert.deepEqual([done.state, done.progress, done.logs.length], ['completed', 40, 1]);
          assert.equal(resultOf(done), 'result of a');
        },
        { has: ['inspect'] },
      ),
    ],
  },
];
