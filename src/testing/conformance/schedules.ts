/**
 * Tasks that come together with a fact: what a schedule needs so that each of its fires is enqueued once.
 */
import assert from 'node:assert/strict';
import type { FactChange } from '../../broker/key-value.js';
import { type Draft, type Probe, refuses, textOf } from './probe.js';
import { it, type Theme } from './suite.js';

const KEY = 'schedule/a';
const ALL_OR_NOTHING = { has: ['atomicBatch'] } as const;
const CRASH = { has: ['durable', 'atomicBatch'], crash: true } as const;
const COUNTED_TO = 40;

const text = (value: Uint8Array | undefined): string => Buffer.from(value ?? []).toString();

/** A fact of these words, and of the ids of the tasks. */
function change(words: string, ifVersion?: number): FactChange {
  return {
    key: KEY,
    ...(ifVersion === undefined ? {} : { ifVersion }),
    value: (ids) => Buffer.from([words, ...ids].join(' ')),
  };
}

async function enqueue(probe: Probe, fact: FactChange, ...drafts: readonly Draft[]): Promise<string[]> {
  const { tickets, accepted } = probe.broker.enqueue(
    drafts.map((draft) => probe.draft(draft)),
    fact,
  );
  await accepted;
  return tickets.map(({ id }) => id);
}

export const scheduleThemes: readonly Theme[] = [
  {
    subject: 'tasks with a fact',
    sentences: [
      it(
        'are accepted together with it, and it knows their ids',
        async (probe) => {
          const [a, b] = await enqueue(probe, change('first', 0), { text: 'a' }, { text: 'b', runAt: 9e12 });
          const fact = await probe.keyValue.get(KEY);
          assert.deepEqual([text(fact?.value), fact?.version], [`first ${a} ${b}`, 1]);
          assert.equal(await probe.state(a!), 'ready');
          const [c] = await enqueue(probe, change('second', 1), { text: 'c' });
          assert.equal(text((await probe.keyValue.get(KEY))?.value), `second ${c}`);
          assert.equal(await probe.keyValue.put(KEY, Buffer.from('third'), { ifVersion: 2 }), 3);
        },
        { has: ['atomicBatch', 'inspect'] },
      ),

      it(
        'are not there when it has another version than expected',
        async (probe) => {
          await enqueue(probe, change('first'), { text: 'a' });
          for (const ifVersion of [0, 2]) {
            await refuses('FACT_CHANGED', () => enqueue(probe, change('no', ifVersion), { text: 'b' }));
          }
          await probe.keyValue.delete(KEY);
          await refuses('FACT_CHANGED', () => enqueue(probe, change('no', 1), { text: 'b' }));
          assert.equal(await probe.keyValue.get(KEY), undefined);
          assert.deepEqual(await probe.drain(), ['a']);
        },
        ALL_OR_NOTHING,
      ),

      it(
        'are refused with it: neither is there',
        async (probe) => {
          const unique = { key: 'k', onConflict: 'reject' } as const;
          await probe.enqueue({ text: 'a', unique });
          await refuses('DUPLICATE_TASK', () =>
            enqueue(probe, change('no'), { text: 'b' }, { text: 'c', unique }),
          );
          const large = { key: KEY, value: () => new Uint8Array(1024 * 1024 + 1) };
          await refuses('TOO_LARGE', () => enqueue(probe, large, { text: 'd' }));
          await refuses('INVALID_ARGUMENT', () =>
            enqueue(probe, { ...change('no'), key: '' }, { text: 'd' }),
          );
          assert.equal(await probe.keyValue.get(KEY), undefined);
          assert.deepEqual(await probe.drain(), ['a']);
        },
        { has: ['atomicBatch', 'unique'] },
      ),

      it(
        'are enqueued by one of many who compare and set',
        async (probe) => {
          const tries = await Promise.allSettled(
            Array.from({ length: 10 }, async (_, at) =>
              enqueue(probe, change(`${at}`, 0), { text: `${at}` }),
            ),
          );
          assert.equal(tries.filter(({ status }) => status === 'fulfilled').length, 1);
          assert.deepEqual(await probe.drain(), ['0']);
        },
        ALL_OR_NOTHING,
      ),

      it(
        'say which fire of which schedule they are',
        async (probe) => {
          const schedule = { id: 'nightly', fireAt: probe.now };
          const [now, later] = await probe.enqueue({ schedule }, { schedule, runAt: probe.now + 5 });
          assert.deepEqual((await probe.view(now!)).schedule, schedule);
          assert.deepEqual((await probe.view(later!)).schedule, schedule);
          await probe.pass(5);
          await probe.bury(await probe.take());
          assert.deepEqual((await probe.view(now!)).schedule, schedule);
          assert.deepEqual((await probe.view(later!)).schedule, schedule);
        },
        { has: ['inspect'] },
      ),

      it(
        'are there after a sudden death exactly as far as the fact says',
        async (probe) => {
          // Each enqueue counts the fact up by one; the last ones were never answered.
          for (let count = 1; count <= COUNTED_TO; count++) {
            const { accepted } = probe.broker.enqueue([probe.draft({ text: `fire ${count}` })], {
              key: KEY,
              ifVersion: count - 1,
              value: () => Buffer.from(String(count)),
            });
            if (count <= COUNTED_TO / 2) await accepted;
            else accepted.catch(() => {});
            if (count === COUNTED_TO - 5) await new Promise(setImmediate);
          }
          await probe.crash();
          const count = Number(text((await probe.keyValue.get(KEY))?.value));
          assert.ok(count >= COUNTED_TO / 2);
          const expected = Array.from({ length: count }, (_, at) => `fire ${at + 1}`);
          assert.deepEqual((await probe.take()).map(textOf), expected);
        },
        CRASH,
      ),
    ],
  },
];
