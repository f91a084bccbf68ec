/** What may be done to a task from outside, in every state in which it can be. */
import assert from 'node:assert/strict';
import type { TaskId } from '../../task/task.js';
import { type Probe, refuses, textOf } from './probe.js';
import { it, type Theme } from './suite.js';

/** Brings one task into a state, beside neighbours that stay where they are. */
const STATES: Readonly<Record<string, (probe: Probe) => Promise<TaskId>>> = {
  ready: async (probe) => (await neighbours(probe, 'it'))[1]!,
  delayed: async (probe) => (await probe.enqueue({ text: 'it', runAt: probe.now + 1_000 }))[0]!,
  retrying: async (probe) => {
    const [id] = await probe.enqueue({ text: 'it' });
    await probe.retry(await probe.take(), 1_000);
    return id!;
  },
  promoted: async (probe) => {
    const [id] = await probe.enqueue({ text: 'it', runAt: probe.now + 1 });
    await probe.pass(1);
    return id!;
  },
  parked: async (probe) => (await probe.enqueue({ text: 'it', name: 'nobody', unhandled: true }))[0]!,
  running: async (probe) => {
    const [id] = await probe.enqueue({ text: 'it', level: 9 });
    await probe.takeOne();
    return id!;
  },
  completed: async (probe) => ended(probe, (claims) => probe.complete(claims)),
  'completed late': async (probe) => {
    const [id] = await probe.enqueue({ text: 'it' });
    await probe.retry(await probe.take(), 0);
    await probe.pass(0);
    await probe.complete(await probe.take());
    return id!;
  },
  dead: async (probe) => ended(probe, (claims) => probe.bury(claims)),
  cancelled: async (probe) => {
    const [, id] = await neighbours(probe, 'it');
    await probe.cancel(id!);
    return id!;
  },
};

async function neighbours(probe: Probe, text: string): Promise<TaskId[]> {
  return probe.enqueue({ text: 'before' }, { text }, { text: 'after' });
}

async function ended(probe: Probe, end: (claims: Awaited<ReturnType<Probe['take']>>) => Promise<void>) {
  const [, id] = await neighbours(probe, 'it');
  const claims = await probe.take();
  await end(claims.filter((claim) => claim.id === id));
  await probe.release(claims.filter((claim) => claim.id !== id));
  return id!;
}

const CANCELLABLE = ['ready', 'delayed', 'retrying', 'promoted', 'parked'];
const FINAL = { completed: 'completed', 'completed late': 'completed', dead: 'dead', cancelled: 'cancelled' };

