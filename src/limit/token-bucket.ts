/**
 * The arithmetic of a token bucket: tokens flow in steadily up to a capacity, each start takes some out.
 * Pure: time comes as an argument, on a clock of the caller's choice. Knows nothing of stores, lanes and
 * waiting.
 *
 * Over any window of length W at most `capacity + refillPerSec × W` tokens are taken.
 *
 * The level is computed from one point of reference, level(now) = reference + refill since − taken since, and
 * not added up step by step: however often it is asked, rounding does not pile up into a token.
 * @source  "Token bucket": Turner, "New Directions in Communications", IEEE Communications Magazine, 1986.
 */
import assert from 'node:assert/strict';
import type { BucketRate } from '../task/limit-rule.js';

const ROUNDING_MS = 1e-6;
/** The point of reference moves when so many tokens were taken since: sums stay exact to 10^-9. */
const MAX_TAKEN = 1_000_000;

export class TokenBucket {
  #rate: BucketRate;
  /** The point of reference. */
  #level: number;
  #at: number;
  #taken = 0;
  /** The latest time that was seen. */
  #now: number;

  /**
   * @param level  Tokens in it at `now`: negative when more are spoken for than there are.
   * @param now    Milliseconds, as in all that follows. A time before an earlier one counts as that one.
   */
  constructor(rate: BucketRate, level: number, now: number) {
    this.#rate = rate;
    this.#level = Math.min(level, rate.capacity);
    this.#at = this.#now = now;
  }

  get rate(): BucketRate {
    return this.#rate;
  }

  level(now: number): number {
    return Math.min(this.#rate.capacity, this.#sum(now));
  }

  /** What a start really takes: more than the bucket holds counts as all that it holds. */
  costOf(tokens: number): number {
    return Math.min(tokens, this.#rate.capacity);
  }

  /** Milliseconds until so many tokens are in it, rounded up; 0 when they are. */
  waitMs(tokens: number, now: number): number {
    const missing = this.costOf(tokens) - this.level(now);
    if (missing <= 0) return 0;
    // A sum that is off by a little does not make it a millisecond more.
    return Math.max(1, Math.ceil((missing * 1_000) / this.#rate.refillPerSec - ROUNDING_MS));
  }

  /** Only what is in it may be taken: ask `waitMs` before. @returns how many were taken. */
  take(tokens: number, now: number): number {
    const cost = this.costOf(tokens);
    const level = this.level(now);
    assert(level >= cost, 'more tokens are taken than there are');
    if (level >= this.#rate.capacity || this.#taken > MAX_TAKEN) this.#refer(level);
    this.#taken += cost;
    return cost;
  }

  /** @param taken  What `take` returned, of a start that was none. */
  giveBack(taken: number, now: number): void {
    this.#taken -= taken;
    if (this.#sum(now) >= this.#rate.capacity) this.#refer(this.#rate.capacity);
  }

  /** Holds from now on; what is in it stays, as far as it has room. */
  setRate(rate: BucketRate, now: number): void {
    this.#refer(Math.min(this.level(now), rate.capacity));
    this.#rate = rate;
  }

  #sum(now: number): number {
    this.#now = Math.max(this.#now, now);
    // Multiplied before it is divided: whole milliseconds at a round rate give round tokens.
    const refilled = ((this.#now - this.#at) * this.#rate.refillPerSec) / 1_000;
    return this.#level + refilled - this.#taken;
  }

  /** @param level  What the sum is now. */
  #refer(level: number): void {
    this.#level = level;
    this.#at = this.#now;
    this.#taken = 0;
  }
}
