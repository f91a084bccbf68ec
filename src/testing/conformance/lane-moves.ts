/** To which lane a task comes back, and how it gets into another. */
import assert from 'node:assert/strict';
import type { Head, Verdict } from '../../broker/broker.js';
import { limitLane } from '../../task/lane.js';
import { textOf, texts } from './probe.js';
import { it, type Theme } from './suite.js';

const a = limitLane('task', 'a');
const b = limitLane('task', 'b');
const byLane = ({ lane, limitLane }: Head): [string, string] => [lane, limitLane];
/** As a dispatcher that knows the name `task` only. */
const known = ({ name, lane, limitLane }: Head): Verdict => {
  if (name !== 'task') return lane === name ? 'skip' : 'park';
  return limitLane === '' || limitLane === lane ? 'take' : { aside: limitLane };
};

export const laneMoveThemes: readonly Theme[] = [
  {
    subject: 'a task with a lane',
    sentences: [
      it('comes back to it after a delay, a retry and a redrive', async (probe) => {
        const [delayed] = await probe.enqueue({ lane: a, runAt: probe.now + 10, text: 'delayed' });
        await probe.enqueue({ lane: a, text: 'retried' }, { lane: a, text: 'dead' }, { lane: b, text: 'b' });
        const claims = await probe.take();
        assert.deepEqual(claims.map(byLane), [
          [a, a],
          [b, b],
          [a, a],
        ]);
        const [retried, , dead] = claims;
        await probe.retry([retried!], 5);
        await probe.bury([dead!]);
        await probe.broker.redrive(dead!.id);
        await probe.pass(10);
        const again = await probe.take();
        assert.deepEqual(again.map(byLane), [
          [a, a],
          [a, a],
          [a, a],
        ]);
        assert.deepEqual(again.map(textOf), ['dead', 'retried', 'delayed']);
        assert.equal(again[2]!.id, delayed);
        await probe.retry(again, 5);
        await probe.pass(10);
        assert.deepEqual((await probe.take()).map(byLane), [
          [a, a],
          [a, a],
          [a, a],
        ]);
      }),

      it(
        'comes back to it over a restart, too',
        async (probe) => {
          await probe.enqueue({ lane: a, runAt: probe.now + 10 }, { lane: a }, { lane: a });
          await probe.retry(await probe.take(1), 10);
          await probe.reopen();
          await probe.pass(10);
          const claims = await probe.take();
          assert.deepEqual(claims.map(byLane), [
            [a, a],
            [a, a],
            [a, a],
          ]);
        },
        { has: ['durable'] },
      ),

      it(
        'waits aside while nobody handles it, and goes to its lane then',
        async (probe) => {
          await probe.enqueue(
            { name: 'nobody', unhandled: true, lane: limitLane('nobody', 'k'), text: 'x' },
            { name: 'nobody', lane: limitLane('nobody', 'k'), text: 'y' },
          );
          assert.deepEqual(await probe.drain(known), []);
          const asked: string[] = [];
          const verdictOf = ({ lane, limitLane: own }: Head): Verdict => {
            asked.push(lane);
            return lane === own ? 'take' : { aside: own };
          };
          const claims = await probe.take(10, verdictOf);
          assert.deepEqual(asked.slice(0, 2), ['nobody', 'nobody']);
          assert.deepEqual(claims.map(textOf), ['x', 'y']);
          assert.deepEqual(claims.map(byLane), [
            [limitLane('nobody', 'k'), limitLane('nobody', 'k')],
            [limitLane('nobody', 'k'), limitLane('nobody', 'k')],
          ]);
        },
        { has: ['peek'] },
      ),

      it(
        'is not counted as unhandled, is listed, and can be cancelled and awaited',
        async (probe) => {
          const tickets = await probe.tickets(
            { lane: a, text: 'x' },
            { lane: a, runAt: probe.now + 10, text: 'later' },
            { lane: b, text: 'y' },
          );
          assert.deepEqual(probe.counts(), { ready: 2, scheduled: 1 });
          const ids = tickets.map(({ id }) => id);
          const listed = await probe.inspect.list({ state: 'ready', queue: 'default' }, 10);
          assert.deepEqual(listed.tasks.map(({ id }) => id).sort(), [ids[0], ids[2]].sort());
          assert.deepEqual(
            listed.tasks.map(({ unhandled }) => unhandled),
            [false, false],
          );
          await probe.pass(10);
          assert.deepEqual(probe.counts(), { ready: 3 });
          await probe.cancel(ids[0]!);
          await probe.cancel(ids[1]!);
          assert.deepEqual(probe.counts(), { ready: 1, cancelled: 2 });
          const [first, , third] = tickets.map((ticket) => ticket.settled());
          assert.deepEqual(await probe.drain(), ['y']);
          assert.equal((await first!).state, 'cancelled');
          assert.equal((await third!).state, 'completed');
          assert.deepEqual(probe.counts(), { completed: 1, cancelled: 2 });
        },
        { has: ['inspect'] },
      ),

      it('may come in with a staged batch', async (probe) => {
        const stage = probe.broker.stage();
        const drafts = texts('staged', 600).map((text, at) => ({ text, lane: at % 2 === 0 ? a : b }));
        await stage.add(drafts.map((draft) => probe.draft(draft)));
        await stage.add([probe.draft({ lane: a, runAt: probe.now + 10, text: 'later' })]);
        const tickets = await stage.accept();
        await probe.broker.promote(0, 1);
        await probe.pass(10);
        const claims = await probe.take(601);
        assert.equal(claims.length, 601);
        assert.deepEqual(claims.filter(({ limitLane }) => limitLane === a).map(textOf), [
          ...texts('staged', 600).filter((_, at) => at % 2 === 0),
          'later',
        ]);
        await probe.complete(claims);
        assert.equal((await tickets.ticket(0).settled()).state, 'completed');
      }),
    ],
  },
  {
    subject: 'a task that is moved aside',
    sentences: [
      it(
        'joins the lane at its end, keeps its id, and belongs there from then on',
        async (probe) => {
          const ids = await probe.enqueue(
            { text: 'x' },
            { text: 'y' },
            { text: 'z' },
            { lane: a, text: 'a' },
          );
          const move = (head: Head): Verdict => (head.lane === '' ? { aside: a } : 'take');
          const claims = await probe.take(10, move);
          assert.deepEqual(claims.map(textOf), ['a', 'x', 'y', 'z']);
          assert.deepEqual(
            claims.map(({ id }) => id),
            [ids[3], ids[0], ids[1], ids[2]],
          );
          assert.deepEqual(byLane(claims[1]!), [a, a]);
          await probe.retry(claims, 1);
          await probe.pass(1);
          assert.deepEqual((await probe.take()).map(byLane), claims.map(byLane));
        },
        { has: ['peek'] },
      ),

      it(
        'is skipped, with its line, when it is there already',
        async (probe) => {
          await probe.enqueue({ lane: a, text: 'x' }, { lane: b, text: 'y' });
          const move = (head: Head): Verdict => (head.lane === a ? { aside: a } : 'take');
          assert.deepEqual(await probe.drain(move), ['y']);
          assert.deepEqual(await probe.drain(), ['x']);
        },
        { has: ['peek'] },
      ),

      it(
        'may be moved to the plain line, and stays there over a restart',
        async (probe) => {
          await probe.enqueue({ lane: a, text: 'x' }, { text: 'y' });
          const move = (head: Head): Verdict => (head.lane === a ? { aside: '' } : 'stop');
          await probe.take(10, move);
          await probe.broker.settle([]);
          if (probe.broker.lacks.durable === undefined) await probe.reopen();
          const claims = await probe.take();
          assert.deepEqual(claims.map(byLane), [
            ['', ''],
            ['', ''],
          ]);
          assert.deepEqual(claims.map(textOf), ['y', 'x']);
        },
        { has: ['peek'] },
      ),
    ],
  },
];
