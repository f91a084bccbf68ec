/** What listeners are told of a settlement. */
import type { Settlement } from '../broker/broker.js';
import type { EpochMs } from '../clock.js';
import type { RuntimeEvent } from './events.js';

/** The kinds that {@link eventOf} makes. */
export const SETTLEMENT_KINDS = ['completed', 'retrying', 'snoozed', 'dead', 'cancelled'] as const;

/** Nothing for a task that goes back uncharged: to its listeners it has not moved. */
export function eventOf(settlement: Settlement, at: EpochMs): RuntimeEvent | undefined {
  if (settlement.kind === 'released') return undefined;
  const { claim, attempt } = settlement;
  const of = { taskId: claim.id, name: claim.name, queue: claim.queue, at };
  switch (settlement.kind) {
    case 'completed':
      return { kind: 'completed', attempt: claim.attempt, runMs: attempt?.runMs ?? 0, ...of };
    case 'dead':
      return { kind: 'dead', reason: settlement.reason, error: attempt?.error, ...of };
    case 'cancelled':
      return { kind: 'cancelled', reason: settlement.reason, ...of };
    case 'scheduled': {
      const nextAttemptAt = settlement.runAt;
      if (attempt?.outcome === 'snoozed') return { kind: 'snoozed', nextAttemptAt, ...of };
      return {
        kind: 'retrying',
        attempt: claim.attempt,
        error: attempt?.error,
        nextAttemptAt,
        ...of,
      };
    }
  }
}
