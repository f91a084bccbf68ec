/**
 * A token bucket that outlives the process. In memory it is exact, on the monotonic clock; the fact beside it
 * holds the level of a moment, how much may have been taken since, and the rate:
 *
 *     after a restart:  level = min(capacity, level + refill × time since) − reserved
 *
 * A start needs tokens, and enough of them reserved by a fact that is flushed. Reserved are one second of
 * refill or 1 % of the capacity, whichever is more, and at least the cost of one start: so many tokens a
 * crash loses at most, and steady load writes at most twice a second, ahead of its need. The time between
 * two processes is that of the wall clock: set forward, it fills the bucket, never beyond its capacity.
 */
import type { BucketRate } from '../task/limit-rule.js';
import type { PermitHost } from './permit-host.js';
import { Reserve } from './reserve.js';
import { TokenBucket } from './token-bucket.js';

/** How soon a write is tried again that failed. */
const WRITE_AGAIN_MS = 1_000;

export class BucketPermits {
  readonly #host: PermitHost;
  readonly #key: string;
  readonly #bucket: TokenBucket;
  readonly #reserve = new Reserve();
  /** Something is stored that says less than a full bucket. */
  #isStored: boolean;
  #writeAgainAt = Number.NEGATIVE_INFINITY;

  /** @param stored  The fact that an earlier process left; without one, the bucket is full. */
  constructor(host: PermitHost, key: string, rate: BucketRate, stored: Uint8Array | undefined) {
    this.#host = host;
    this.#key = key;
    this.#isStored = stored !== undefined;
    const level = stored === undefined ? rate.capacity : levelOf(stored, rate, host.clock.now());
    this.#bucket = new TokenBucket(rate, level, host.clock.monotonic());
  }

  setRate(rate: BucketRate): void {
    const { capacity, refillPerSec } = this.#bucket.rate;
    if (rate.capacity === capacity && rate.refillPerSec === refillPerSec) return;
    this.#bucket.setRate(rate, this.#host.clock.monotonic());
  }

  /**
   * Milliseconds until a start of this cost may have its tokens, 0 for at once; Infinity when a write is
   * under way, whose end is told to the host.
   * @param owed  Tokens that others are about to take before.
   */
  lackMs(cost: number, owed: number): number {
    const now = this.#host.clock.monotonic();
    const need = this.#bucket.costOf(cost);
    const waitMs = this.#bucket.waitMs(need + owed, now);
    if (waitMs > 0) return waitMs;
    // The bucket never holds as much: they take theirs first.
    if (this.#bucket.level(now) < need + owed) return Number.POSITIVE_INFINITY;
    if (this.#reserve.covers(need)) return 0;
    if (this.#reserve.isWriting) return Number.POSITIVE_INFINITY;
    if (now < this.#writeAgainAt) return this.#writeAgainAt - now;
    this.#write(need);
    return Number.POSITIVE_INFINITY;
  }

  /** @returns how many tokens were taken. */
  take(cost: number): number {
    const taken = this.#bucket.take(cost, this.#host.clock.monotonic());
    this.#reserve.take(taken);
    if (this.#reserve.isLow) this.#write(1);
    return taken;
  }

  giveBack(taken: number): void {
    this.#bucket.giveBack(taken, this.#host.clock.monotonic());
    this.#reserve.giveBack(taken);
  }

  /** Nothing is to be remembered of it: without a fact it is full as well. */
  get isFull(): boolean {
    const { capacity } = this.#bucket.rate;
    return !this.#reserve.isWriting && this.#bucket.level(this.#host.clock.monotonic()) >= capacity;
  }

  /** It is let go of, full. */
  async drop(): Promise<void> {
    this.#reserve.clear();
    if (this.#isStored) await this.#host.delete(this.#key);
  }

  /** Nothing is taken any more: what is reserved and was not taken is not lost. */
  async close(): Promise<void> {
    if (!this.#isStored) return;
    if (this.isFull) return this.drop();
    this.#reserve.clear();
    await this.#host.put(this.#key, this.#fact(0));
  }

  #write(need: number): void {
    const { capacity, refillPerSec } = this.#bucket.rate;
    const ahead = Math.floor(Math.min(capacity, Math.max(refillPerSec, capacity / 100)));
    const reserved = Math.max(need, ahead);
    const done = this.#reserve.begin(reserved);
    this.#isStored = true;
    const told = (isFlushed: boolean): void => {
      if (!isFlushed) this.#writeAgainAt = this.#host.clock.monotonic() + WRITE_AGAIN_MS;
      done(isFlushed);
      this.#host.changed();
    };
    this.#host.put(this.#key, this.#fact(reserved)).then(
      () => told(true),
      () => told(false),
    );
  }

  #fact(reserved: number): Uint8Array {
    const { clock } = this.#host;
    const { capacity, refillPerSec } = this.#bucket.rate;
    const level = this.#bucket.level(clock.monotonic());
    const bytes = new Uint8Array(40);
    const view = new DataView(bytes.buffer);
    for (const [index, number] of [level, reserved, clock.now(), capacity, refillPerSec].entries()) {
      view.setFloat64(8 * index, number);
    }
    return bytes;
  }
}

/** The rate that held when a fact was written. */
export function rateIn(fact: Uint8Array): BucketRate {
  const [, , , capacity, refillPerSec] = numbersOf(fact);
  return { capacity, refillPerSec };
}

/** Whether a bucket that nobody has used since is full again, all that may have been taken included. */
export function isFullSince(fact: Uint8Array, now: number): boolean {
  const rate = rateIn(fact);
  return refilled(fact, rate, now) - reservedIn(fact) >= rate.capacity;
}

/**
 * What a fact says of the tokens at `now`, of the wall clock. One that was set back gives nothing. Where the
 * rate is another now, nobody knows since when: the lower one counts.
 */
function levelOf(fact: Uint8Array, rate: BucketRate, now: number): number {
  const then = rateIn(fact);
  const capacity = Math.min(rate.capacity, then.capacity);
  const refillPerSec = Math.min(rate.refillPerSec, then.refillPerSec);
  return Math.min(capacity, refilled(fact, { capacity, refillPerSec }, now)) - reservedIn(fact);
}

function refilled(fact: Uint8Array, { refillPerSec }: BucketRate, now: number): number {
  const [level, , at] = numbersOf(fact);
  return level + (Math.max(0, now - at) * refillPerSec) / 1_000;
}

function reservedIn(fact: Uint8Array): number {
  return numbersOf(fact)[1];
}

function numbersOf(fact: Uint8Array): readonly [number, number, number, number, number] {
  const view = new DataView(fact.buffer, fact.byteOffset, fact.byteLength);
  const at = (index: number): number => view.getFloat64(8 * index);
  return [at(0), at(1), at(2), at(3), at(4)];
}
