/** A batch that is too large for one commit comes in bit by bit, and becomes ready at once or not at all. */
import assert from 'node:assert/strict';
import type { Stage } from '../../broker/broker.js';
import type { TaskId } from '../../task/task.js';
import { type Draft, type Probe, refuses, resultOf, textOf, texts } from './probe.js';
import { it, type Theme } from './suite.js';

const PART = 5_000;

async function stageOf(probe: Probe, drafts: readonly Draft[]): Promise<Stage> {
  const stage = probe.broker.stage();
  for (let from = 0; from < drafts.length; from += PART) {
    await stage.add(drafts.slice(from, from + PART).map((draft) => probe.draft(draft)));
  }
  return stage;
}

async function accept(stage: Stage): Promise<TaskId[]> {
  const tickets = await stage.accept();
  return Array.from({ length: tickets.length }, (_, at) => tickets.ticket(at).id);
}

async function listed(probe: Probe, state?: 'ready' | 'scheduled'): Promise<string[]> {
  const found: string[] = [];
  for (let after: string | undefined; ; ) {
    const page = await probe.inspect.list(state === undefined ? {} : { state }, 1_000, after);
    found.push(...page.tasks.map(textOf));
    if (page.after === undefined) return found;
    after = page.after;
  }
}

/** Ready in three lines, and delayed. */
function ofAllKinds(probe: Probe, count: number): Draft[] {
  return texts('s', count).map((text, at): Draft => {
    if (at % 10 === 3) return { text, queue: 'other', options: { timeoutMs: 7 } };
    if (at % 10 === 5) return { text, runAt: probe.now + 1_000 };
    if (at % 10 === 7) return { text, name: 'nobody', unhandled: true };
    return { text, level: at % 10 };
  });
}

