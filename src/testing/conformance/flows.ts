/** Tasks that wait for other tasks: what is released when, and what becomes of a flow. */
import assert from 'node:assert/strict';
import { flowsOf, nodesOf, run, sketch, takeAll } from './flow-probe.js';
import { refuses, resultOf } from './probe.js';
import { it, type Needs, type Theme } from './suite.js';

const FLOWS: Needs = { has: ['flows', 'inspect'] };

const DIAMOND = {
  top: {},
  left: { after: ['top'] },
  right: { after: ['top'] },
  bottom: { after: [['sides', 'left'] as const, ['sides', 'right'] as const, ['root', 'top'] as const] },
};

export const flowThemes: readonly Theme[] = [
  {
    subject: 'a flow',
    sentences: [
      it(
        'releases a task when all its parents have completed, and not before',
        async (probe) => {
          const flow = await sketch(probe, DIAMOND);
          assert.equal(await flow.progress(), 'running 0 of 4, 3 blocked');
          await run(probe, ['top']);
          const sides = await takeAll(probe);
          assert.deepEqual([...sides.keys()].sort(), ['left', 'right']);
          await probe.complete([sides.get('right')!]);
          assert.deepEqual(await probe.take(), []);
          assert.equal(await flow.progress(), 'running 2 of 4, 1 blocked');
          await probe.complete([sides.get('left')!]);
          await run(probe, ['bottom']);
          assert.equal(await flow.progress(), 'completed 4 of 4');
        },
        FLOWS,
      ),

      it(
        'shows the results of parents under their labels, in the order given, page by page',
        async (probe) => {
          const flow = await sketch(probe, DIAMOND);
          await run(probe, ['top']);
          const sides = await takeAll(probe);
          await probe.complete([sides.get('right')!]);
          await probe.complete([sides.get('left')!]);
          for (const limit of [1, 2, 1_000]) {
            const results = ['result of left', 'result of right'];
            assert.deepEqual(await flow.parents('bottom', 'sides', limit), results);
          }
          assert.deepEqual(await flow.parents('bottom', 'root'), ['result of top']);
          assert.deepEqual(await flow.parents('bottom', 'other'), []);
          assert.deepEqual(await flow.parents('top'), []);
        },
        FLOWS,
      ),

      it(
        'lets each task of a chain run behind the one before',
        async (probe) => {
          const flow = await sketch(probe, { a: {}, b: { after: ['a'] }, c: { after: ['b'] } });
          assert.deepEqual(await probe.drain(), ['a', 'b', 'c']);
          assert.equal(await flow.progress(), 'completed 3 of 3');
        },
        FLOWS,
      ),

      it(
        'has a group that several tasks wait for, whose results keep their order',
        async (probe) => {
          const flow = await sketch(probe, {
            ...{ a: {}, b: {}, c: {} },
            pages: { of: ['c', 'a', 'b', 'a'] },
            book: { after: ['pages', 'b'] },
            index: { after: ['pages'] },
          });
          const claims = await takeAll(probe);
          await probe.complete([claims.get('a')!, claims.get('b')!]);
          assert.equal(await flow.progress(), 'running 2 of 5, 2 blocked');
          await probe.complete([claims.get('c')!]);
          await run(probe, ['book', 'index']);
          const pages = ['result of c', 'result of a', 'result of b', 'result of a'];
          for (const limit of [1, 3, 100]) {
            assert.deepEqual(await flow.parents('book', 'p', limit), [...pages, 'result of b']);
          }
          assert.equal(await flow.progress(), 'completed 5 of 5');
        },
        FLOWS,
      ),

      it(
        'with an empty group goes on at once',
        async (probe) => {
          const flow = await sketch(probe, { none: { of: [] }, book: { after: ['none'] } });
          await run(probe, ['book']);
          assert.equal(await flow.progress(), 'completed 1 of 1');
        },
        FLOWS,
      ),

      it(
        'counts what waits as blocked, lists it, and shows its parents',
        async (probe) => {
          const flow = await sketch(probe, DIAMOND);
          assert.deepEqual(probe.counts(), { ready: 1, blocked: 3 });
          const { tasks } = await probe.inspect.list({ state: 'blocked' }, 2);
          assert.deepEqual(
            tasks.map(({ id, state, flow: of }) => [id, state, of]),
            ['left', 'right'].map((text) => [flow.idOf(text), 'blocked', flow.id]),
          );
          const { after } = await probe.view(flow.idOf('bottom'));
          assert.deepEqual(after, [
            { label: 'sides', parents: [flow.idOf('left'), flow.idOf('right')] },
            { label: 'root', parents: [flow.idOf('top')] },
          ]);
          assert.equal((await probe.view(flow.idOf('top'))).flow, flow.id);
        },
        FLOWS,
      ),

      it(
        'names its tasks by their keys, lists its members, and is listed itself, newest first',
        async (probe) => {
          const first = await sketch(probe, DIAMOND);
          const second = await sketch(probe, { a: {} });
          const { keys } = await first.view();
          assert.equal(keys?.get('bottom'), first.idOf('bottom'));
          const flows = flowsOf(probe);
          const page = await flows.list(1);
          assert.deepEqual([page.flows[0]?.id, page.flows.length], [second.id, 1]);
          const rest = await flows.list(10, page.after);
          assert.deepEqual([rest.flows[0]?.id, rest.after], [first.id, undefined]);
          const members = await flows.tasks(first.id, 3);
          const more = await flows.tasks(first.id, 3, members.after);
          assert.deepEqual(
            [...members.tasks, ...more.tasks].map(({ id }) => id),
            Object.keys(DIAMOND).map((text) => first.idOf(text)),
          );
        },
        FLOWS,
      ),

      it(
        'tells those who wait for its end, and for the ends of its tasks',
        async (probe) => {
          const flow = await sketch(probe, { a: {}, b: { after: ['a'] } });
          const ended = flowsOf(probe).settled(flow.id);
          const b = probe.broker.settled(flow.idOf('b'));
          await probe.drain();
          assert.equal(resultOf(await b), 'result of b');
          assert.deepEqual(await ended, await flowsOf(probe).settled(flow.id));
          assert.deepEqual([(await ended).state, (await ended).completed], ['completed', 2]);
        },
        FLOWS,
      ),

      it(
        'retries a member as any task, and what waits for it waits on',
        async (probe) => {
          const flow = await sketch(probe, { a: {}, b: { after: ['a'] } });
          await probe.retry(await probe.take(), 10);
          assert.equal(await flow.state('b'), 'blocked');
          await probe.pass(10);
          assert.deepEqual(await probe.drain(), ['a', 'b']);
          assert.equal(await flow.progress(), 'completed 2 of 2');
        },
        FLOWS,
      ),

      it(
        'starts a member that is to run later not before its time, nor before its parents',
        async (probe) => {
          const runAt = probe.now + 100;
          const flow = await sketch(probe, { a: {}, b: { after: ['a'], runAt }, c: { after: ['b'], runAt } });
          await run(probe, ['a']);
          assert.equal(await flow.state('b'), 'scheduled');
          assert.equal(await probe.broker.nextDueAt(), runAt);
          await probe.pass(100);
          assert.deepEqual(await probe.drain(), ['b', 'c']);
          assert.deepEqual(probe.counts(), { completed: 3 });
        },
        FLOWS,
      ),

      it(
        'starts a child only when the settlement that released it is flushed',
        async (probe) => {
          await sketch(probe, { a: {}, b: { after: ['a'] } });
          const settled = probe.broker.settle((await probe.take()).map((claim) => probe.completed(claim)));
          assert.deepEqual(await probe.take(), []);
          await settled;
          await run(probe, ['b']);
        },
        { has: ['flows', 'inspect', 'durable'] },
      ),
    ],
  },
  {
    subject: 'a flow on its way in',
    sentences: [
      it(
        'is refused with nothing stored when a node is wrong',
        async (probe) => {
          const retentionMs = { completed: 0, dead: 0, cancelled: 0 };
          const task = { kind: 'task', task: probe.draft() } as const;
          const join = { kind: 'join', of: [0] } as const;
          const after = (from: number | string, label = 'p') => ({ ...task, after: [{ label, from }] });
          const wrong = [
            [[after(0)], 'INVALID_ARGUMENT'],
            [[task, after(1)], 'INVALID_ARGUMENT'],
            [[task, after(0, '')], 'INVALID_ARGUMENT'],
            [[task, after(0, 'x'.repeat(129))], 'INVALID_ARGUMENT'],
            [[task, after('nonsense')], 'UNKNOWN_TASK'],
            [[task, after('0'.repeat(26))], 'UNKNOWN_TASK'],
            [[task, join], 'INVALID_ARGUMENT'],
            [[task, join, { kind: 'join', of: [1] }], 'INVALID_ARGUMENT'],
            [[task, { kind: 'join', of: [{ first: 0, count: 2 }] }], 'INVALID_ARGUMENT'],
            [[{ ...task, whenParentDies: 'never' }], 'INVALID_ARGUMENT'],
            [
              [
                { ...task, key: 'a' },
                { ...task, key: 'a' },
              ],
              'INVALID_ARGUMENT',
            ],
            [[{ ...task, after: Array(1_001).fill({ label: 'p', from: 0 }) }], 'INVALID_ARGUMENT'],
            [[{ ...task, task: { ...task.task, transfer: { value: 1, list: [] } } }], 'UNSUPPORTED'],
            [[], 'INVALID_ARGUMENT'],
          ] as const;
          for (const [nodes, code] of wrong) {
            const intake = flowsOf(probe).flow({ retentionMs });
            await refuses(code, async () => {
              await intake.add(nodes as Parameters<typeof intake.add>[0]);
              await intake.accept();
            });
            await intake.abandon();
          }
          await refuses('INVALID_ARGUMENT', () =>
            flowsOf(probe).flow({ retentionMs: { ...retentionMs, dead: -1 } }),
          );
          await refuses('INVALID_ARGUMENT', () => flowsOf(probe).flow({ name: '', retentionMs }));
          assert.deepEqual([probe.counts(), (await flowsOf(probe).list(10)).flows], [{}, []]);
        },
        FLOWS,
      ),

      it(
        'leaves nothing when it is abandoned, and takes nothing more',
        async (probe) => {
          const intake = flowsOf(probe).flow({ retentionMs: { completed: 0, dead: 0, cancelled: 0 } });
          await intake.add(nodesOf(probe, DIAMOND));
          await intake.abandon();
          await intake.abandon();
          await refuses('STOPPED', () => intake.accept());
          await refuses('STOPPED', () => intake.add([]));
          assert.deepEqual(probe.counts(), {});
        },
        FLOWS,
      ),

      it(
        'may be kept for ever',
        async (probe) => {
          const flow = await sketch(probe, { a: {} }, Number.POSITIVE_INFINITY);
          await run(probe, ['a']);
          assert.equal((await flow.view()).expiresAt, undefined);
          await probe.prune(1e12);
          assert.deepEqual([await flow.progress(), await flow.state('a')], ['completed 1 of 1', 'completed']);
        },
        FLOWS,
      ),

      it(
        'of unknown ids has nothing to show',
        async (probe) => {
          const flows = flowsOf(probe);
          const [task] = await probe.enqueue({});
          for (const id of ['nonsense', '0'.repeat(26), task!]) {
            assert.equal(await flows.get(id), undefined);
            await refuses('UNKNOWN_FLOW', () => flows.settled(id));
            await refuses('UNKNOWN_FLOW', () => flows.tasks(id, 1));
            await refuses('UNKNOWN_FLOW', () => flows.cancel(id, 'cancelled'));
            await refuses('UNKNOWN_FLOW', () => flows.redrive(id));
            await refuses('UNKNOWN_FLOW', () => flows.delete(id));
          }
        },
        FLOWS,
      ),
    ],
  },
];
