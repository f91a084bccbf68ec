/** What makes room under pressure: which waiting tasks are cancelled for more important ones. */
import assert from 'node:assert/strict';
import type { ShedRequest } from '../../broker/broker.js';
import type { TaskId } from '../../task/task.js';
import { type Probe, textOf } from './probe.js';
import { it, type Theme } from './suite.js';

const DAY_MS = 86_400_000;

function shed(probe: Probe, below: number, most: number, more: Partial<ShedRequest> = {}): TaskId[] {
  const request = { below, most, least: 1, now: probe.now, keepMs: () => DAY_MS, ...more };
  return probe.broker.shed(request).map(({ id }) => id);
}

export const shedThemes: readonly Theme[] = [
  {
    subject: 'shed',
    sentences: [
      it('cancels the newest of the lowest level first, reason shed', async (probe) => {
        const [a, b] = await probe.enqueueTexts(['a', 'b'], { level: 2 });
        const [c, d] = await probe.enqueue({ level: 2, text: 'c' }, { level: 1, text: 'd' });
        assert.deepEqual(shed(probe, 5, 2), [d, c]);
        for (const id of [c!, d!]) {
          const { state, reason } = await probe.broker.settled(id);
          assert.deepEqual([state, reason], ['cancelled', 'shed']);
        }
        assert.deepEqual(shed(probe, 5, 10), [b, a]);
        assert.deepEqual(await probe.drain(), []);
      }),

      it('leaves the given level and those above it alone', async (probe) => {
        await probe.enqueue({ level: 5, text: 'five' }, { level: 9, text: 'nine' });
        assert.deepEqual(shed(probe, 5, 10), []);
        assert.deepEqual(await probe.drain(), ['nine', 'five']);
      }),

      it('cancels none where fewer than asked for are found', async (probe) => {
        await probe.enqueueTexts(['a', 'b'], { level: 0 });
        assert.deepEqual(shed(probe, 5, 3, { least: 3 }), []);
        assert.deepEqual(await probe.drain(), ['a', 'b']);
      }),

      it('takes from one queue when asked to, else from all', async (probe) => {
        const [, b] = await probe.enqueue(
          { queue: 'a', level: 1, text: 'of a' },
          { queue: 'b', level: 3, text: 'of b' },
        );
        assert.deepEqual(shed(probe, 5, 1, { queue: 'b' }), [b]);
        assert.deepEqual(shed(probe, 5, 1, { queue: 'b' }), []);
        assert.equal(shed(probe, 5, 1).length, 1);
      }),

      it('says what it has cancelled, and keeps it listed for as long as it is told to', async (probe) => {
        const options = { maxAttempts: 7 };
        const [id] = await probe.enqueue({ name: 'low', queue: 'q', level: 0, options });
        const asked: unknown[] = [];
        const keepMs: ShedRequest['keepMs'] = (task) => {
          asked.push(task);
          return 1_000;
        };
        const request = { below: 1, most: 1, least: 1, now: probe.now, keepMs };
        assert.deepEqual(probe.broker.shed(request), [{ id, name: 'low', queue: 'q', options }]);
        assert.deepEqual(asked, [{ id, name: 'low', queue: 'q', options }]);
        await probe.broker.settle([]);
        await probe.prune(999);
        assert.equal((await probe.broker.settled(id!)).state, 'cancelled');
        await probe.prune(120_000);
        await assert.rejects(probe.broker.settled(id!), { code: 'ERR_MILLRACE_RESULT_EXPIRED' });
      }),

      it('passes over what is in hand, and over what is for later', async (probe) => {
        await probe.enqueue(
          { level: 0, text: 'running' },
          { level: 0, text: 'later', runAt: probe.now + 1_000 },
        );
        const claim = await probe.takeOne();
        assert.equal(textOf(claim), 'running');
        assert.deepEqual(shed(probe, 9, 10), []);
        await probe.release([claim]);
        assert.deepEqual(shed(probe, 9, 10), [claim.id]);
      }),

      it('takes tasks that wait for another attempt', async (probe) => {
        const [id] = await probe.enqueue({ level: 0, text: 'again' });
        await probe.retry(await probe.take(), 100);
        assert.deepEqual(shed(probe, 9, 10), []);
        await probe.pass(100);
        assert.deepEqual(shed(probe, 9, 10), [id]);
      }),

      it('takes tasks that nobody handles', async (probe) => {
        const [id] = await probe.enqueue({ name: 'unknown', level: 0, unhandled: true });
        assert.deepEqual(shed(probe, 9, 10), [id]);
      }),

      it('takes tasks of lanes, also of one that is held', async (probe) => {
        const ids = await probe.enqueue(
          { level: 0, lane: 'task\0a', text: 'a' },
          { level: 0, lane: 'task\0b', text: 'b' },
          { level: 0, text: 'plain' },
        );
        await probe.take(1, ({ lane }) => (lane === 'task\0a' ? 'hold' : 'skip'));
        assert.deepEqual(shed(probe, 1, 10).sort(), ids.toSorted());
      }),

      it('finds the newest in the store when they do not fit into memory', inStore, { windowTasks: 4 }),

      it('happens together with what is enqueued in the same turn', async (probe) => {
        const [id] = await probe.enqueue({ level: 0, text: 'low' });
        assert.deepEqual(shed(probe, 9, 1), [id]);
        await probe.enqueue({ level: 9, text: 'high' });
        if (probe.broker.lacks.durable === undefined) await probe.reopen();
        assert.equal((await probe.broker.settled(id!)).reason, 'shed');
        assert.deepEqual(await probe.drain(), ['high']);
      }),

      it('frees a unique key, tells who waits, and can be taken back by a redrive', async (probe) => {
        const unique = { key: 'k', onConflict: 'reject' } as const;
        const [ticket] = await probe.tickets({ level: 0, text: 'it', unique });
        const told = ticket!.settled();
        shed(probe, 9, 1);
        assert.equal((await told).reason, 'shed');
        await probe.broker.redrive(ticket!.id);
        assert.deepEqual(await probe.drain(), ['it']);
        await probe.enqueue({ unique, text: 'next' });
        assert.deepEqual(await probe.drain(), ['next']);
      }),
    ],
  },

  {
    subject: 'the number of waiting tasks',
    sentences: [
      it('is that of ready and scheduled ones and of those in hand, by queue and in all', async (probe) => {
        const { broker } = probe;
        assert.deepEqual([broker.waiting(), broker.waiting('a')], [0, 0]);
        await probe.enqueue({ queue: 'a' }, { queue: 'a', runAt: probe.now + 1_000 }, { queue: 'b' });
        assert.deepEqual([broker.waiting(), broker.waiting('a'), broker.waiting('b')], [3, 2, 1]);
        const claims = await probe.take();
        assert.equal(broker.waiting(), 3);
        await probe.complete(claims.slice(0, 1));
        await probe.retry(claims.slice(1), 50);
        assert.deepEqual([broker.waiting(), broker.waiting('a'), broker.waiting('b')], [2, 1, 1]);
        await probe.pass(2_000);
        await probe.bury(await probe.take());
        assert.deepEqual([broker.waiting(), broker.waiting('a'), broker.waiting('b')], [0, 0, 0]);
      }),

      it('counts what a handler has enqueued, and a batch that is being staged', async (probe) => {
        const { broker } = probe;
        await probe.enqueue({});
        await probe.complete(await probe.take(), { next: [probe.draft(), probe.draft()] });
        assert.equal(broker.waiting('default'), 2);
        const stage = broker.stage();
        await stage.add([probe.draft()]);
        assert.equal(broker.waiting('default'), 3);
        await stage.accept();
        assert.equal(broker.waiting(), 3);
      }),

      it('is found again when the store is opened', async (probe) => {
        await probe.enqueue({ queue: 'a' }, { queue: 'a' });
        await probe.reopen();
        assert.equal(probe.broker.waiting(), probe.broker.lacks.durable === undefined ? 2 : 0);
      }),
    ],
  },
];

async function inStore(probe: Probe): Promise<void> {
  const ids: TaskId[] = [];
  // A segment each for what is accepted apart.
  for (let batch = 0; batch < 6; batch++) {
    const drafts = Array.from({ length: 5 }, (_, nth) => ({ level: 1, text: `${batch}.${nth}` }));
    ids.push(...(await probe.enqueue(...drafts)));
  }
  const newest = ids.toReversed();
  assert.deepEqual(shed(probe, 5, 7), newest.slice(0, 7));
  assert.deepEqual(shed(probe, 5, 5), newest.slice(7, 12));
  await probe.broker.settle([]);
  assert.deepEqual(shed(probe, 5, 3), newest.slice(12, 15));
  await probe.broker.settle([]);
  const left = await probe.drain();
  assert.equal(left.length, 15);
  assert.deepEqual([left[0], left.at(-1)], ['0.0', '2.4']);
  assert.equal(probe.broker.waiting(), 0);
}
