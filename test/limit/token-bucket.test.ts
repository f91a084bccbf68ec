/**
 * The law of the bucket: over any window of length W at most capacity + refillPerSec × W tokens are taken,
 * whatever is asked when. Checked for all windows of random histories; the seed is printed when it fails.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TokenBucket } from '#src/limit/token-bucket.js';
import type { BucketRate } from '#src/task/limit-rule.js';

/** A sum of floating numbers may be off by this part of a token, never by one. */
const EPSILON = 1e-6;

const rates: fc.Arbitrary<BucketRate> = fc.record({
  capacity: fc.oneof(fc.integer({ min: 1, max: 50 }), fc.constant(1_000_000)),
  refillPerSec: fc.oneof(
    fc.constantFrom(0.1, 1 / 3, 1, 7, 10, 99.9, 1_000),
    fc.double({ min: 0.001, max: 5_000, noNaN: true }),
  ),
});
const times = fc.oneof(
  fc.integer({ min: 0, max: 3_000 }),
  fc.double({ min: 0, max: 500, noNaN: true }),
  fc.constant(86_400_000),
);
type Step =
  | { readonly kind: 'start'; readonly afterMs: number; readonly cost: number }
  /** As often as it goes, waiting as long as it is told. */
  | { readonly kind: 'greedy'; readonly starts: number; readonly cost: number }
  | { readonly kind: 'unused' }
  | { readonly kind: 'rate'; readonly rate: BucketRate }
  | { readonly kind: 'back'; readonly ms: number };
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('start' as const),
      afterMs: times,
      cost: fc.integer({ min: 1, max: 9 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('greedy' as const),
      starts: fc.integer({ min: 1, max: 12 }),
      cost: fc.integer({ min: 1, max: 9 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('unused' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('rate' as const), rate: rates }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('back' as const), ms: fc.integer({ min: 1, max: 100_000 }) }),
  },
);

/** What was taken when, with what could have flowed in until then. */
interface Start {
  tokens: number;
  readonly refilled: number;
  readonly capacity: number;
}

/** Runs a history. Time of the law only goes on; the bucket's own clock may be set back. */
function historyOf(rate: BucketRate, history: readonly Step[]): readonly Start[] {
  let [now, refilled, of] = [0, 0, rate];
  let latest = 0;
  const bucket = new TokenBucket(rate, rate.capacity, now);
  const starts: Start[] = [];
  const pass = (ms: number): void => {
    now += ms;
    const gained = Math.max(0, now - latest);
    latest = Math.max(latest, now);
    refilled += (gained * of.refillPerSec) / 1_000;
  };
  const start = (cost: number): void => {
    if (bucket.waitMs(cost, now) > 0) return;
    starts.push({ tokens: bucket.take(cost, now), refilled, capacity: of.capacity });
  };
  for (const step of history) {
    if (step.kind === 'start') {
      pass(step.afterMs);
      start(step.cost);
    } else if (step.kind === 'greedy') {
      for (let count = 0; count < step.starts; count++) {
        pass(bucket.waitMs(step.cost, now));
        start(step.cost);
      }
    } else if (step.kind === 'unused') {
      const last = starts.at(-1);
      if (last !== undefined) bucket.giveBack(last.tokens, now);
      if (last !== undefined) last.tokens = 0;
    } else if (step.kind === 'rate') {
      bucket.setRate(step.rate, now);
      of = step.rate;
    } else now -= step.ms;
  }
  return starts;
}

/** For each pair of starts: what lies between them, both included. */
function worstExcess(starts: readonly Start[]): number {
  let worst = Number.NEGATIVE_INFINITY;
  for (let from = 0; from < starts.length; from++) {
    let tokens = 0;
    // A larger bucket that came later can hold more than the one at the window's beginning.
    let capacity = 0;
    for (let to = from; to < starts.length; to++) {
      tokens += starts[to]!.tokens;
      capacity = Math.max(capacity, starts[from]!.capacity);
      worst = Math.max(worst, tokens - capacity - (starts[to]!.refilled - starts[from]!.refilled));
    }
  }
  return worst;
}

