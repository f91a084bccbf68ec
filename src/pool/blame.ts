/** What becomes of the items of a thread that died. */
import type { PoolBatch } from './batch.js';
import { RELEASED, RELEASED_AFTER_START } from './outcome.js';
import type { ItemOutcome } from './pool.js';
import type { Death } from './thread.js';

/** How many tasks a thread ran when it died, and since it began. */
export interface Ran {
  readonly now: number;
  readonly ever: number;
}

/**
 * Who is charged for a death: nobody when we ended the thread, the one that ran when it ended by itself.
 * Where it could have been another one, all that ran are suspect instead: each runs alone, and is charged if
 * it happens again.
 */
export function blame<Token>(
  batch: PoolBatch<Token>,
  index: number,
  wasRunning: boolean,
  death: Death,
  ran: Ran,
): ItemOutcome {
  if (!wasRunning) return RELEASED;
  const order = batch.orderOf(index);
  if (order !== undefined) return { kind: 'aborted', reason: order.reason, threadKilled: true };
  if (death.expected) return RELEASED_AFTER_START;
  const isStray = death.isStray === true && ran.ever > 1 && batch.items[index]?.isSuspect !== true;
  if (ran.now > 1 || isStray) return { kind: 'released', started: true, suspect: true };
  return { kind: 'crashed', detail: death.detail, ...(death.code === undefined ? {} : { code: death.code }) };
}