export const controlThemes: readonly Theme[] = [
  {
    subject: 'cancel',
    sentences: [
      ...CANCELLABLE.map((state) =>
        it(`ends a task that is ${state}`, async (probe) => {
          const id = await STATES[state]!(probe);
          assert.deepEqual(await probe.cancel(id), { kind: 'cancelled' });
          assert.deepEqual(await probe.cancel(id), { kind: 'final', state: 'cancelled' });
          await probe.pass(10_000);
          assert.ok(!(await probe.drain()).includes('it'));
          assert.deepEqual((await probe.broker.settled(id)).reason, 'cancelled');
        }),
      ),

      it('of a running task gives its claim to the caller', async (probe) => {
        const id = await STATES.running!(probe);
        const answer = (await probe.cancel(id)) as { kind: string; claim: { id: TaskId } };
        assert.deepEqual([answer.kind, answer.claim.id], ['running', id]);
      }),

      ...Object.entries(FINAL).map(([state, final]) =>
        it(`leaves a task alone that is ${state}`, async (probe) => {
          const id = await STATES[state]!(probe);
          assert.deepEqual(await probe.cancel(id), { kind: 'final', state: final });
          assert.equal((await probe.broker.settled(id)).state, final);
        }),
      ),

      it(
        'keeps the task listed for its time',
        async (probe) => {
          const id = await STATES.ready!(probe);
          await probe.cancel(id, 1_000);
          await probe.prune(999);
          assert.equal((await probe.view(id)).state, 'cancelled');
          // Its neighbours still wait beside it.
          await probe.drain();
          await probe.prune(100_000);
          assert.equal(await probe.state(id), undefined);
        },
        { has: ['inspect'] },
      ),
    ],
  },

  {
    subject: 'redrive',
    sentences: [
      ...['dead', 'cancelled'].map((state) =>
        it(`sends a ${state} task round again, its counts reset`, async (probe) => {
          const id = await STATES[state]!(probe);
          await probe.broker.redrive(id);
          const claims = await probe.take();
          assert.deepEqual(claims.map(textOf), ['before', 'after', 'it']);
          const it = claims[2]!;
          assert.deepEqual([it.id, it.attempt, it.tally.failures], [id, 1, 0]);
          await probe.complete(claims);
          assert.equal((await probe.broker.settled(id)).state, 'completed');
        }),
      ),

      it('twice in one turn happens once', async (probe) => {
        const id = await STATES.dead!(probe);
        const first = probe.broker.redrive(id);
        await refuses('WRONG_STATE', () => probe.broker.redrive(id));
        await first;
        assert.equal((await probe.take()).length, 3);
      }),

      it('and cancel in turn, without a wait between, end where they say', async (probe) => {
        const id = await STATES.cancelled!(probe);
        const acts: Promise<unknown>[] = [];
        for (let round = 0; round < 3; round++) acts.push(probe.broker.redrive(id), probe.cancel(id));
        acts.push(probe.broker.redrive(id));
        await Promise.all(acts);
        if (probe.broker.lacks.durable === undefined) await probe.reopen();
        assert.deepEqual(await probe.drain(), ['before', 'after', 'it']);
      }),

      ...[...CANCELLABLE, 'running', 'completed', 'completed late'].map((state) =>
        it(`refuses a task that is ${state}`, async (probe) => {
          const id = await STATES[state]!(probe);
          await refuses('WRONG_STATE', () => probe.broker.redrive(id));
        }),
      ),
    ],
  },

  {
    subject: 'delete',
    sentences: [
      ...Object.keys(FINAL).map((state) =>
        it(`removes a task that is ${state}, and nothing beside it`, async (probe) => {
          const id = await STATES[state]!(probe);
          await probe.broker.delete(id);
          for (const act of ['settled', 'delete', 'redrive'] as const) {
            await refuses('RESULT_EXPIRED', () => probe.broker[act](id));
          }
          await refuses('RESULT_EXPIRED', () => probe.cancel(id));
          if (probe.broker.lacks.durable === undefined) await probe.reopen();
          await refuses('RESULT_EXPIRED', () => probe.broker.settled(id));
          assert.ok(!(await probe.drain()).includes('it'));
        }),
      ),

      it('keeps the results beside it', async (probe) => {
        const ids = await neighbours(probe, 'it');
        await probe.complete(await probe.take());
        await probe.broker.delete(ids[1]!);
        assert.equal(
          Buffer.from((await probe.broker.settled(ids[0]!)).result!).toString(),
          'result of before',
        );
        assert.equal(
          Buffer.from((await probe.broker.settled(ids[2]!)).result!).toString(),
          'result of after',
        );
      }),

      it(
        'is counted',
        async (probe) => {
          const ids = await neighbours(probe, 'it');
          const claims = await probe.take();
          await probe.complete(claims.slice(0, 2));
          await probe.bury(claims.slice(2));
          for (const id of ids) await probe.broker.delete(id);
          assert.deepEqual(probe.counts(), {});
          assert.deepEqual((await probe.inspect.list({}, 10)).tasks, []);
        },
        { has: ['inspect'] },
      ),

      ...[...CANCELLABLE, 'running'].map((state) =>
        it(`refuses a task that is ${state}`, async (probe) => {
          const id = await STATES[state]!(probe);
          await refuses('WRONG_STATE', () => probe.broker.delete(id));
        }),
      ),

      it('and the others refuse a task that never was', async (probe) => {
        for (const act of ['delete', 'redrive', 'settled'] as const) {
          await refuses('UNKNOWN_TASK', () => probe.broker[act]('o0o0o0o0o0o0o0o0o0o0o0o0o0'));
        }
        await refuses('UNKNOWN_TASK', () => probe.cancel('nonsense'));
      }),
    ],
  },
];
