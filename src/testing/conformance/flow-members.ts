/** Members of flows: parents that die, that go round again, that are no members. */
import assert from 'node:assert/strict';
import { limitLane } from '../../task/lane.js';
import { flowsOf, GROUP, KINDS, run, sketch, states, takeAll } from './flow-probe.js';
import { refuses } from './probe.js';
import { it, type Needs, type Theme } from './suite.js';

const FLOWS: Needs = { has: ['flows', 'inspect'] };
const WITH_UNIQUE: Needs = { has: ['flows', 'inspect', 'unique'] };
const KEEP_MS = 1_000;

export const flowMemberThemes: readonly Theme[] = [
  {
    subject: 'a parent that dies',
    sentences: [
      it(
        'takes those with it that fail, is run past by others, and is waited for by others',
        async (probe) => {
          const flow = await sketch(probe, KINDS);
          await run(probe, ['top'], { top: 'dies' });
          const dead = ['fails', 'fails too'];
          for (const text of dead)
            assert.deepEqual([await flow.state(text), await flow.reason(text)], ['dead', 'parent-dead']);
          assert.equal(await flow.state('waits'), 'blocked');
          assert.deepEqual(await flow.parents('runs'), ['dead failed']);
          await run(probe, ['runs']);
          await run(probe, ['behind it']);
          assert.equal(await flow.progress(), 'running 2 of 6, 1 blocked, 3 dead');
        },
        FLOWS,
      ),

      it(
        'in a group fails its children at once, and lets others go when all of the group has ended',
        async (probe) => {
          const flow = await sketch(probe, GROUP);
          const claims = await takeAll(probe);
          await probe.bury([claims.get('a')!]);
          assert.deepEqual(await states(flow, 'fails', 'runs', 'waits'), [
            'fails dead',
            'runs blocked',
            'waits blocked',
          ]);
          await probe.complete([claims.get('b')!]);
          assert.deepEqual(await flow.parents('runs'), ['dead failed', 'result of b']);
          await run(probe, ['runs']);
          await probe.broker.redrive(flow.idOf('a'));
          await run(probe, ['a']);
          await run(probe, ['waits']);
          assert.deepEqual(await flow.parents('waits'), ['result of a', 'result of b']);
          assert.equal(await flow.progress(), 'dead 4 of 5, 1 dead');
        },
        FLOWS,
      ),

      it(
        'that was run past to the end leaves its flow completed',
        async (probe) => {
          const flow = await sketch(probe, { a: {}, b: { after: ['a'], dies: 'run' } });
          await run(probe, ['a'], { a: 'dies' });
          await run(probe, ['b']);
          assert.equal(await flow.progress(), 'completed 1 of 2, 1 dead');
        },
        FLOWS,
      ),

      it(
        'may have been cancelled just as well',
        async (probe) => {
          const flow = await sketch(probe, KINDS);
          await probe.cancel(flow.idOf('top'), 0);
          assert.deepEqual(await states(flow, 'top', 'fails', 'fails too'), [
            'top cancelled',
            'fails dead',
            'fails too dead',
          ]);
          await probe.prune(10_000);
          assert.equal(await flow.state('top'), 'cancelled');
          await run(probe, ['runs']);
          await run(probe, ['behind it']);
          await probe.cancel(flow.idOf('waits'));
          assert.equal(await flow.progress(), 'dead 2 of 6, 2 dead, 2 cancelled');
        },
        FLOWS,
      ),
    ],
  },
  {
    subject: 'a member of a flow',
    sentences: [
      it(
        'that goes round again is waited for again',
        async (probe) => {
          const flow = await sketch(probe, KINDS);
          await run(probe, ['top'], { top: 'dies' });
          await run(probe, ['runs']);
          await run(probe, ['behind it']);
          await probe.broker.redrive(flow.idOf('top'));
          await refuses('WRONG_STATE', () => probe.broker.redrive(flow.idOf('top')));
          await run(probe, ['top']);
          await run(probe, ['waits']);
          assert.equal(await flow.progress(), 'dead 4 of 6, 2 dead');
          await probe.broker.redrive(flow.idOf('fails'));
          assert.equal(await flow.progress(), 'running 4 of 6, 1 dead');
          await probe.broker.redrive(flow.idOf('fails too'));
          assert.deepEqual(await probe.drain(), ['fails', 'fails too']);
          assert.equal(await flow.progress(), 'completed 6 of 6');
        },
        FLOWS,
      ),

      it(
        'cannot go round again before the parent with which it must fail',
        async (probe) => {
          const flow = await sketch(probe, KINDS);
          await run(probe, ['top'], { top: 'dies' });
          await refuses('WRONG_STATE', () => probe.broker.redrive(flow.idOf('fails')));
          assert.equal(await flow.state('fails'), 'dead');
        },
        FLOWS,
      ),

      it(
        'cannot be deleted without its flow, and is kept as long as that',
        async (probe) => {
          const flow = await sketch(probe, { a: {}, b: { after: ['a'] } }, KEEP_MS);
          await probe.complete(await probe.take(), { keepMs: 1 });
          await refuses('WRONG_STATE', () => probe.broker.delete(flow.idOf('a')));
          await probe.prune(10_000);
          assert.deepEqual(await flow.parents('b'), ['result of a']);
          await run(probe, ['b']);
          await probe.prune(KEEP_MS - 1);
          assert.equal(await flow.progress(), 'completed 2 of 2');
          await probe.prune(2_000);
          assert.deepEqual(await states(flow, 'a', 'b'), ['a undefined', 'b undefined']);
          assert.equal(await flowsOf(probe).get(flow.id), undefined);
          await refuses('FLOW_EXPIRED', () => flowsOf(probe).settled(flow.id));
          await refuses('RESULT_EXPIRED', () => probe.broker.settled(flow.idOf('a')));
          assert.deepEqual([probe.counts(), (await flowsOf(probe).list(10)).flows], [{}, []]);
        },
        FLOWS,
      ),

      it(
        'may wait for tasks that were enqueued before: waiting, running, completed, dead',
        async (probe) => {
          const ids = await probe.enqueue(
            { text: 'done' },
            { text: 'gone' },
            { text: 'runs' },
            { text: 'idle' },
          );
          const claims = await takeAll(probe);
          await probe.complete([claims.get('done')!]);
          await probe.bury([claims.get('gone')!]);
          await probe.release([claims.get('idle')!]);
          const [done, gone, runs, idle] = ids.map((id) => `=${id}`);
          const flow = await sketch(probe, {
            one: { after: [done!] },
            all: { after: [done!, gone!, runs!, idle!], dies: 'run' },
            none: { after: [gone!] },
            later: { after: [gone!, runs!], dies: 'wait' },
            group: { of: [runs!, done!, idle!] },
            grouped: { after: ['group'] },
          });
          assert.deepEqual(await states(flow, 'none', 'all', 'later'), [
            'none dead',
            'all blocked',
            'later blocked',
          ]);
          await probe.complete([claims.get('runs')!]);
          await run(probe, ['idle', 'one']);
          await run(probe, ['all', 'grouped']);
          const shown = ['result of done', 'dead failed', 'result of runs', 'result of idle'];
          assert.deepEqual(await flow.parents('all'), shown);
          assert.deepEqual(await flow.parents('grouped'), [shown[2], shown[0], shown[3]]);
          await probe.broker.redrive(ids[1]!);
          await run(probe, ['gone']);
          await run(probe, ['later']);
          assert.equal(await flow.progress(), 'dead 4 of 5, 1 dead');
        },
        FLOWS,
      ),

      it(
        'may wait for one that is to run later or was cancelled, and goes on waiting when it is retried',
        async (probe) => {
          const [late, off] = await probe.enqueue({ text: 'late', runAt: probe.now + 10 }, { text: 'off' });
          await probe.cancel(off!);
          const flow = await sketch(probe, {
            a: { after: [`=${late}`] },
            b: { after: [`=${late}`, `=${off}`], dies: 'run' },
            c: { after: [`=${off}`] },
          });
          assert.deepEqual(await states(flow, 'a', 'b', 'c'), ['a blocked', 'b blocked', 'c dead']);
          await probe.pass(10);
          await probe.retry(await probe.take(), 10);
          assert.deepEqual(await probe.take(), []);
          await probe.pass(10);
          await run(probe, ['late']);
          assert.deepEqual(await flow.parents('b'), ['result of late', 'cancelled cancelled']);
          await run(probe, ['a', 'b']);
        },
        FLOWS,
      ),

      it(
        'cannot wait for a task that is not kept any more, and sees one that went later as expired',
        async (probe) => {
          const [id] = await probe.enqueue({ text: 'a' });
          const [, other] = await probe.enqueue({ text: 'x' }, { text: 'b' });
          const claims = await takeAll(probe);
          await probe.complete([claims.get('a')!, claims.get('x')!], { keepMs: 1 });
          const flow = await sketch(probe, { c: { after: [`=${id}`, `=${other}`] } });
          await probe.complete([claims.get('b')!]);
          await probe.prune(70_000);
          await refuses('RESULT_EXPIRED', () => sketch(probe, { d: { after: [`=${id}`] } }));
          assert.deepEqual(await flow.parents('c'), ['expired', 'result of b']);
          await run(probe, ['c']);
        },
        FLOWS,
      ),

      it(
        'stands in the lane of its limits, at once, when it is let go, and when it goes round again',
        async (probe) => {
          const lane = limitLane('task', 'key');
          const runAt = probe.now + 10;
          const flow = await sketch(probe, {
            a: { lane },
            b: { after: ['a'], lane },
            c: { after: ['a'], lane, runAt },
          });
          const lanes = async (): Promise<string[]> => {
            const claims = await probe.take();
            await probe.bury(claims.slice(1));
            await probe.complete(claims.slice(0, 1));
            return claims.map((claim) => claim.lane);
          };
          assert.deepEqual(await lanes(), [lane]);
          await probe.pass(10);
          assert.deepEqual(await lanes(), [lane, lane]);
          await flowsOf(probe).redrive(flow.id);
          assert.deepEqual(await lanes(), [lane]);
          assert.equal(await flow.progress(), 'completed 3 of 3');
        },
        FLOWS,
      ),

      it(
        'may wait for members of another flow',
        async (probe) => {
          const first = await sketch(probe, { a: {} }, KEEP_MS);
          const second = await sketch(probe, { b: { after: [`=${first.idOf('a')}`], dies: 'wait' } });
          await run(probe, ['a'], { a: 'dies' });
          assert.equal(await first.progress(), 'dead 0 of 1, 1 dead');
          await flowsOf(probe).redrive(first.id);
          await run(probe, ['a']);
          assert.equal(await first.progress(), 'completed 1 of 1');
          await run(probe, ['b']);
          await probe.prune(10_000);
          assert.deepEqual(await second.parents('b'), ['expired']);
        },
        FLOWS,
      ),

      it(
        'whose unique key is taken stands for the task that holds it',
        async (probe) => {
          const unique = { key: 'k', onConflict: 'keep' } as const;
          const [holder] = await probe.enqueue({ text: 'a', unique });
          const flow = await sketch(probe, {
            b: { unique },
            c: { unique, name: 'other' },
            d: { after: ['b', 'c'] },
          });
          assert.equal(flow.idOf('b'), holder);
          assert.equal(await flow.progress(), 'running 0 of 2, 1 blocked');
          await run(probe, ['a', 'c']);
          assert.deepEqual(await flow.parents('d'), ['result of a', 'result of c']);
          await run(probe, ['d']);
          const reject = { key: 'k', onConflict: 'reject' } as const;
          await probe.enqueue({ unique });
          await refuses('DUPLICATE_TASK', () =>
            sketch(probe, { e: {}, f: { after: ['e'], unique: reject } }),
          );
          assert.equal(probe.counts().blocked, undefined);
        },
        WITH_UNIQUE,
      ),
    ],
  },
];
