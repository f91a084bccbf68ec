/** Tasks whose name nobody handles: they wait aside, visible, and never stand before another. */
import assert from 'node:assert/strict';
import type { Head, Verdict } from '../../broker/broker.js';
import { textOf } from './probe.js';
import { it, type Theme } from './suite.js';

const park = ({ name }: Head): Verdict => (name === 'nobody' ? 'park' : 'take');
const skip = ({ name }: Head): Verdict => (name === 'nobody' ? 'skip' : 'take');

export const unhandledThemes: readonly Theme[] = [
  {
    subject: 'a task that nobody handles',
    sentences: [
      it(
        'is moved aside when it is met',
        async (probe) => {
          await probe.enqueue(
            { text: 'a' },
            { name: 'nobody', text: 'x' },
            { text: 'b' },
            { name: 'nobody', text: 'y' },
          );
          assert.deepEqual(await probe.drain(park), ['a', 'b']);
          await probe.enqueue({ text: 'c' });
          assert.deepEqual(await probe.drain(skip), ['c']);
          assert.deepEqual(await probe.drain(), ['x', 'y']);
        },
        { has: ['peek'] },
      ),

      it(
        'stands aside in a lane of its own, which can be skipped',
        async (probe) => {
          await probe.enqueue(
            { name: 'nobody', text: 'x', unhandled: true, level: 9 },
            { text: 'a', level: 0 },
          );
          const lanes: string[] = [];
          const claims = await probe.take(10, (head) => {
            lanes.push(head.lane);
            return skip(head);
          });
          assert.deepEqual(claims.map(textOf), ['a']);
          assert.deepEqual(lanes, ['nobody', '']);
        },
        { has: ['peek'] },
      ),

      it(
        'is skipped when it is parked again',
        async (probe) => {
          await probe.enqueue({ name: 'nobody', text: 'x', unhandled: true }, { name: 'nobody', text: 'y' });
          assert.deepEqual(await probe.drain(park), []);
          assert.deepEqual(await probe.drain(park), []);
          assert.deepEqual(await probe.drain(), ['x', 'y']);
        },
        { has: ['peek'] },
      ),

      it(
        'is counted as ready and unhandled until somebody takes it',
        async (probe) => {
          const ids = await probe.enqueue({ name: 'nobody', unhandled: true }, { name: 'nobody' }, {});
          assert.deepEqual(probe.counts(), { ready: 3, unhandled: 1 });
          await probe.drain(park);
          assert.deepEqual(probe.counts(), { ready: 2, unhandled: 2, completed: 1 });
          for (const id of ids.slice(0, 2)) {
            const view = await probe.view(id);
            assert.deepEqual([view.state, view.unhandled], ['ready', true]);
          }
          await probe.bury(await probe.take(1));
          assert.deepEqual(probe.counts(), { ready: 1, unhandled: 1, completed: 1, dead: 1 });
          await probe.cancel(ids[1]!);
          await probe.cancel(ids[0]!);
          assert.deepEqual(probe.counts(), { completed: 1, dead: 1, cancelled: 1 });
        },
        { has: ['inspect', 'peek'] },
      ),

      it(
        'keeps its id and its place among its like, also over a restart',
        async (probe) => {
          const ids = await probe.enqueue(
            { name: 'nobody', text: 'x' },
            { name: 'nobody', text: 'y', unhandled: true },
          );
          await probe.drain(park);
          if (probe.broker.lacks.durable === undefined) await probe.reopen();
          assert.deepEqual(await probe.drain(skip), []);
          const claims = await probe.take();
          assert.deepEqual(claims.map(textOf), ['y', 'x']);
          assert.deepEqual(
            claims.map((claim) => claim.id),
            [...ids].reverse(),
          );
          await probe.complete(claims);
          for (const id of ids) assert.equal((await probe.broker.settled(id)).state, 'completed');
        },
        { has: ['peek'] },
      ),

      it(
        'is awaited as any other',
        async (probe) => {
          const tickets = await probe.tickets(
            { name: 'nobody', text: 'x' },
            { name: 'nobody', text: 'y', unhandled: true },
          );
          const early = tickets.map((ticket) => ticket.settled());
          await probe.drain(park);
          const late = tickets.map((ticket) => ticket.settled());
          await probe.drain();
          const ends = await Promise.all([...early, ...late]);
          assert.deepEqual(
            ends.map(({ result }) => textOf({ body: result! })),
            ['result of x', 'result of y', 'result of x', 'result of y'],
          );
        },
        { has: ['peek'] },
      ),

      it(
        'can be retried and waits aside again',
        async (probe) => {
          await probe.enqueue({ name: 'nobody', text: 'x', unhandled: true });
          await probe.retry(await probe.take(), 10);
          await probe.pass(10);
          assert.deepEqual(await probe.drain(park), []);
          const claim = await probe.takeOne();
          assert.deepEqual([textOf(claim), claim.attempt, claim.lane], ['x', 2, 'nobody']);
        },
        { has: ['peek'] },
      ),
    ],
  },
];
