/** How a claim ends, with everything that follows from it. Part of the port `Broker`. */
import type { EpochMs } from '../clock.js';
import type { Attempt, LogLine, NewTask, Tally } from '../task/task.js';
import type { Claim } from './broker.js';

/**
 * The end of a claim. Made by `task/transition.ts`; carries every effect, so that a backend only persists.
 * `released` gives the task back to its place in the line, uncharged; all others record the attempt.
 */
export type Settlement = {
  readonly claim: Claim;
} /** The broker owns the bytes of `result` from here on. */ & (
  | ({ readonly kind: 'completed'; readonly result: Uint8Array } & Final & Effects)
  | ({ readonly kind: 'dead'; readonly reason: string } & Final & Effects)
  | ({ readonly kind: 'cancelled'; readonly reason: string } & Final & Effects)
  /** Ready again at `runAt`, behind all that is ready then. */
  | ({ readonly kind: 'scheduled'; readonly runAt: EpochMs; readonly tally: Tally } & Effects)
  | { readonly kind: 'released'; readonly suspect: boolean }
);

interface Final {
  readonly settledAt: EpochMs;
  /** When it may be pruned; Infinity is never. */
  readonly expiresAt: EpochMs;
  readonly tally: Tally;
}

/** Told of a settlement whose claim ends otherwise. */
export type Otherwise = (given: Settlement, ending: Settlement) => void;

interface Effects {
  /** Absent when the task never started, for example because it was stale. */
  readonly attempt?: Attempt;
  readonly progress?: unknown;
  readonly logs?: readonly LogLine[];
  /**
   * `context.enqueue`: accepted with this settlement or not at all. When those with `inFlow` are more than a
   * flow takes, or would make too many edges, the task is dead instead, reason `flow-full`.
   */
  readonly next?: readonly NewTask[];
}
