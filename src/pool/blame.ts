/** What becomes of the items of a thread that died. */
import type { PoolBatch } from './batch.js';
import { RELEASED, RELEASED_AFTER_START } from './outcome.js';
import type { ItemOutcome } from './pool.js';
import type { Death } from './thread.js';

/** Who is charged for a death: nobody when we ended the thread, the one that ran when it ended by itself. */
export function blame<Token>(
  batch: PoolBatch<Token>,
  index: number,
  wasRunning: boolean,
  death: Death,
  running: number,
): ItemOutcome {
  if (!wasRunning) return RELEASED;
  const order = batch.orderOf(index);
  if (order !== undefined) return { kind: 'aborted', reason: order.reason, threadKilled: true };
  if (death.expected) return RELEASED_AFTER_START;
  if (running > 1) return { kind: 'released', started: true, suspect: true };
  return { kind: 'crashed', detail: death.detail, ...(death.code === undefined ? {} : { code: death.code }) };
}
