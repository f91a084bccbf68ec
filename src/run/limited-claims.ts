/**
 * The dispatcher's dealings with limits beside each head's verdict: permits go to the claims that they were
 * taken for, and what a round of claims has found, or not, decides which lanes go on. Does nothing while
 * there are no limits.
 */
import type { Claim, Head, Verdict } from '../broker/broker.js';
import type { Fill } from './fill.js';
import type { Limiting } from './limiting.js';

export class LimitedClaims {
  readonly #limiting: Limiting;
  /** What the last claim was for, if it has not ended: the broker threw. */
  #fill: Fill | undefined;
  /** The claim under way was ended by a head that has to wait. */
  #hasStopped = false;
  /** Queues that the claim under way has passed over. */
  readonly #skipped = new Set<string>();
  /** Queues that all slots have passed over which found nothing; absent when none has looked at all. */
  #skippedByAll: ReadonlySet<string> | undefined;

  constructor(limiting: Limiting) {
    this.#limiting = limiting;
  }

  beginRound(): void {
    if (!this.#limiting.isUsed) return;
    const { limits } = this.#limiting;
    // What was taken for a claim that failed.
    if (this.#fill?.permit !== undefined) limits.release(this.#fill.permit);
    this.#fill = undefined;
    limits.begin();
  }

  /** Each slot is about to be filled. */
  beginPass(): void {
    this.#skippedByAll = undefined;
  }

  beginClaim(fill: Fill): void {
    this.#fill = fill;
    this.#hasStopped = false;
    this.#skipped.clear();
  }

  decided({ queue }: Head, verdict: Verdict): void {
    if (verdict === 'stop') this.#hasStopped = true;
    else if (verdict === 'skipQueue') this.#skipped.add(queue);
  }

  /** What was taken for a head is its claim's. @param endedEarly  There may be more to claim. */
  endClaim({ permit }: Fill, [claim]: readonly Claim[], endedEarly: boolean): void {
    this.#fill = undefined;
    if (!this.#limiting.isUsed) return;
    if (claim === undefined && !this.#hasStopped && !endedEarly) {
      const before = this.#skippedByAll;
      this.#skippedByAll = new Set([...this.#skipped].filter((queue) => before?.has(queue) ?? true));
    }
    if (permit === undefined) return;
    if (claim === undefined) this.#limiting.limits.release(permit);
    else this.#limiting.limits.give(claim, permit);
  }

  /** No slot has found anything: lanes that had nothing make way. @returns whether there are others. */
  opensMore(): boolean {
    const { isUsed, limits } = this.#limiting;
    if (!isUsed) return false;
    if (this.#skippedByAll !== undefined) limits.foundNothing(this.#skippedByAll);
    return limits.open();
  }
}
