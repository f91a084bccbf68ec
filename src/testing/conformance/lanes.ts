/** Lanes of limited tasks: whose turn it is, and what becomes of those that have to wait. */
import assert from 'node:assert/strict';
import type { Head, OrderRules, Verdict } from '../../broker/broker.js';
import { limitLane } from '../../task/lane.js';
import { type Draft, type Probe, textOf, texts } from './probe.js';
import { it, type Theme } from './suite.js';

const OPEN: OrderRules = { weightOf: () => 1, isOpen: () => true };
const lane = (key: string): string => limitLane('task', key);
const inLane = (key: string, count: number, rest: Draft = {}): Draft[] =>
  texts(key, count).map((text) => ({ ...rest, text, lane: lane(key) }));
const holds =
  (...keys: readonly string[]) =>
  (head: Head): Verdict =>
    keys.some((key) => head.lane === lane(key)) ? 'hold' : 'take';

/** Keys of lanes, by the texts of what was claimed. */
function keysOf(claimed: readonly string[]): string {
  return claimed.map((text) => text.split(' ')[0]).join('');
}

async function enqueueEach(probe: Probe, ...drafts: readonly Draft[]): Promise<void> {
  for (const draft of drafts) await probe.enqueue(draft);
}

/** Keys of claims while `a` has many tasks, and `b` one at a time that comes when the one before has gone. */
async function comingBack(probe: Probe, between: () => Promise<unknown>): Promise<string> {
  await probe.enqueue(...inLane('a', 20));
  const claimed: string[] = [];
  for (let isAway = true; claimed.length < 20; ) {
    if (isAway) await probe.enqueue(...inLane('b', 1));
    const claim = await probe.takeOne();
    claimed.push(textOf(claim));
    isAway = claim.lane === lane('b');
    await probe.complete([claim]);
    await between();
  }
  return keysOf(claimed);
}

