/** The waiting time: exact by a table, and within its bounds for any policy, attempt and chance. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffMs } from '#src/task/backoff.js';
import type { BackoffPolicy } from '#src/task/task-options.js';

const PLAIN: Required<BackoffPolicy> = {
  kind: 'exponential',
  baseMs: 1_000,
  factor: 2,
  capMs: 300_000,
  jitter: 'none',
};
const LEAST = () => 0;
const HALF = () => 0.5;
const MOST = () => 1 - 2 ** -53;

const CASES: readonly [Partial<BackoffPolicy>, number, () => number, number][] = [
  [{}, 1, HALF, 1_000],
  [{}, 2, HALF, 2_000],
  [{}, 9, HALF, 256_000],
  [{}, 10, HALF, 300_000],
  [{}, 1_000_000, HALF, 300_000],
  [{ factor: 1.5 }, 3, HALF, 2_250],
  [{ factor: 1.001 }, 2, HALF, 1_001],
  [{ factor: 1.0001, baseMs: 999 }, 2, HALF, 999],
  [{ factor: 1 }, 1_000_000, HALF, 1_000],
  [{ baseMs: 0 }, 1_000_000, HALF, 0],
  [{ capMs: 0 }, 3, HALF, 0],
  [{ kind: 'fixed' }, 7, HALF, 1_000],
  [{ kind: 'fixed', capMs: 10 }, 7, HALF, 10],
  [{ kind: 'linear' }, 7, HALF, 7_000],
  [{ kind: 'linear' }, 1_000_000, HALF, 300_000],
  [{ jitter: 'full' }, 1, LEAST, 0],
  [{ jitter: 'full' }, 1, HALF, 500],
  [{ jitter: 'full' }, 1, MOST, 1_000],
  [{ jitter: 'equal' }, 1, LEAST, 500],
  [{ jitter: 'equal' }, 1, HALF, 750],
  [{ jitter: 'equal' }, 1, MOST, 1_000],
  [{ jitter: 'equal', baseMs: 5 }, 1, LEAST, 2],
  [{ jitter: 'equal', baseMs: 5 }, 1, MOST, 5],
];

const policies: fc.Arbitrary<Required<BackoffPolicy>> = fc.record({
  kind: fc.constantFrom('fixed', 'linear', 'exponential'),
  baseMs: fc.integer({ min: 0, max: 315_360_000_000 }),
  factor: fc.double({ min: 1, max: 1_000, noNaN: true }),
  capMs: fc.integer({ min: 0, max: 315_360_000_000 }),
  jitter: fc.constantFrom('full', 'equal', 'none'),
});
const attempts = fc.integer({ min: 1, max: 1_000_000 });
const chances = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('backoffMs', () => {
  for (const [change, attempt, random, expected] of CASES) {
    it(`${JSON.stringify(change)} after attempt ${attempt} by ${random()} waits ${expected} ms`, () => {
      expect(backoffMs({ ...PLAIN, ...change }, attempt, random)).toBe(expected);
    });
  }

  for (const attempt of [0, -1, 1.5, Number.NaN, Infinity]) {
    it(`refuses attempt ${attempt}`, () => {
      const refusal = { code: 'ERR_MILLRACE_INVALID_ARGUMENT', argument: 'attempt' };
      expect(() => backoffMs(PLAIN, attempt, HALF)).toThrow(expect.objectContaining(refusal));
    });
  }

  it('law: a wait is whole milliseconds from 0 to the cap', () => {
    fc.assert(
      fc.property(policies, attempts, chances, (policy, attempt, chance) => {
        const waitMs = backoffMs(policy, attempt, () => chance);
        return Number.isInteger(waitMs) && waitMs >= 0 && waitMs <= policy.capMs;
      }),
    );
  });

  it('law: jitter stays within the wait without jitter, and equal jitter in its upper half', () => {
    fc.assert(
      fc.property(policies, attempts, chances, (policy, attempt, chance) => {
        const wait = (jitter: 'full' | 'equal' | 'none') =>
          backoffMs({ ...policy, jitter }, attempt, () => chance);
        const most = wait('none');
        return wait('full') <= most && wait('equal') <= most && wait('equal') >= Math.floor(most / 2);
      }),
    );
  });

  it('law: without jitter a later attempt never waits less', () => {
    fc.assert(
      fc.property(policies, attempts, (policy, attempt) => {
        const wait = (each: number) => backoffMs({ ...policy, jitter: 'none' }, each, HALF);
        return wait(attempt + 1) >= wait(attempt);
      }),
    );
  });

  it('law: full jitter reaches every whole millisecond, 0 and the wait included, about as often', () => {
    const counts = new Map<number, number>();
    for (let step = 0; step < 1_000; step++) {
      const waitMs = backoffMs({ ...PLAIN, baseMs: 9, jitter: 'full' }, 1, () => step / 1_000);
      counts.set(waitMs, (counts.get(waitMs) ?? 0) + 1);
    }
    expect([...counts]).toEqual(Array.from({ length: 10 }, (_, waitMs) => [waitMs, 100]));
  });
});
