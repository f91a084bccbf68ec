/** Everything at once: deaths, deadlines, cancels, recalls, parallel batches, resizes, recycling. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Batch } from '#src/pool/pool.js';
import { ISOLATIONS, openPool, type TestItem } from './harness.js';

const item = fc.oneof(
  { weight: 12, arbitrary: fc.constant<Omit<TestItem, 'token'>>({ name: 'noop', payload: 1 }) },
  { weight: 4, arbitrary: fc.constant<Omit<TestItem, 'token'>>({ name: 'later', payload: 2 }) },
  { weight: 2, arbitrary: fc.constant<Omit<TestItem, 'token'>>({ name: 'bytes', payload: 200_000 }) },
  { weight: 1, arbitrary: fc.constant<Omit<TestItem, 'token'>>({ name: 'exit', payload: 1 }) },
  { weight: 1, arbitrary: fc.constant<Omit<TestItem, 'token'>>({ name: 'uncaught', payload: 'chaos' }) },
  { weight: 1, arbitrary: fc.constant<Omit<TestItem, 'token'>>({ name: 'lateUnhandled', payload: 'chaos' }) },
  { weight: 1, arbitrary: fc.constant<Omit<TestItem, 'token'>>({ name: 'throwing', payload: 'rich' }) },
  {
    weight: 1,
    arbitrary: fc.record({
      name: fc.constantFrom('spin', 'never', 'waitForSignal'),
      timeoutMs: fc.integer({ min: 1, max: 30 }),
      killGraceMs: fc.integer({ min: 0, max: 20 }),
    }),
  },
);
const step = fc.record({
  items: fc.array(item, { minLength: 1, maxLength: 40 }),
  slot: fc.nat(2),
  parallel: fc.boolean(),
  /** Indexes to take back right away. */
  recalls: fc.array(fc.nat(39), { maxLength: 6 }),
  /** An index to cancel right away. */
  cancel: fc.option(fc.nat(39), { nil: undefined }),
  resize: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined, freq: 8 }),
});

describe.each(ISOLATIONS)('the pool (%s)', (isolation) => {
  const numRuns = Number(process.env.CHAOS_RUNS ?? (isolation === 'thread' ? 5 : 2));
  it(
    'law: every item handed over is reported once, or recalled once',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
          const pool = await openPool({ isolation, threads: 2, recycle: { tasks: 150 } });
          const recalled: string[] = [];
          const batches: Batch<string>[] = [];
          let handed = 0;
          for (const { items, slot, parallel, recalls, cancel, resize } of steps) {
            const target = pool.slots[slot % pool.slots.length]!;
            const first = handed;
            const batch = pool.hand(
              items.map((each) => ({ ...each, token: `${handed++}` })),
              target,
              parallel,
            );
            batches.push(batch);
            for (const index of recalls) if (batch.recall(index)) recalled.push(`${first + index}`);
            await pool.until(() => target.batches.length < 3 || undefined);
            if (cancel !== undefined) batch.abort(cancel, 'cancelled');
            if (resize !== undefined) await pool.resize(resize);
          }
          await pool.until(() => pool.items.length + recalled.length >= handed);
          await pool.pool.stop(0);
          const tokens = [...pool.items.map((each) => each.token), ...recalled]
            .map(Number)
            .sort((a, b) => a - b);
          expect(tokens).toEqual(Array.from({ length: handed }, (_, index) => index));
          for (const batch of batches) expect(batch.unstarted()).toBe(0);
        }),
        { numRuns },
      );
    },
    60_000 + numRuns * 10_000,
  );
});
