/** What changes whole flows: members that are added, cancel, redrive, delete, and another opening. */
import assert from 'node:assert/strict';
import type { Claim } from '../../broker/broker.js';
import { added, flowsOf, GROUP, KINDS, run, sketch, states, takeAll, until } from './flow-probe.js';
import { type Probe, refuses, texts } from './probe.js';
import { it, type Needs, type Theme } from './suite.js';

const FLOWS: Needs = { has: ['flows', 'inspect'] };
const WITH_UNIQUE: Needs = { has: ['flows', 'inspect', 'unique'] };
/** More members than are looked at in one commit. */
const MANY = 300;

export const flowEndThemes: readonly Theme[] = [
  {
    subject: 'a task that is added to a flow by a member',
    sentences: [
      it(
        'is waited for, and found behind the member that added it',
        async (probe) => {
          const flow = await sketch(probe, {
            ...{ a: {}, b: {} },
            group: { of: ['a', 'b'] },
            c: {
              after: [
                ['one', 'a'],
                ['all', 'group'],
              ],
            },
          });
          const claims = await takeAll(probe);
          await probe.complete([claims.get('b')!]);
          const next = [...added(probe, 'a1', 'a2'), probe.draft({ text: 'free' })];
          await probe.complete([claims.get('a')!], { next });
          assert.equal(await flow.progress(), 'running 2 of 5, 1 blocked');
          const more = await takeAll(probe);
          assert.deepEqual([...more.keys()].sort(), ['a1', 'a2', 'free']);
          await probe.complete([more.get('a2')!], { next: added(probe, 'a21') });
          await probe.complete([more.get('a1')!, more.get('free')!]);
          await run(probe, ['a21']);
          await run(probe, ['c']);
          const one = ['a', 'a1', 'a2', 'a21'].map((text) => `result of ${text}`);
          assert.deepEqual(await flow.parents('c', 'one'), one);
          assert.deepEqual(await flow.parents('c', 'all'), [...one, 'result of b']);
          assert.equal(await flow.progress(), 'completed 6 of 6');
        },
        FLOWS,
      ),

      it(
        'keeps the flow going when nothing waits for it',
        async (probe) => {
          const flow = await sketch(probe, { a: {} });
          await probe.complete(await probe.take(), { next: added(probe, 'b') });
          assert.equal(await flow.progress(), 'running 1 of 2');
          await run(probe, ['b'], { b: 'dies' });
          assert.equal(await flow.progress(), 'dead 1 of 2, 1 dead');
        },
        FLOWS,
      ),

      it(
        'by a task outside of flows is a task like others',
        async (probe) => {
          await probe.enqueue({ text: 'a' });
          await probe.complete(await probe.take(), { next: added(probe, 'b') });
          assert.deepEqual(await probe.drain(), ['b']);
        },
        FLOWS,
      ),
    ],
  },
  {
    subject: 'cancel of a flow',
    sentences: [
      it(
        'ends what waits, gives back what is running, and lets nothing more go',
        async (probe) => {
          const flow = await sketch(probe, { ...KINDS, other: {}, late: { runAt: probe.now + 10 } });
          const claims = await takeAll(probe);
          const { running } = (await flowsOf(probe).cancel(flow.id, 'enough'))!;
          assert.deepEqual(new Set(running), new Set(claims.values()));
          await until('what waits is cancelled', async () => (await flow.view()).blocked === 0);
          assert.equal((await flow.view()).isCancelling, true);
          assert.equal(await flow.reason('waits'), 'enough');
          await probe.complete([claims.get('top')!], { next: added(probe, 'more') });
          await refuses('WRONG_FLOW_STATE', () => flowsOf(probe).redrive(flow.id));
          await probe.release([claims.get('other')!]);
          assert.deepEqual(await probe.take(), []);
          assert.equal(await flow.progress(), 'cancelled 1 of 9, 8 cancelled');
          assert.equal(await flowsOf(probe).cancel(flow.id, 'again'), undefined);
          assert.deepEqual(probe.counts(), { completed: 1, cancelled: 8 });
        },
        FLOWS,
      ),

      it(
        'leaves a retry no chance',
        async (probe) => {
          const flow = await sketch(probe, { a: {}, b: { after: ['a'] } });
          const claims = await probe.take();
          await flowsOf(probe).cancel(flow.id, 'enough');
          const told: unknown[] = [];
          await probe.broker.settle([probe.scheduled(claims[0]!, 10)], (given, { kind, claim }) => {
            told.push(given.kind, kind, claim.id);
          });
          assert.deepEqual(told, ['scheduled', 'cancelled', flow.idOf('a')]);
          assert.equal(await flow.progress(), 'cancelled 0 of 2, 2 cancelled');
          assert.equal((await probe.view(flow.idOf('a'))).attempts.length, 1);
        },
        FLOWS,
      ),
    ],
  },
  {
    subject: 'cancel of a flow that is being sent round',
    sentences: [
      it(
        'ends it also when nothing has gone round yet',
        async (probe) => {
          const done = texts('done', MANY);
          const flow = await sketch(probe, { ...Object.fromEntries(done.map((text) => [text, {}])), a: {} });
          await run(probe, [...done, 'a'], { a: 'dies' });
          const redriven = flowsOf(probe).redrive(flow.id);
          await flowsOf(probe).cancel(flow.id, 'enough');
          await redriven;
          await until('it is over', async () => (await flow.view()).state !== 'running');
          assert.equal(await flow.progress(), `dead ${MANY} of ${MANY + 1}, 1 dead`);
          await flowsOf(probe).delete(flow.id);
        },
        FLOWS,
      ),
    ],
  },
  {
    subject: 'redrive of a flow',
    sentences: [
      it(
        'sends round what is dead or cancelled, in its order',
        async (probe) => {
          const flow = await sketch(probe, { ...KINDS, side: {}, 'behind side': { after: ['side'] } });
          await run(probe, ['top', 'side'], { top: 'dies' });
          await run(probe, ['runs', 'behind side']);
          await run(probe, ['behind it'], { 'behind it': 'dies' });
          await flowsOf(probe).redrive(flow.id);
          await until('it is over', async () => (await flow.view()).dead === 0);
          assert.equal(await flow.progress(), 'running 3 of 8, 3 blocked');
          await run(probe, ['top', 'behind it']);
          await run(probe, ['fails', 'waits']);
          await run(probe, ['fails too']);
          assert.equal(await flow.progress(), 'completed 8 of 8');
          await refuses('WRONG_FLOW_STATE', () => flowsOf(probe).redrive(flow.id));
        },
        FLOWS,
      ),

      it(
        'also behind a group, and after a cancel',
        async (probe) => {
          const flow = await sketch(probe, GROUP);
          await flowsOf(probe).cancel(flow.id, 'enough');
          await until('it is over', async () => (await flow.view()).state === 'cancelled');
          await flowsOf(probe).redrive(flow.id);
          await until('it is over', async () => (await flow.view()).cancelled === 0);
          await run(probe, ['a', 'b'], { b: 'dies' });
          await run(probe, ['runs']);
          assert.deepEqual(await states(flow, 'fails', 'waits'), ['fails dead', 'waits blocked']);
          await flowsOf(probe).redrive(flow.id);
          await until('it is over', async () => (await flow.view()).dead === 0);
          assert.equal(await flow.progress(), 'running 2 of 5, 2 blocked');
          await run(probe, ['b']);
          await run(probe, ['fails', 'waits']);
          assert.equal(await flow.progress(), 'completed 5 of 5');
        },
        FLOWS,
      ),

      it(
        'leaves those as they are whose unique key another task has taken',
        async (probe) => {
          const unique = { key: 'k', onConflict: 'keep' } as const;
          const flow = await sketch(probe, { a: { unique }, b: { after: ['a'] }, c: {} });
          await run(probe, ['a', 'c'], { a: 'dies', c: 'dies' });
          await probe.enqueue({ text: 'other', unique });
          await flowsOf(probe).redrive(flow.id);
          await run(probe, ['c', 'other']);
          assert.equal(await flow.progress(), 'dead 1 of 3, 2 dead');
        },
        WITH_UNIQUE,
      ),
    ],
  },
  {
    subject: 'delete of a flow',
    sentences: [
      it(
        'takes it away with all its members, when it is final',
        async (probe) => {
          const flow = await sketch(probe, GROUP);
          await refuses('WRONG_FLOW_STATE', () => flowsOf(probe).delete(flow.id));
          await run(probe, ['a', 'b']);
          await run(probe, ['fails', 'runs', 'waits']);
          await flowsOf(probe).delete(flow.id);
          assert.equal(await flowsOf(probe).get(flow.id), undefined);
          await refuses('FLOW_EXPIRED', () => flowsOf(probe).delete(flow.id));
          await until('its members go', () => probe.counts().completed === undefined);
          assert.deepEqual(await states(flow, 'a', 'runs'), ['a undefined', 'runs undefined']);
        },
        FLOWS,
      ),
    ],
  },
  {
    subject: 'a flow in a store that is opened again',
    sentences: [
      it('goes on where it was', (probe) => goesOn(probe, () => probe.reopen()), {
        has: ['flows', 'inspect', 'durable'],
      }),

      it('goes on after a crash', (probe) => goesOn(probe, () => probe.crash()), {
        has: ['flows', 'inspect', 'durable'],
        crash: true,
      }),

      it(
        'goes on being cancelled',
        async (probe) => {
          const flow = await sketch(probe, KINDS);
          const claims = await probe.take();
          const hold = probe.broker.hold(claims);
          await flowsOf(probe).cancel(flow.id, 'enough');
          await probe.crash();
          hold.release();
          await until('it is over', async () => (await flow.view()).state === 'cancelled');
          assert.deepEqual(await probe.take(), []);
          assert.equal(await flow.progress(), 'cancelled 0 of 6, 6 cancelled');
        },
        { has: ['flows', 'inspect', 'durable'], crash: true },
      ),
    ],
  },
];

async function goesOn(probe: Probe, again: () => Promise<void>): Promise<void> {
  const [outside] = await probe.enqueue({ text: 'outside' });
  const flow = await sketch(probe, { ...GROUP, last: { after: ['runs', `=${outside}`] } });
  await again();
  const claims = await takeAll(probe);
  await probe.bury([claims.get('a')!]);
  await again();
  const rest = await takeAll(probe);
  assert.deepEqual([...rest.keys()].sort(), ['b', 'outside']);
  await probe.complete([...rest.values()] as readonly Claim[]);
  await again();
  await run(probe, ['runs']);
  await again();
  await run(probe, ['last']);
  assert.equal(await flow.progress(), 'running 3 of 6, 1 blocked, 2 dead');
  assert.deepEqual(await flow.parents('last'), ['result of runs', 'result of outside']);
  await flowsOf(probe).redrive(flow.id);
  await again();
  await until('it is over', async () => (await flow.view()).dead === 0);
  assert.deepEqual((await probe.drain()).sort(), ['a', 'fails', 'waits']);
  assert.equal(await flow.progress(), 'completed 6 of 6');
}