describe('a token bucket', () => {
  it('never lets more through than capacity + refill × W, in any window of any history', () => {
    fc.assert(
      fc.property(rates, fc.array(steps, { maxLength: 60 }), (rate, history) => {
        expect(worstExcess(historyOf(rate, history))).toBeLessThanOrEqual(
          EPSILON * Math.max(1, rate.capacity / 1_000),
        );
      }),
      { numRuns: 1_000 },
    );
  });

  it('has the tokens when the wait that it told is over, and not a millisecond before', () => {
    fc.assert(
      fc.property(
        rates,
        fc.array(times, { maxLength: 20 }),
        fc.integer({ min: 1, max: 9 }),
        (rate, waits, cost) => {
          const bucket = new TokenBucket(rate, rate.capacity, 0);
          let now = 0;
          for (const ms of waits) {
            now += ms;
            const waitMs = bucket.waitMs(cost, now);
            if (waitMs > 1) expect(bucket.waitMs(cost, now + waitMs - 1 - EPSILON)).toBeGreaterThan(0);
            expect(bucket.waitMs(cost, now + waitMs + EPSILON)).toBe(0);
            now += waitMs + EPSILON;
            bucket.take(cost, now);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('is exact at round rates: one a second starts at each full second', () => {
    const bucket = new TokenBucket({ capacity: 1, refillPerSec: 1 }, 1, 0);
    const startedAt: number[] = [];
    for (let now = 0; now <= 10_000; now++) {
      if (bucket.waitMs(1, now) > 0) continue;
      bucket.take(1, now);
      startedAt.push(now);
    }
    expect(startedAt).toEqual([0, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000, 10_000]);
  });

  it('loses nothing to rounding in a million starts', () => {
    const bucket = new TokenBucket({ capacity: 3, refillPerSec: 0.1 }, 0, 0);
    let [now, starts] = [0, 0];
    for (; starts < 1_000_000; starts++) {
      now += bucket.waitMs(1, now);
      bucket.take(1, now);
    }
    expect(now).toBe(10_000_000_000);
  });

  it('takes a cost above its capacity as all that it holds', () => {
    const bucket = new TokenBucket({ capacity: 5, refillPerSec: 1 }, 5, 0);
    expect(bucket.take(100, 0)).toBe(5);
    expect(bucket.waitMs(100, 0)).toBe(5_000);
  });

  it('gives nothing for a clock that goes back', () => {
    const bucket = new TokenBucket({ capacity: 1, refillPerSec: 1 }, 1, 10_000);
    bucket.take(1, 10_000);
    expect(bucket.waitMs(1, 5_000)).toBe(1_000);
    expect(bucket.waitMs(1, 11_000)).toBe(0);
  });

  it('takes a new rate at once, up and down, with what is in it', () => {
    const bucket = new TokenBucket({ capacity: 10, refillPerSec: 1 }, 4, 0);
    bucket.setRate({ capacity: 10, refillPerSec: 100 }, 0);
    expect(bucket.waitMs(5, 0)).toBe(10);
    bucket.setRate({ capacity: 2, refillPerSec: 1 }, 0);
    expect(bucket.level(0)).toBe(2);
  });

  it('does not grow beyond its capacity by what is given back', () => {
    const bucket = new TokenBucket({ capacity: 2, refillPerSec: 1 }, 2, 0);
    bucket.take(1, 0);
    bucket.giveBack(1, 60_000);
    bucket.take(2, 60_000);
    expect(bucket.waitMs(1, 60_000)).toBe(1_000);
  });

  it('refuses to give what is not there', () => {
    const bucket = new TokenBucket({ capacity: 2, refillPerSec: 1 }, 1, 0);
    expect(() => bucket.take(2, 0)).toThrow('more tokens are taken than there are');
  });
});
