/**
 * Decides what follows from an outcome: (task, outcome, now, random) to a settlement. Pure, and the only
 * place that knows the rules of retries, crashes and dead letters; backends persist what it says and decide
 * nothing.
 *
 *     completed ─▶ completed
 *     failed ───▶ dead when not retryable or out of attempts, else scheduled after its backoff
 *     aborted ──▶ timed-out counts as a failure; cancelled ends the task; stopped gives it back uncharged
 *     crashed ──▶ dead after maxCrashes, else scheduled after the backoff of its crash count
 *     snoozed ──▶ scheduled, uncharged
 *     released ─▶ back to its place, uncharged
 */
import type { Claim, Settlement } from '../broker/broker.js';
import type { EpochMs } from '../clock.js';
import type { FinishedItem, ItemOutcome } from '../pool/pool.js';
import { backoffMs } from './backoff.js';
import { decodeValue } from './codec.js';
import type { StoredError } from './stored-error.js';
import type { Attempt, LogLine, NewTask, Tally } from './task.js';
import type { ResolvedOptions } from './task-options.js';

/** A host function that replaces the backoff policy: milliseconds until the next attempt. */
export type CustomBackoff = (attempt: number, error: StoredError | undefined) => number;

export interface TransitionInput {
  readonly claim: Claim;
  readonly item: Pick<FinishedItem, 'outcome' | 'startedAt' | 'runMs'> & {
    readonly extras?: { readonly progress?: unknown; readonly logs?: readonly LogLine[] };
  };
  readonly options: ResolvedOptions;
  readonly customBackoff?: CustomBackoff;
  /** Checked tasks that the handler enqueued; committed with the settlement unless the attempt failed. */
  readonly next?: readonly NewTask[];
  readonly now: EpochMs;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** Why a task is dead. */
export type DeadReason =
  | 'failed'
  | 'not-retryable'
  | 'invalid-payload'
  | 'timed-out'
  | 'crashed'
  | 'payload-lost';

export function transition(input: TransitionInput): Settlement {
  const { claim, item, options, now } = input;
  const outcome = item.outcome;
  switch (outcome.kind) {
    case 'completed':
      return { ...completed(claim, outcome.result, item, options, now), ...kept(input) };
    case 'failed':
      return failed(input, outcome);
    case 'crashed':
      return crashed(input, { name: 'ThreadDied', message: outcome.detail, ...codeOf(outcome) });
    case 'aborted':
      return aborted(input, outcome);
    case 'snoozed': {
      const tally = { ...claim.tally, snoozes: claim.tally.snoozes + 1 };
      const runAt = now + Math.max(0, Math.ceil(outcome.delayMs));
      return { claim, kind: 'scheduled', runAt, tally, attempt: attemptOf(input, 'snoozed'), ...kept(input) };
    }
    case 'released':
      return payloadLost(input, outcome) ?? { claim, kind: 'released', suspect: outcome.suspect };
  }
}

/**
 * What follows from an attempt that completed and left nothing but its result; the hot path, with nothing to
 * spread.
 */
export function completed(
  claim: Claim,
  result: Uint8Array,
  item: { readonly startedAt: EpochMs; readonly runMs: number },
  options: ResolvedOptions,
  now: EpochMs,
): Settlement {
  const { startedAt, runMs } = item;
  return {
    claim,
    kind: 'completed',
    result,
    settledAt: now,
    expiresAt: now + options.retentionMs.completed,
    tally: claim.tally,
    attempt: { attempt: claim.attempt, startedAt, runMs, outcome: 'completed' },
  };
}

/** A settlement for a claimed task that must not start: it is stale, or was cancelled before its start. */
export function cancelUnstarted(
  claim: Claim,
  reason: string,
  options: ResolvedOptions,
  now: EpochMs,
): Settlement {
  return {
    claim,
    kind: 'cancelled',
    reason,
    settledAt: now,
    expiresAt: now + options.retentionMs.cancelled,
    tally: claim.tally,
  };
}

function failed(input: TransitionInput, outcome: Extract<ItemOutcome, { kind: 'failed' }>): Settlement {
  const error = decodeValue(outcome.error) as StoredError;
  const failures = input.claim.tally.failures + 1;
  const tally = { ...input.claim.tally, failures };
  const attempt = attemptOf(input, 'failed', error);
  if (outcome.invalidPayload) return dead(input, 'invalid-payload', tally, attempt);
  if (!outcome.retryable || isListed(error, input.options.notRetryable)) {
    return dead(input, 'not-retryable', tally, attempt);
  }
  return retryOrDie(input, tally, attempt, failures, input.options.maxAttempts, 'failed');
}

function aborted(input: TransitionInput, outcome: Extract<ItemOutcome, { kind: 'aborted' }>): Settlement {
  const { claim, options, now } = input;
  if (outcome.reason === 'stopped') {
    return payloadLost(input, { started: true }) ?? { claim, kind: 'released', suspect: false };
  }
  if (outcome.reason === 'cancelled') {
    return {
      ...cancelUnstarted(claim, 'cancelled', options, now),
      attempt: attemptOf(input, 'cancelled'),
    } as Settlement;
  }
  const error = { name: 'TimeoutError', message: `Ran longer than timeoutMs = ${options.timeoutMs} ms` };
  const failures = claim.tally.failures + 1;
  const tally = { ...claim.tally, failures };
  const attempt = attemptOf(input, 'timed-out', error);
  return retryOrDie(input, tally, attempt, failures, options.maxAttempts, 'timed-out');
}

function crashed(input: TransitionInput, error: StoredError): Settlement {
  const crashes = input.claim.tally.crashes + 1;
  const tally = { ...input.claim.tally, crashes };
  return retryOrDie(
    input,
    tally,
    attemptOf(input, 'crashed', error),
    crashes,
    input.options.maxCrashes,
    'crashed',
  );
}

function retryOrDie(
  input: TransitionInput,
  tally: Tally,
  attempt: Attempt,
  count: number,
  limit: number,
  reason: DeadReason,
): Settlement {
  if (count >= limit) return dead(input, reason, tally, attempt);
  if (input.claim.transfer !== undefined && isMoved(input))
    return dead(input, 'payload-lost', tally, attempt);
  const runAt = input.now + retryDelayMs(input, count, attempt.error);
  return { claim: input.claim, kind: 'scheduled', runAt, tally, attempt, ...kept(input, false) };
}

/**
 * The user's own backoff where there is a sound one, else the policy. A throwing or absurd hook falls back.
 */
function retryDelayMs(input: TransitionInput, count: number, error: StoredError | undefined): number {
  if (input.customBackoff !== undefined) {
    try {
      const delayMs = input.customBackoff(count, error);
      if (Number.isFinite(delayMs) && delayMs >= 0) return Math.ceil(delayMs);
    } catch {
      // The hook is the user's code; its failure must not lose the retry.
    }
  }
  return backoffMs(input.options.backoff, count, input.random);
}

function dead(input: TransitionInput, reason: DeadReason, tally: Tally, attempt: Attempt): Settlement {
  const { claim, options, now } = input;
  const expiresAt = now + options.retentionMs.dead;
  return { claim, kind: 'dead', reason, settledAt: now, expiresAt, tally, attempt, ...kept(input, false) };
}

/** A buffer moved to a thread that did not finish is gone: such a task cannot run again. */
function payloadLost(input: TransitionInput, outcome: { readonly started: boolean }): Settlement | undefined {
  if (input.claim.transfer === undefined || !outcome.started || !isMoved(input)) return undefined;
  return dead(input, 'payload-lost', input.claim.tally, attemptOf(input, 'interrupted'));
}

function isMoved(input: TransitionInput): boolean {
  return input.claim.attempt >= input.options.maxAttempts;
}

function attemptOf(input: TransitionInput, outcome: Attempt['outcome'], error?: StoredError): Attempt {
  const { item, claim } = input;
  const base = { attempt: claim.attempt, startedAt: item.startedAt, runMs: item.runMs, outcome };
  return error === undefined ? base : { ...base, error };
}

function kept(input: TransitionInput, withNext = true): object {
  const { extras } = input.item;
  const next = withNext ? input.next : undefined;
  if (extras === undefined && next === undefined) return NOTHING;
  return {
    ...(extras?.progress === undefined ? {} : { progress: extras.progress }),
    ...(extras?.logs === undefined ? {} : { logs: extras.logs }),
    ...(next === undefined ? {} : { next }),
  };
}
const NOTHING = Object.freeze({});

function isListed(error: StoredError, list: readonly string[]): boolean {
  return (
    list.length > 0 &&
    (list.includes(error.name) || (typeof error.code === 'string' && list.includes(error.code)))
  );
}

function codeOf(outcome: { readonly code?: string | number }): { code?: string | number } {
  return outcome.code === undefined ? {} : { code: outcome.code };
}
