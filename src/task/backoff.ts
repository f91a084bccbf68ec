/**
 * How long a failed task waits before its next attempt. Pure arithmetic: chance is passed in, and when the
 * wait is over is for others to notice.
 */
import { InvalidArgumentError } from '../errors.js';
import type { BackoffPolicy } from './task-options.js';

/**
 * Waiting time before the next attempt.
 *
 *     fixed         baseMs
 *     linear        baseMs × attempt
 *     exponential   baseMs × factor^(attempt − 1)
 *
 * rounded and cut at `capMs` is d. Then jitter, so that tasks that failed together do not return together:
 * `full` is uniform in [0, d], `equal` in [d/2, d], `none` is d.
 *
 * @param attempt  The attempt that just failed, from 1.
 * @param random   Uniform in [0, 1). Passed in, so that tests are exact.
 * @returns  Whole milliseconds, 0 ≤ delay ≤ policy.capMs.
 * @throws {InvalidArgumentError} `ERR_MILLRACE_INVALID_ARGUMENT` when attempt is no integer ≥ 1.
 * @source  Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 * @since   0.1.0
 */
export function backoffMs(policy: Required<BackoffPolicy>, attempt: number, random: () => number): number {
  if (!Number.isInteger(attempt) || attempt < 1) {
    throw new InvalidArgumentError('attempt', 'an integer of at least 1', attempt);
  }
  const delayMs = Math.min(policy.capMs, Math.round(growth(policy, attempt)));
  switch (policy.jitter) {
    case 'none':
      return delayMs;
    case 'full':
      return uniform(delayMs, random);
    case 'equal': {
      const keptMs = Math.floor(delayMs / 2);
      return keptMs + uniform(delayMs - keptMs, random);
    }
  }
}

function growth(policy: Required<BackoffPolicy>, attempt: number): number {
  switch (policy.kind) {
    case 'fixed':
      return policy.baseMs;
    case 'linear':
      return policy.baseMs * attempt;
    case 'exponential':
      // The power may overflow to Infinity, which the cap cuts; only 0 × Infinity would not be a number.
      return policy.baseMs === 0 ? 0 : policy.baseMs * policy.factor ** (attempt - 1);
  }
}

/** A whole number in [0, most], each as likely. */
function uniform(most: number, random: () => number): number {
  return Math.min(most, Math.floor(random() * (most + 1)));
}
