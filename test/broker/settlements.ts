/** Settlements for tests of the broker. */
import type { Claim, Settlement } from '#src/broker/broker.js';

/** The claim's first attempt completed; its result is its own payload. */
export function completed(claim: Claim): Settlement {
  const attempt = { attempt: 1, startedAt: 1, runMs: 1, outcome: 'completed' } as const;
  return {
    claim,
    kind: 'completed',
    result: claim.body,
    settledAt: 1,
    expiresAt: 9e9,
    tally: claim.tally,
    attempt,
  };
}
