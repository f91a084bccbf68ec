/** Table and properties of the one function that decides what follows from an outcome. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Claim } from '#src/broker/broker.js';
import { DEFAULT_RULES } from '#src/options.js';
import type { ItemOutcome } from '#src/pool/pool.js';
import { encodeValue } from '#src/task/codec.js';
import { FRESH, type Tally } from '#src/task/task.js';
import type { ResolvedOptions } from '#src/task/task-options.js';
import { cancelUnstarted, type TransitionInput, transition } from '#src/task/transition.js';

const NOW = 1_000_000;
const RULES: ResolvedOptions = {
  ...DEFAULT_RULES,
  maxAttempts: 3,
  maxCrashes: 2,
  backoff: { kind: 'exponential', baseMs: 100, factor: 2, capMs: 10_000, jitter: 'none' },
  notRetryable: ['ValidationError', 'E_NO'],
  retentionMs: { completed: 1_000, dead: 2_000, cancelled: 3_000 },
};

function claimWith(tally: Partial<Tally> = {}, transfer?: Claim['transfer']): Claim {
  const full = { ...FRESH, ...tally };
  return { tally: full, attempt: full.failures + full.crashes + 1, transfer } as Claim;
}

function settle(outcome: ItemOutcome, tally: Partial<Tally> = {}, more: Partial<TransitionInput> = {}) {
  const item = { outcome, startedAt: NOW - 5, runMs: 5 };
  return transition({ claim: claimWith(tally), item, options: RULES, now: NOW, random: () => 0.5, ...more });
}

function failed(error: { name: string; message: string; code?: string }, retryable = true): ItemOutcome {
  return { kind: 'failed', error: encodeValue(error).slice(), retryable, invalidPayload: false };
}

const BOOM = failed({ name: 'Error', message: 'boom' });

describe('a completed attempt', () => {
  it('completes the task, kept for its retention', () => {
    const settled = settle({ kind: 'completed', result: new Uint8Array([1]) });
    expect(settled).toMatchObject({ kind: 'completed', settledAt: NOW, expiresAt: NOW + 1_000 });
    expect(settled).toMatchObject({ attempt: { attempt: 1, outcome: 'completed', runMs: 5 } });
  });

  it('carries what the handler enqueued; a failed one does not', () => {
    const next = [{ name: 'n', queue: 'default', level: 5, body: new Uint8Array() }];
    expect(settle({ kind: 'completed', result: new Uint8Array() }, {}, { next })).toMatchObject({ next });
    expect(settle(BOOM, {}, { next })).not.toHaveProperty('next');
  });
});

describe('a failed attempt', () => {
  const CASES = [
    { failures: 0, kind: 'scheduled', runAt: NOW + 100 },
    { failures: 1, kind: 'scheduled', runAt: NOW + 200 },
    { failures: 2, kind: 'dead', reason: 'failed' },
  ];
  for (const { failures, ...expected } of CASES) {
    it(`after ${failures} failures is ${expected.kind}`, () => {
      expect(settle(BOOM, { failures })).toMatchObject({
        ...expected,
        tally: { failures: failures + 1, crashes: 0 },
      });
    });
  }

  it('is dead at once when its error is listed, says so itself, or the payload is invalid', () => {
    expect(settle(failed({ name: 'ValidationError', message: '' }))).toMatchObject({
      reason: 'not-retryable',
    });
    expect(settle(failed({ name: 'Error', code: 'E_NO', message: '' }))).toMatchObject({
      reason: 'not-retryable',
    });
    expect(settle(failed({ name: 'Error', message: '' }, false))).toMatchObject({ reason: 'not-retryable' });
    expect(settle({ ...BOOM, invalidPayload: true } as ItemOutcome)).toMatchObject({
      reason: 'invalid-payload',
    });
  });

  it('waits as the host says, and by the policy when the host throws or talks nonsense', () => {
    expect(settle(BOOM, {}, { customBackoff: () => 7 })).toMatchObject({ runAt: NOW + 7 });
    const throws = (): number => {
      throw new Error('hook');
    };
    for (const customBackoff of [throws, () => Number.NaN, () => -1, () => Number.POSITIVE_INFINITY]) {
      expect(settle(BOOM, {}, { customBackoff })).toMatchObject({ runAt: NOW + 100 });
    }
  });
});

describe('a thread that died', () => {
  const crash: ItemOutcome = { kind: 'crashed', detail: 'worker exited with code 7', code: 7 };

  it('charges a crash apart from failures, and is dead after maxCrashes', () => {
    expect(settle(crash, { failures: 2 })).toMatchObject({
      kind: 'scheduled',
      tally: { failures: 2, crashes: 1 },
    });
    expect(settle(crash, { crashes: 1 })).toMatchObject({ kind: 'dead', reason: 'crashed' });
  });

  it('keeps how it died as the error of the attempt', () => {
    expect(settle(crash)).toMatchObject({
      attempt: { outcome: 'crashed', error: { message: crash.detail, code: 7 } },
    });
  });
});

describe('an aborted attempt', () => {
  const aborted = (reason: 'timed-out' | 'cancelled' | 'stopped'): ItemOutcome => ({
    kind: 'aborted',
    reason,
    threadKilled: true,
  });

  it('counts as a failure when it ran out of time', () => {
    expect(settle(aborted('timed-out'))).toMatchObject({ kind: 'scheduled', tally: { failures: 1 } });
    expect(settle(aborted('timed-out'), { failures: 2 })).toMatchObject({
      kind: 'dead',
      reason: 'timed-out',
    });
  });

  it('ends the task when it was cancelled, and gives it back uncharged when the runtime stopped', () => {
    expect(settle(aborted('cancelled'))).toMatchObject({ kind: 'cancelled', expiresAt: NOW + 3_000 });
    expect(settle(aborted('stopped'))).toEqual({
      claim: expect.anything(),
      kind: 'released',
      suspect: false,
    });
  });
});

describe('what is given back', () => {
  it('is released with its suspicion, and never charged', () => {
    const outcome: ItemOutcome = { kind: 'released', started: true, suspect: true };
    expect(settle(outcome, { failures: 1 })).toEqual({
      claim: expect.anything(),
      kind: 'released',
      suspect: true,
    });
  });

  it('is dead as payload-lost when its moved buffers went with the last attempt', () => {
    const transfer = { value: {}, list: [new ArrayBuffer(1)] };
    const released: ItemOutcome = { kind: 'released', started: true, suspect: false };
    const lost = settle(released, {}, { claim: claimWith({ failures: 2 }, transfer) });
    expect(lost).toMatchObject({ kind: 'dead', reason: 'payload-lost' });
    expect(settle(released, {}, { claim: claimWith({}, transfer) })).toMatchObject({ kind: 'released' });
  });
});

it('a snooze is uncharged and waits as long as asked', () => {
  const tally = { failures: 1, crashes: 0, snoozes: 1 };
  expect(settle({ kind: 'snoozed', delayMs: 50.2 }, { failures: 1 })).toMatchObject({
    runAt: NOW + 51,
    tally,
  });
});

it('a stale task is cancelled without an attempt', () => {
  const settled = cancelUnstarted(claimWith(), 'stale', RULES, NOW);
  expect(settled).toMatchObject({ kind: 'cancelled', reason: 'stale', settledAt: NOW });
  expect(settled).not.toHaveProperty('attempt');
});

it('law: failures and crashes never grow by more than one, and a dead task has reached a limit', () => {
  const outcomes = fc.constantFrom<ItemOutcome>(
    BOOM,
    { kind: 'crashed', detail: 'x' },
    { kind: 'aborted', reason: 'timed-out', threadKilled: false },
    { kind: 'snoozed', delayMs: 1 },
    { kind: 'completed', result: new Uint8Array() },
  );
  const tallies = fc.record({ failures: fc.nat(4), crashes: fc.nat(3), snoozes: fc.nat(3) });
  fc.assert(
    fc.property(outcomes, tallies, (outcome, tally) => {
      const settled = settle(outcome, tally);
      if (settled.kind === 'released') return;
      const grown = settled.tally.failures + settled.tally.crashes - tally.failures - tally.crashes;
      expect(grown === 0 || grown === 1).toBe(true);
      if (settled.kind === 'dead') {
        expect(settled.tally.failures >= RULES.maxAttempts || settled.tally.crashes >= RULES.maxCrashes).toBe(
          true,
        );
      }
      if (settled.kind === 'scheduled') expect(settled.runAt).toBeGreaterThanOrEqual(NOW);
    }),
  );
});
