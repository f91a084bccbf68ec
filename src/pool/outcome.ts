/** Reads from a page how an item ended. */
import { ABORT_REASONS, FLAG, KIND, KIND_MASK, type Page, SEEN_SHIFT } from '../../workers/page.js';
import type { ItemOutcome } from './pool.js';

/** It never started. */
export const RELEASED: ItemOutcome = Object.freeze({ kind: 'released', started: false, suspect: false });
/** It started, and its thread died for another's sake, or its result was lost with the thread. */
export const RELEASED_AFTER_START: ItemOutcome = Object.freeze({
  kind: 'released',
  started: true,
  suspect: false,
});

/**
 * The outcome of a finished item. An abort counts only if the thread saw it before the item ended, so that
 * exactly one of "it was done" and "it was aborted" is true, and both sides say the same.
 * @param bytes  Result or error; missing when the outcome has none, or when it was posted and lost with the
 * thread.
 */
export function outcomeOf(page: Page, index: number, bytes: Uint8Array | undefined): ItemOutcome {
  const bits = page.ints[page.kind + index]!;
  const kind = bits & KIND_MASK;
  const reason = ABORT_REASONS[(bits >>> SEEN_SHIFT) - 1];
  // Work that was done before the end of a stop is kept; one that was cancelled or took too long is not.
  if (reason !== undefined && !(reason === 'stopped' && kind === KIND.completed)) {
    return { kind: 'aborted', reason, threadKilled: false };
  }
  if (kind === KIND.snoozed) return { kind: 'snoozed', delayMs: page.floats[page.delayMs + index]! };
  if (bytes === undefined) return RELEASED_AFTER_START;
  if (kind === KIND.completed) return { kind: 'completed', result: bytes };
  return {
    kind: 'failed',
    error: bytes,
    retryable: (bits & FLAG.notRetryable) === 0,
    invalidPayload: (bits & FLAG.invalidPayload) !== 0,
  };
}
