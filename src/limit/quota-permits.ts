/**
 * The part of a quota that this process may use without asking: points are reserved ahead, 1 % of the limit
 * and at least the cost of one start, before half of the last are used: so steady load does not wait for the
 * count, and a crash loses at most 2 %.
 *
 * The window only moves on: a wall clock that is set back stays in the later window, and nothing is given
 * twice.
 */
import type { Quota } from '../task/limit-rule.js';
import type { PermitHost } from './permit-host.js';
import type { Limiter } from './quota.js';

/** How soon the count is asked again that could not be asked. */
const ASK_AGAIN_MS = 1_000;

export class QuotaPermits {
  readonly #host: PermitHost;
  readonly #limiter: Limiter;
  readonly #scope: string;
  #quota: Quota;
  #window = Number.NEGATIVE_INFINITY;
  /** Reserved and not used, in this window. */
  #left = 0;
  #isAsking = false;
  /** So many points are not there in this window. */
  #refused = Number.POSITIVE_INFINITY;
  #askAgainAt = Number.NEGATIVE_INFINITY;

  constructor(host: PermitHost, limiter: Limiter, scope: string, quota: Quota) {
    this.#host = host;
    this.#limiter = limiter;
    this.#scope = scope;
    this.#quota = quota;
  }

  /** A limit holds from now on; with another length of its windows the count begins anew. */
  setQuota(quota: Quota): void {
    if (quota.perMs !== this.#quota.perMs) {
      this.#window = Number.NEGATIVE_INFINITY;
      this.#left = 0;
    } else if (quota.limit < this.#quota.limit && this.#left > 0) {
      // What was reserved under the higher limit may be beyond the lower one: it is counted anew.
      const left = this.#left;
      this.#left = 0;
      this.#limiter.giveBack(this.#scope, this.#quota, this.#window, left).catch(() => {});
    }
    this.#quota = quota;
    this.#refused = Number.POSITIVE_INFINITY;
  }

  /** As {@link BucketPermits.lackMs}. */
  lackMs(cost: number, owed: number): number {
    const { clock } = this.#host;
    this.#turn(clock.now());
    const need = this.#costOf(cost);
    if (this.#left >= need + owed) return 0;
    if (need >= this.#refused) return Math.max(1, (this.#window + 1) * this.#quota.perMs - clock.now());
    const waitMs = this.#askAgainAt - clock.monotonic();
    if (waitMs > 0) return waitMs;
    // Those who are about to take first may take less than they might.
    if (owed === 0 || this.#left < need) this.#ask(need);
    return Number.POSITIVE_INFINITY;
  }

  /** @returns how many points were taken, and in which window. */
  take(cost: number): { readonly points: number; readonly window: number } {
    const points = this.#costOf(cost);
    this.#left -= points;
    if (this.#left * 2 <= this.#ahead && this.#refused === Number.POSITIVE_INFINITY) {
      this.#ask(this.#left + 1);
    }
    return { points, window: this.#window };
  }

  giveBack({ points, window }: { readonly points: number; readonly window: number }): void {
    if (window !== this.#window) return;
    this.#left += points;
    this.#refused = Number.POSITIVE_INFINITY;
  }

  /** Nothing is to be remembered of it: its window is over. */
  get isOver(): boolean {
    return !this.#isAsking && Math.floor(this.#host.clock.now() / this.#quota.perMs) > this.#window;
  }

  drop(): Promise<void> {
    return this.#limiter.forget(this.#scope);
  }

  /** Nothing is used any more: what is reserved is given back. */
  async close(): Promise<void> {
    const left = this.#left;
    this.#left = 0;
    if (left > 0) await this.#limiter.giveBack(this.#scope, this.#quota, this.#window, left);
  }

  get #ahead(): number {
    return Math.max(1, Math.floor(this.#quota.limit / 100));
  }

  #costOf(cost: number): number {
    return Math.min(cost, this.#quota.limit);
  }

  #turn(now: number): void {
    const window = Math.floor(now / this.#quota.perMs);
    if (window <= this.#window) return;
    this.#window = window;
    this.#left = 0;
    this.#refused = Number.POSITIVE_INFINITY;
  }

  /** @param need  Points to have then, with those that are there. */
  #ask(need: number): void {
    if (this.#isAsking) return;
    const least = need - this.#left;
    this.#isAsking = true;
    const { limit, perMs } = this.#quota;
    const [quota, window] = [this.#quota, this.#window];
    const most = Math.max(least, this.#ahead);
    const told = (granted: number, isKnown: boolean): void => {
      this.#isAsking = false;
      const isSame = window === this.#window && perMs === this.#quota.perMs;
      if (!isKnown) this.#askAgainAt = this.#host.clock.monotonic() + ASK_AGAIN_MS;
      else if (isSame && limit === this.#quota.limit) {
        this.#left += granted;
        if (granted === 0) this.#refused = need;
      } else if (granted > 0) {
        // Counted under another rule or in another window: not to be used under this one.
        this.#limiter.giveBack(this.#scope, quota, window, granted).catch(() => {});
      }
      this.#host.changed();
    };
    this.#limiter.reserve({ scope: this.#scope, quota, window, least, most }).then(
      (granted) => told(granted, true),
      () => told(0, false),
    );
  }
}