export const laneThemes: readonly Theme[] = [
  {
    subject: 'the order of lanes',
    sentences: [
      it('is by turns, and enqueue order within a lane', async (probe) => {
        await probe.enqueue(...inLane('a', 4), ...inLane('b', 2), ...inLane('c', 3));
        const expected = ['a 0', 'b 0', 'c 0', 'a 1', 'b 1', 'c 1', 'a 2', 'c 2', 'a 3'];
        assert.deepEqual((await probe.take(9)).map(textOf), expected);
        await probe.enqueue(...inLane('a', 2), ...inLane('b', 2));
        assert.deepEqual(await probe.drain(), ['b 0', 'a 0', 'b 1', 'a 1']);
      }),

      it('gives a lane as many claims in each turn as it weighs', async (probe) => {
        probe.broker.order({ ...OPEN, weightOf: (_, of) => (of === lane('a') ? 3 : 1) });
        await probe.enqueue(...inLane('a', 30), ...inLane('b', 10), ...inLane('c', 10));
        const claimed = keysOf(await probe.drain());
        for (let turn = 0; turn < 10; turn++) {
          const five = claimed.slice(turn * 5, turn * 5 + 5);
          assert.equal([...five].sort().join(''), 'aaabc', `turn ${turn} of ${claimed}`);
        }
      }),

      it('is level first', async (probe) => {
        await probe.enqueue(...inLane('a', 2, { level: 4 }), ...inLane('b', 2), { level: 9, text: 'plain' });
        assert.deepEqual(await probe.drain(), ['plain', 'b 0', 'b 1', 'a 0', 'a 1']);
      }),

      it('gives the plain tasks of its queue the turn of one lane', async (probe) => {
        await probe.enqueue(...texts('plain', 3).map((text) => ({ text })), ...inLane('a', 2));
        await probe.enqueue(...inLane('b', 2));
        assert.deepEqual(await probe.drain(), ['plain 0', 'a 0', 'b 0', 'plain 1', 'a 1', 'b 1', 'plain 2']);
      }),

      it('gives queues without such lanes one turn together, in enqueue order', async (probe) => {
        await enqueueEach(probe, { queue: 'y', text: 'y 0' }, { queue: 'x', text: 'x 0' });
        await enqueueEach(probe, ...inLane('a', 2), { queue: 'y', text: 'y 1' }, ...inLane('b', 2));
        assert.deepEqual(await probe.drain(), ['y 0', 'a 0', 'b 0', 'x 0', 'a 1', 'b 1', 'y 1']);
      }),

      it('is enqueue order again when the last of such lanes is empty', async (probe) => {
        await enqueueEach(probe, { text: '0' }, ...inLane('a', 2), { text: '1' }, { queue: 'x', text: '2' });
        await enqueueEach(probe, { text: '3' });
        assert.deepEqual(await probe.drain(), ['0', 'a 0', '2', '1', 'a 1', '3']);
        await enqueueEach(probe, { text: '4' }, { queue: 'x', text: '5' }, { text: '6' });
        assert.deepEqual(await probe.drain(), ['4', '5', '6']);
      }),

      it('takes a lane in where the others are, whatever it had before', async (probe) => {
        await probe.enqueue(...inLane('a', 20), ...inLane('b', 20));
        await probe.complete(await probe.take(20));
        await probe.enqueue(...inLane('c', 3));
        assert.equal(keysOf((await probe.take(8)).map(textOf)), 'cabcabca');
      }),

      it('gives nobody more for coming back with one task at a time', async (probe) => {
        const keys = await comingBack(probe, async () => {});
        assert.ok(/^(?:ab|ba)+$/.test(keys), keys);
      }),

      it(
        'gives nobody more who was away when somebody looked',
        async (probe) => {
          probe.broker.order({ ...OPEN, weightOf: (_, of) => (of === lane('b') ? 4 : 1) });
          const keys = await comingBack(probe, () => probe.take(1, () => 'stop'));
          assert.ok(!keys.includes('bbbbb'), keys);
        },
        { has: ['peek'] },
      ),

      it('lets a lone task wait for one claim per other lane and weight at most', async (probe) => {
        const weights = new Map([...'abcdef'].map((key, at) => [lane(key), at + 1]));
        probe.broker.order({ ...OPEN, weightOf: (_, of) => weights.get(of) ?? 1 });
        await probe.enqueue(...[...'abcdef'].flatMap((key) => inLane(key, 80)));
        let longest = 0;
        for (let round = 0; round < 14; round++) {
          await probe.take((round * 5) % 13);
          const [key, queue] = [`lone${round % 3}`, round % 2 === 0 ? 'default' : 'other'];
          await probe.enqueue(...inLane(key, 1, { queue }));
          const between = new Map<string, number>();
          for (;;) {
            const claim = await probe.takeOne();
            await probe.complete([claim]);
            if (claim.lane === lane(key)) break;
            between.set(claim.lane, (between.get(claim.lane) ?? 0) + 1);
          }
          for (const [other, count] of between) {
            longest = Math.max(longest, count);
            assert.ok(count <= weights.get(other)!, `${count} claims of ${other} in round ${round}`);
          }
        }
        assert.ok(longest > 0);
      }),

      it('lets nobody wait for ever while new lanes come in', async (probe) => {
        await probe.enqueue(...inLane('a', 4), ...inLane('b', 1), ...inLane('c', 1));
        let others = 0;
        for (let left = 4; left > 0; ) {
          await probe.enqueue(...inLane(`new ${others}`, 1));
          const claim = await probe.takeOne();
          await probe.complete([claim]);
          if (claim.lane === lane('a')) left--;
          else assert.ok(++others < 100, `${left} of a are left`);
        }
      }),

      it('takes back what was released at its place', async (probe) => {
        await probe.enqueue(...inLane('a', 3), ...inLane('b', 3));
        const claims = await probe.take(4);
        await probe.release([...claims].reverse());
        const again = await probe.drain();
        for (const key of ['a', 'b']) {
          assert.deepEqual(
            again.filter((text) => text.startsWith(key)),
            texts(key, 3),
          );
        }
      }),

      it(
        'is kept over a restart, with what is in each lane',
        async (probe) => {
          await enqueueEach(probe, ...inLane('a', 3), ...inLane('b', 2), { text: 'plain' });
          await probe.reopen();
          const claims = await probe.take(3);
          assert.deepEqual(claims.map(textOf).sort(), ['a 0', 'b 0', 'plain']);
          assert.deepEqual(claims.map((claim) => claim.limitLane).sort(), ['', lane('a'), lane('b')]);
          assert.deepEqual((await probe.drain()).sort(), ['a 1', 'a 2', 'b 1']);
        },
        { has: ['durable'] },
      ),
    ],
  },
  {
    subject: 'a line that is held',
    sentences: [
      it(
        'is not looked at, and stands before nobody',
        async (probe) => {
          await probe.enqueue(...inLane('a', 3, { level: 9 }), ...inLane('a', 2), ...inLane('b', 2));
          assert.deepEqual(await probe.drain(holds('a')), ['b 0', 'b 1']);
          await probe.enqueue(...inLane('a', 1, { level: 8 }), ...inLane('b', 1));
          const asked: string[] = [];
          const claims = await probe.take(10, (head) => {
            asked.push(head.lane);
            return 'take';
          });
          assert.deepEqual([claims.map(textOf), asked], [['b 0'], [lane('b')]]);
          assert.deepEqual(probe.counts(), { ready: 6, running: 1, completed: 2 });
        },
        { has: ['inspect', 'peek'] },
      ),

      it(
        'goes on where it was when it is resumed, and says that it may be claimed',
        async (probe) => {
          await probe.enqueue(...inLane('a', 2, { level: 9 }), ...inLane('a', 1), ...inLane('b', 1));
          await probe.drain(holds('a'));
          let woken = 0;
          probe.broker.onReady(() => {
            woken++;
          });
          probe.broker.resumeLine('default', lane('b'));
          probe.broker.resumeLine('other', lane('a'));
          probe.broker.resumeLine('default', lane('unknown'));
          assert.equal(woken, 0);
          probe.broker.resumeLine('default', lane('a'));
          assert.equal(woken, 1);
          assert.deepEqual(await probe.drain(), ['a 0', 'a 1', 'a 0']);
        },
        { has: ['peek'] },
      ),

      it(
        'may be the plain one, or that of tasks that nobody handles',
        async (probe) => {
          await probe.enqueue({ text: 'plain' }, { name: 'nobody', unhandled: true, text: 'aside' });
          await probe.enqueue({ queue: 'other', text: 'other' });
          const hold = ({ queue }: Head): Verdict => (queue === 'default' ? 'hold' : 'take');
          assert.deepEqual(await probe.drain(hold), ['other']);
          assert.deepEqual(await probe.drain(), []);
          probe.broker.resumeLine('default', '');
          assert.deepEqual(await probe.drain(), ['plain']);
          probe.broker.resumeAll();
          assert.deepEqual(await probe.drain(), ['aside']);
        },
        { has: ['peek'] },
      ),

      it(
        'is one whose limit is known to be out, without a look at its tasks',
        async (probe) => {
          await probe.enqueue(...inLane('a', 2), ...inLane('b', 2));
          await probe.reopen();
          let isOpen = false;
          probe.broker.order({
            ...OPEN,
            isOpen: (queue, of) => isOpen || `${queue}${of}` !== `default${lane('a')}`,
          });
          const asked: string[] = [];
          const claims = await probe.take(10, (head) => {
            asked.push(head.lane);
            return 'take';
          });
          assert.deepEqual(
            [claims.map(textOf), asked],
            [
              ['b 0', 'b 1'],
              [lane('b'), lane('b')],
            ],
          );
          isOpen = true;
          assert.deepEqual(await probe.drain(), []);
          probe.broker.resumeLine('default', lane('a'));
          assert.deepEqual(await probe.drain(), ['a 0', 'a 1']);
        },
        { has: ['peek', 'durable'] },
      ),

      it(
        'gives up its place in memory and loses nothing',
        async (probe) => {
          await probe.enqueue(...inLane('a', 30), ...inLane('b', 30));
          assert.deepEqual(await probe.take(100, holds('a', 'b')), []);
          for (const text of texts('plain', 20)) await probe.enqueue({ text });
          await probe.enqueue(...inLane('a', 5).map((draft) => ({ ...draft, text: `late ${draft.text}` })));
          assert.deepEqual(await probe.drain(), texts('plain', 20));
          probe.broker.resumeAll();
          const claimed = await probe.drain();
          const ofA = claimed.filter((text) => text.includes('a '));
          assert.deepEqual(ofA, [...texts('a', 30), ...texts('late a', 5)]);
          assert.equal(claimed.length, 65);
        },
        { has: ['peek'], windowTasks: 8 },
      ),
    ],
  },
  {
    subject: 'all lines of a queue',
    sentences: [
      it(
        'are passed over with one look',
        async (probe) => {
          const paused = { queue: 'paused', level: 9 };
          await probe.enqueue(...[...'abcdef'].flatMap((key) => inLane(key, 1, paused)), { ...paused });
          await probe.enqueue({ queue: 'paused', level: 1, text: 'low' }, ...inLane('a', 1), { text: 'b 0' });
          let asked = 0;
          const accept = ({ queue }: Head): Verdict => {
            if (queue !== 'paused') return 'take';
            asked++;
            return 'skipQueue';
          };
          assert.deepEqual((await probe.take(20, accept)).map(textOf).sort(), ['a 0', 'b 0']);
          assert.equal(asked, 1);
          assert.equal((await probe.drain()).length, 8);
        },
        { has: ['peek'] },
      ),
    ],
  },
];
