/** Unique keys: one task per name and key, until it is final or for a time. */
import assert from 'node:assert/strict';
import type { UniqueKey } from '../../task/task.js';
import { refuses } from './probe.js';
import { it, type Theme } from './suite.js';

type OnConflict = UniqueKey['onConflict'];
const unique = (onConflict: OnConflict, key = 'k'): UniqueKey => ({ key, onConflict });
const HAS = { has: ['unique'] } as const;

export const uniqueThemes: readonly Theme[] = [
  {
    subject: 'a unique key',
    sentences: [
      it(
        'kept leads to the task that holds it',
        async (probe) => {
          const [first] = await probe.tickets({ text: 'a', unique: unique('keep') });
          const [second] = await probe.tickets({ text: 'b', unique: unique('keep') });
          assert.deepEqual([first!.isNew, second!.isNew, second!.id], [true, false, first!.id]);
          assert.deepEqual(await probe.drain(), ['a']);
          assert.equal((await second!.settled()).state, 'completed');
        },
        HAS,
      ),

      it(
        'rejected names the task that holds it',
        async (probe) => {
          const [id] = await probe.enqueue({ unique: unique('reject') });
          const again = () => probe.broker.enqueue([probe.draft({ unique: unique('reject') })]);
          await assert.rejects(async () => again(), {
            code: 'ERR_MILLRACE_DUPLICATE_TASK',
            taskId: id,
            key: 'k',
          });
          assert.equal((await probe.take()).length, 1);
          await refuses('DUPLICATE_TASK', again);
        },
        HAS,
      ),

      it(
        'is known to be taken while a task of its name holds it',
        async (probe) => {
          const { name } = probe.draft({});
          assert.equal(probe.broker.isTaken(name, 'k'), false);
          await probe.enqueue({ unique: unique('keep') });
          assert.equal(probe.broker.isTaken(name, 'k'), true);
          assert.equal(probe.broker.isTaken(name, 'other'), false);
          assert.equal(probe.broker.isTaken('nobody', 'k'), false);
          await probe.drain();
          assert.equal(probe.broker.isTaken(name, 'k'), false);
        },
        HAS,
      ),

      it(
        'replaced cancels a waiting task and takes its key',
        async (probe) => {
          const [old] = await probe.enqueue({ text: 'a', unique: unique('replace') });
          const [later] = await probe.enqueue({
            text: 'b',
            unique: unique('replace'),
            runAt: probe.now + 10,
          });
          const [last] = await probe.tickets({ text: 'c', unique: unique('replace') });
          const ends = await Promise.all([old!, later!].map((id) => probe.broker.settled(id)));
          assert.deepEqual(
            ends.map(({ state, reason }) => [state, reason]),
            [
              ['cancelled', 'replaced'],
              ['cancelled', 'replaced'],
            ],
          );
          await probe.pass(10);
          assert.equal(last!.isNew, true);
          assert.deepEqual(await probe.drain(), ['c']);
        },
        HAS,
      ),

      it(
        'replaced leaves a running task alone, which then does not free the key',
        async (probe) => {
          await probe.enqueue({ text: 'a', unique: unique('replace') });
          const running = await probe.take();
          await probe.enqueue({ text: 'b', unique: unique('replace') });
          await probe.complete(running);
          const [third] = await probe.tickets({ text: 'c', unique: unique('keep') });
          assert.equal(third!.isNew, false);
          assert.deepEqual(await probe.drain(), ['b']);
        },
        HAS,
      ),

      it(
        'is free again once its task is final, however it ended',
        async (probe) => {
          const enqueue = async () => {
            const [ticket] = await probe.tickets({ unique: unique('keep') });
            return ticket!.isNew;
          };
          assert.equal(await enqueue(), true);
          await probe.complete(await probe.take());
          assert.equal(await enqueue(), true);
          await probe.bury(await probe.take());
          const [id] = await probe.enqueue({ unique: unique('reject') });
          await probe.cancel(id!);
          assert.equal(await enqueue(), true);
          await probe.retry(await probe.take(), 10);
          assert.equal(await enqueue(), false);
          await probe.pass(10);
          assert.equal(await enqueue(), false);
          await probe.broker.settle((await probe.take()).map((claim) => probe.cancelled(claim)));
          assert.equal(await enqueue(), true);
        },
        HAS,
      ),

      it(
        'with a window stays taken for that time, also after its task is final',
        async (probe) => {
          const draft = { unique: { ...unique('keep'), forMs: 1_000 } };
          const [first] = await probe.tickets(draft);
          await probe.complete(await probe.take());
          probe.clock.advance(999);
          const [second] = await probe.tickets(draft);
          assert.deepEqual([second!.isNew, second!.id], [false, first!.id]);
          await refuses('DUPLICATE_TASK', () =>
            probe.broker.enqueue([probe.draft({ unique: unique('reject') })]),
          );
          probe.clock.advance(1);
          const [third] = await probe.tickets(draft);
          assert.equal(third!.isNew, true);
        },
        HAS,
      ),

      it(
        'with a window is free after it while its task still waits',
        async (probe) => {
          const draft = { unique: { ...unique('keep'), forMs: 1_000 } };
          await probe.enqueue(draft);
          probe.clock.advance(1_000);
          const [second] = await probe.tickets(draft);
          assert.equal(second!.isNew, true);
          await probe.prune(3_000);
          assert.equal((await probe.take()).length, 2);
        },
        HAS,
      ),

      it(
        'of different names never meets',
        async (probe) => {
          const [a] = await probe.tickets({ name: 'a', unique: unique('reject') });
          const [b] = await probe.tickets({ name: 'b', unique: unique('reject') });
          const [other] = await probe.tickets({ name: 'a', queue: 'other', unique: unique('keep') });
          assert.deepEqual([a!.isNew, b!.isNew, other!.isNew], [true, true, false]);
        },
        HAS,
      ),

      it(
        'works within one batch',
        async (probe) => {
          const tickets = await probe.tickets(
            { text: 'a', unique: unique('keep') },
            { text: 'b', unique: unique('keep') },
            { text: 'c', unique: unique('replace') },
            { text: 'd', unique: unique('keep', 'other') },
          );
          assert.deepEqual(
            tickets.map(({ isNew }) => isNew),
            [true, false, true, true],
          );
          assert.equal(tickets[0]!.id, tickets[1]!.id);
          assert.deepEqual(await probe.drain(), ['c', 'd']);
          const twice = [
            probe.draft({ unique: unique('reject') }),
            probe.draft({ unique: unique('reject') }),
          ];
          await refuses('DUPLICATE_TASK', () => probe.broker.enqueue(twice));
          assert.deepEqual(await probe.drain(), []);
        },
        HAS,
      ),

      it(
        'takes keys of any text',
        async (probe) => {
          const keys = ['\0', 'é', '漢字'.repeat(256), '𝒳', ' ', 'a:b', 'a'];
          for (const key of keys) {
            assert.equal((await probe.tickets({ unique: unique('keep', key) }))[0]!.isNew, true);
            assert.equal((await probe.tickets({ unique: unique('keep', key) }))[0]!.isNew, false);
          }
        },
        HAS,
      ),

      it(
        'is taken again by a redrive, which is refused while another task holds it',
        async (probe) => {
          const [id] = await probe.enqueue({ text: 'a', unique: unique('keep') });
          await probe.bury(await probe.take());
          const [other] = await probe.enqueue({ text: 'b', unique: unique('keep') });
          await refuses('DUPLICATE_TASK', () => probe.broker.redrive(id!));
          assert.equal((await probe.broker.settled(id!)).state, 'dead');
          await probe.cancel(other!);
          await probe.broker.redrive(id!);
          await refuses('DUPLICATE_TASK', () =>
            probe.broker.enqueue([probe.draft({ unique: unique('reject') })]),
          );
          assert.deepEqual(await probe.drain(), ['a']);
        },
        HAS,
      ),

      it(
        'is kept by its task over a restart',
        async (probe) => {
          const [id] = await probe.enqueue(
            { unique: unique('keep') },
            { unique: { ...unique('keep', 'w'), forMs: 500 } },
          );
          await probe.complete((await probe.take()).slice(1));
          await probe.reopen();
          const [again, windowed] = await probe.tickets(
            { unique: unique('keep') },
            { unique: unique('keep', 'w') },
          );
          assert.deepEqual([again!.isNew, again!.id, windowed!.isNew], [false, id, false]);
          await probe.complete(await probe.take());
          probe.clock.advance(500);
          const tickets = await probe.tickets({ unique: unique('keep') }, { unique: unique('keep', 'w') });
          assert.deepEqual(
            tickets.map(({ isNew }) => isNew),
            [true, true],
          );
        },
        { has: ['unique', 'durable'] },
      ),
    ],
  },
];
