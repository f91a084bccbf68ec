/** One task and the counts, as they are after every operation. */
import assert from 'node:assert/strict';
import type { Claim } from '../../broker/broker.js';
import { textOf, texts } from './probe.js';
import { it, type Theme } from './suite.js';

const HAS = { has: ['inspect'] } as const;

export const inspectThemes: readonly Theme[] = [
  {
    subject: 'get',
    sentences: [
      it(
        'shows what was enqueued',
        async (probe) => {
          const [id] = await probe.enqueue({ name: 'resize', queue: 'images', level: 8, text: 'pixels' });
          const { body, ...view } = await probe.view(id!);
          assert.equal(textOf({ body: body! }), 'pixels');
          assert.deepEqual(view, {
            ...{ id, name: 'resize', queue: 'images', priority: 8, state: 'ready', createdAt: probe.now },
            ...{ unhandled: false, attempts: [], failures: 0, crashes: 0, logs: [] },
          });
        },
        HAS,
      ),

      it(
        'shows what completed at its first attempt',
        async (probe) => {
          const ids = await probe.enqueue(
            { name: 'a', level: 2 },
            { name: 'b', level: 2 },
            { name: 'c', level: 2 },
          );
          const createdAt = probe.now;
          probe.clock.advance(5);
          const claims = await probe.take();
          await probe.complete(claims.slice(0, 2));
          const { result, body: _, ...view } = await probe.view(ids[1]!);
          assert.match(textOf({ body: result! }), /^result of body/);
          assert.deepEqual(view, {
            ...{
              id: ids[1],
              name: 'b',
              queue: 'default',
              priority: 2,
              state: 'completed',
              createdAt,
              settledAt: probe.now,
            },
            ...{ unhandled: false, failures: 0, crashes: 0, logs: [] },
            attempts: [{ attempt: 1, startedAt: probe.now, runMs: 1.5, outcome: 'completed' }],
          });
          assert.equal(await probe.state(ids[2]!), 'running');
        },
        HAS,
      ),

      it(
        'calls a claimed task ready until it has started',
        async (probe) => {
          const [id] = await probe.enqueue({});
          const claim = await probe.takeOne();
          const unstarted = new Set<Claim>([claim]);
          probe.broker.isUnstarted = (asked) => unstarted.has(asked);
          assert.deepEqual([await probe.state(id!), probe.counts()], ['ready', { ready: 1 }]);
          unstarted.clear();
          assert.deepEqual([await probe.state(id!), probe.counts()], ['running', { running: 1 }]);
        },
        HAS,
      ),

      it(
        'knows nothing of what never was or is gone',
        async (probe) => {
          assert.equal(await probe.inspect.get('nonsense'), undefined);
          const [id] = await probe.enqueue({});
          await probe.complete(await probe.take());
          await probe.broker.delete(id!);
          assert.equal(await probe.inspect.get(id!), undefined);
        },
        HAS,
      ),
    ],
  },

  {
    subject: 'counts',
    sentences: [
      it(
        'are exact after every operation, by queue',
        async (probe) => {
          const drafts = texts('a', 12).map((text, at) => ({
            text,
            level: at % 10,
            queue: at < 6 ? 'left' : 'right',
          }));
          const ids = await probe.enqueue(...drafts);
          const check = (left: object, right: object): void =>
            assert.deepEqual([probe.counts('left'), probe.counts('right')], [left, right]);
          check({ ready: 6 }, { ready: 6 });
          const claims = await probe.take(12, ({ queue }) => (queue === 'left' ? 'take' : 'skip'));
          check({ running: 6 }, { ready: 6 });
          await probe.complete(claims.slice(0, 2));
          check({ running: 4, completed: 2 }, { ready: 6 });
          await probe.retry(claims.slice(2, 4), 100);
          check({ running: 2, completed: 2, scheduled: 2, retrying: 2 }, { ready: 6 });
          await probe.bury(claims.slice(4, 5));
          await probe.release(claims.slice(5));
          check({ ready: 1, completed: 2, scheduled: 2, retrying: 2, dead: 1 }, { ready: 6 });
          await probe.cancel(ids[6]!);
          await probe.cancel(claims[2]!.id);
          check(
            { ready: 1, completed: 2, scheduled: 1, retrying: 1, dead: 1, cancelled: 1 },
            { ready: 5, cancelled: 1 },
          );
          await probe.broker.redrive(claims[4]!.id);
          await probe.broker.redrive(ids[6]!);
          await probe.pass(100);
          check({ ready: 3, completed: 2, cancelled: 1 }, { ready: 6 });
          await probe.enqueue({ queue: 'left', runAt: probe.now + 9 });
          check({ ready: 3, scheduled: 1, completed: 2, cancelled: 1 }, { ready: 6 });
          await probe.drain();
          check({ scheduled: 1, completed: 5, cancelled: 1 }, { completed: 6 });
          await probe.prune(1e10);
          check({ scheduled: 1 }, {});
        },
        HAS,
      ),

      it(
        'are exact after a restart, with what was running ready again',
        async (probe) => {
          await probe.enqueue(...texts('a', 20).map((text) => ({ text })));
          await probe.enqueue({ runAt: probe.now + 1_000 }, { name: 'nobody', unhandled: true });
          const claims = await probe.take(10);
          await probe.complete(claims.slice(0, 3));
          await probe.bury(claims.slice(3, 5));
          await probe.retry(claims.slice(5, 7), 10);
          await probe.reopen();
          const expected = { scheduled: 3, retrying: 2, ready: 14, unhandled: 1, completed: 3, dead: 2 };
          assert.deepEqual(probe.counts(), expected);
        },
        { has: ['inspect', 'durable'] },
      ),
    ],
  },
];