export const stageThemes: readonly Theme[] = [
  {
    subject: 'a staged batch',
    sentences: [
      it('of tens of thousands becomes ready at once, in order', async (probe) => {
        const all = texts('s', 30_000);
        const stage = await stageOf(
          probe,
          all.map((text) => ({ text })),
        );
        assert.deepEqual([...(await probe.take())], []);
        const accepted = accept(stage);
        assert.deepEqual([...(await probe.take())], [], 'none of it starts before all of it is flushed');
        await accepted;
        const claims = await probe.take(50_000);
        assert.deepEqual(claims.map(textOf), all);
        await probe.complete(claims);
      }),

      it('gives each task an id of its own, by which its end is told', async (probe) => {
        const stage = await stageOf(
          probe,
          texts('s', 1_500).map((text, at) => ({ text, level: at % 10 })),
        );
        const tickets = await stage.accept();
        assert.equal(tickets.length, 1_500);
        const early = tickets.ticket(700).settled();
        const claims = await probe.take(2_000);
        const byText = new Map(claims.map((claim) => [textOf(claim), claim.id]));
        for (let at = 0; at < 1_500; at++) assert.equal(tickets.ticket(at).id, byText.get(`s ${at}`));
        await probe.complete(claims);
        assert.equal(resultOf(await early), 'result of s 700');
        assert.equal(resultOf(await tickets.ticket(9).settled()), 'result of s 9');
        assert.equal(resultOf(await probe.broker.settled(tickets.ticket(10).id)), 'result of s 10');
      }),

      it('may be empty', async (probe) => {
        assert.deepEqual(await accept(probe.broker.stage()), []);
        const stage = probe.broker.stage();
        await stage.add([]);
        assert.deepEqual(await accept(stage), []);
      }),

      it('lets other tasks in and out while it is staged', async (probe) => {
        await probe.enqueue({ text: 'before' });
        const stage = await stageOf(
          probe,
          texts('s', 1_000).map((text) => ({ text })),
        );
        await probe.enqueue({ text: 'meanwhile' }, { text: 'high', level: 9 });
        assert.deepEqual(await probe.drain(), ['high', 'before', 'meanwhile']);
        await accept(stage);
        await probe.enqueue({ text: 'after' }, { text: 'higher', level: 9 });
        assert.deepEqual(await probe.drain(), ['higher', ...texts('s', 1_000), 'after']);
      }),

      it(
        'stands where it began, before what came in meanwhile and is not in memory',
        async (probe) => {
          await probe.enqueue(...texts('before', 300).map((text) => ({ text })));
          const stage = await stageOf(
            probe,
            texts('s', 1_000).map((text) => ({ text })),
          );
          await probe.enqueue(...texts('meanwhile', 300).map((text) => ({ text })));
          await accept(stage);
          const order = [...texts('before', 300), ...texts('s', 1_000), ...texts('meanwhile', 300)];
          assert.deepEqual(await probe.drain(), order);
        },
        { windowTasks: 100 },
      ),

      it('runs no task twice when claims are under way at its acceptance', async (probe) => {
        const stage = await stageOf(probe, [{ text: 's' }]);
        await probe.enqueue(...texts('a', 600).map((text) => ({ text })));
        const held = await probe.take(300);
        await accept(stage);
        const rest = await probe.take(1_000);
        assert.deepEqual(rest.map(textOf), [...texts('a', 600).slice(300), 's']);
        await probe.release(held);
        assert.deepEqual((await probe.take(1_000)).map(textOf), texts('a', 300));
      }),

      it('may hold tasks of all kinds', async (probe) => {
        const drafts = ofAllKinds(probe, 1_000);
        const ids = await accept(await stageOf(probe, drafts));
        assert.equal(new Set(ids).size, 1_000);
        const claims = await probe.take(2_000, (head) => (head.name === 'nobody' ? 'skip' : 'take'));
        assert.equal(claims.length, 800);
        assert.deepEqual(claims.find(({ queue }) => queue === 'other')?.options, { timeoutMs: 7 });
        await probe.complete(claims);
        assert.equal(await probe.pass(999), 0);
        assert.equal(await probe.pass(1), 100);
        const delayed = await probe.take(2_000, (head) => (head.name === 'nobody' ? 'skip' : 'take'));
        assert.deepEqual(
          delayed.map(textOf),
          drafts.filter(({ runAt }) => runAt !== undefined).map(({ text }) => text),
        );
        assert.equal((await probe.take(2_000)).length, 100);
      }),

      it('has delayed tasks that can be promoted at once', async (probe) => {
        const drafts = texts('s', 3_000).map((text) => ({ text, runAt: probe.now + 1_000 }));
        const stage = await stageOf(probe, drafts);
        assert.equal(await probe.broker.nextDueAt(), undefined);
        await accept(stage);
        probe.clock.advance(1_000);
        assert.equal(await probe.broker.promote(probe.now, 5_000), 3_000);
      }),

      it(
        'can have its delayed tasks cancelled at once',
        async (probe) => {
          const drafts = texts('s', 3_000).map((text) => ({ text, runAt: probe.now + 1_000 }));
          const ids = await accept(await stageOf(probe, drafts));
          await Promise.all([0, 1_500, 2_999].map((at) => probe.cancel(ids[at]!)));
          assert.equal(await probe.pass(999), 0);
          const all = await listed(probe);
          assert.deepEqual([all.length, new Set(all).size], [3_000, 3_000]);
          for (let rounds = 0; rounds < 3; rounds++) await probe.pass(rounds === 0 ? 1 : 0);
          assert.deepEqual(probe.counts(), { ready: 2_997, cancelled: 3 });
        },
        { has: ['inspect'] },
      ),

      it('can be staged beside another', async (probe) => {
        const [one, two] = [probe.broker.stage(), probe.broker.stage()];
        await Promise.all([one.add([probe.draft({ text: 'a' })]), two.add([probe.draft({ text: 'b' })])]);
        await one.add([probe.draft({ text: 'c' })]);
        await two.abandon();
        await accept(one);
        assert.deepEqual(await probe.drain(), ['a', 'c']);
      }),
    ],
  },

  {
    subject: 'a batch that is not accepted yet',
    sentences: [
      it(
        'counts as blocked, is not listed, and none of it is due',
        async (probe) => {
          await probe.enqueue({ text: 'here' }, { text: 'later', runAt: probe.now + 5_000 });
          const stage = await stageOf(probe, ofAllKinds(probe, 1_000));
          assert.deepEqual(probe.counts(), { blocked: 900, ready: 1, scheduled: 1 });
          assert.deepEqual(probe.counts('other'), { blocked: 100 });
          assert.deepEqual((await listed(probe)).sort(), ['here', 'later']);
          assert.equal(await probe.broker.nextDueAt(), probe.now + 5_000);
          assert.equal(await probe.pass(1_000), 0);
          await accept(stage);
          assert.deepEqual(probe.counts(), { ready: 801, unhandled: 100, scheduled: 101 });
          assert.deepEqual(probe.counts('other'), { ready: 100 });
          assert.equal((await listed(probe, 'ready')).length, 901);
          assert.equal((await listed(probe, 'scheduled')).length, 101);
        },
        { has: ['inspect'] },
      ),

      it(
        'leaves nothing behind when it is abandoned',
        async (probe) => {
          await probe.enqueue({ text: 'here' });
          const stage = await stageOf(probe, ofAllKinds(probe, 3_000));
          await stage.abandon();
          await stage.abandon();
          assert.deepEqual([probe.counts(), probe.counts('other')], [{ ready: 1 }, {}]);
          assert.deepEqual(await listed(probe), ['here']);
          assert.equal(await probe.pass(10_000), 0);
          assert.deepEqual(await probe.drain(), ['here']);
          await refuses('STOPPED', () => stage.add([probe.draft()]));
          await refuses('STOPPED', () => stage.accept());
        },
        { has: ['inspect'] },
      ),

      it(
        'takes no unique keys, as their conflicts are decided in one commit',
        async (probe) => {
          const stage = await stageOf(probe, [{ text: 'a' }]);
          const unique = { key: 'k', onConflict: 'keep' } as const;
          await refuses('UNSUPPORTED', () => stage.add([probe.draft({ unique })]));
          await stage.abandon();
          assert.deepEqual(await probe.drain(), []);
          const [ticket] = await probe.tickets({ text: 'b', unique });
          assert.equal(ticket?.isNew, true);
        },
        { has: ['unique'] },
      ),

      it('is one of few: more at once are refused', async (probe) => {
        const stages = Array.from({ length: 16 }, () => probe.broker.stage());
        await refuses('QUEUE_FULL', () => probe.broker.stage());
        await stages[0]!.abandon();
        await accept(stages[1]!);
        const again = [probe.broker.stage(), probe.broker.stage()];
        for (const stage of [...stages, ...again]) await stage.abandon();
      }),
    ],
  },

  {
    subject: 'a staged batch in a store opened again',
    sentences: [
      it(
        'is there as a whole when it was accepted',
        async (probe) => {
          const ids = await accept(await stageOf(probe, ofAllKinds(probe, 2_000)));
          await probe.enqueue({ text: 'after', level: 0 });
          await probe.reopen();
          assert.deepEqual(probe.counts(), { ready: 1_601, unhandled: 200, scheduled: 200 });
          assert.equal((await probe.view(ids[5]!)).state, 'scheduled');
          assert.equal(await probe.pass(1_000), 200);
          assert.equal((await probe.take(5_000)).length, 2_001);
        },
        { has: ['durable', 'inspect'] },
      ),

      it(
        'is gone when it was not, in good order or by a sudden death',
        async (probe) => {
          await probe.enqueue({ text: 'here' });
          await stageOf(probe, ofAllKinds(probe, 3_000));
          await probe.reopen();
          assert.deepEqual([probe.counts(), probe.counts('other')], [{ ready: 1 }, {}]);
          await stageOf(probe, ofAllKinds(probe, 30_000));
          await probe.crash();
          assert.deepEqual([probe.counts(), probe.counts('other')], [{ ready: 1 }, {}]);
          assert.deepEqual(await listed(probe), ['here']);
          assert.equal(await probe.pass(10_000), 0);
          assert.deepEqual(await probe.drain(), ['here']);
          await accept(await stageOf(probe, [{ text: 'a' }, { text: 'b' }]));
          await probe.crash();
          assert.deepEqual(await probe.drain(), ['a', 'b']);
        },
        { has: ['durable', 'inspect'], crash: true },
      ),
    ],
  },
];
