/** What the listener of flows is told: due times, work that was put off, members without a claim, ends. */
import assert from 'node:assert/strict';
import type { FlowNews } from '../../broker/flows.js';
import { flowsOf, nodesOf, run, sketch, until } from './flow-probe.js';
import type { Probe } from './probe.js';
import { it, type Needs, type Theme } from './suite.js';

const FLOWS: Needs = { has: ['flows', 'inspect'] };
/** More than one commit tells of the death of their parent. */
const MANY = 1_500;

export const flowNewsThemes: readonly Theme[] = [
  {
    subject: 'the listener of flows',
    sentences: [
      it(
        'is told of members that fail with a parent, then of the end of the flow, when that is flushed',
        async (probe) => {
          const heard = listen(probe);
          const flow = await sketch(probe, { a: {}, b: { after: ['a'] }, c: { after: ['b'] } });
          await run(probe, ['a'], { a: 'dies' });
          await until('the end is told', () => heard.news.some(({ kind }) => kind === 'flow'));
          assert.deepEqual(heard.told(), [
            `dead ${flow.idOf('b')} parent-dead`,
            `dead ${flow.idOf('c')} parent-dead`,
            `flow ${flow.id} dead 3 of 3`,
          ]);
        },
        FLOWS,
      ),

      it(
        'is told of members that are cancelled with their flow, and not of those that are running',
        async (probe) => {
          const flow = await sketch(probe, { a: {}, b: { after: ['a'] } });
          const claims = await probe.take();
          const heard = listen(probe);
          await flowsOf(probe).cancel(flow.id, 'enough');
          await probe.complete(claims);
          await until('the end is told', () => heard.news.some(({ kind }) => kind === 'flow'));
          assert.deepEqual(heard.told(), [
            `cancelled ${flow.idOf('b')} enough`,
            `flow ${flow.id} cancelled 1 of 2`,
          ]);
        },
        FLOWS,
      ),

      it(
        'is told of nothing that it does not want',
        async (probe) => {
          const heard = listen(probe, false);
          const flow = await sketch(probe, { a: {}, b: { after: ['a'] } });
          await run(probe, ['a'], { a: 'dies' });
          assert.equal(await flow.progress(), 'dead 0 of 2, 2 dead');
          assert.deepEqual(heard.told(), []);
        },
        FLOWS,
      ),

      it(
        'is told when a member is due that was let go before its time',
        async (probe) => {
          const heard = listen(probe);
          const runAt = probe.now + 1_000;
          await sketch(probe, { a: {}, b: { after: ['a'], runAt }, c: { after: ['a'] } });
          await run(probe, ['a']);
          assert.deepEqual(heard.dues, [runAt]);
        },
        FLOWS,
      ),

      it(
        'is told after each commit of what was put off: who counts then has counted the last',
        async (probe) => {
          const heard = listen(probe, false);
          const left: number[] = [];
          heard.moved = () => left.push(probe.counts().blocked ?? 0);
          const kept = Number.POSITIVE_INFINITY;
          const intake = flowsOf(probe).flow({
            retentionMs: { completed: kept, dead: kept, cancelled: kept },
          });
          await intake.add(nodesOf(probe, { a: {} }));
          const after = [{ label: 'p', from: 0 }];
          const behind = Array.from(
            { length: MANY },
            () => ({ kind: 'task', task: probe.draft({}), after }) as const,
          );
          await intake.add(behind);
          await intake.accept();
          await run(probe, ['a'], { a: 'dies' });
          await until('nothing waits', () => probe.counts().blocked === undefined);
          await until('that is told', () => left.at(-1) === 0);
        },
        FLOWS,
      ),
    ],
  },
];

/** Remembers everything that is told from now on. */
function listen(probe: Probe, wantsNews = true) {
  const news: FlowNews[] = [];
  const dues: number[] = [];
  const heard = {
    news,
    dues,
    moved: (): void => {},
    told: () => news.map(textOf),
  };
  flowsOf(probe).listen({
    due: (at) => dues.push(at),
    moved: () => heard.moved(),
    wantsNews: () => wantsNews,
    news: (more) => news.push(...more),
  });
  return heard;
}

function textOf(news: FlowNews): string {
  if (news.kind === 'member') return `${news.state} ${news.id} ${news.reason}`;
  const { id, state, total, completed, dead, cancelled } = news.flow;
  return `flow ${id} ${state} ${{ completed, dead, cancelled }[state]} of ${total}`;
}
