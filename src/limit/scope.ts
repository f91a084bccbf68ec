/**
 * One scope: all tasks, those of a queue, of a name, or of one key. Its permits, counted, and as a gate the
 * lanes that wait for them in turn.
 *
 * A lane that may go on is *resumed*: it stands in the broker's line again and has not taken its permit yet.
 * What the resumed ones are about to take is owed to them, so that not more lanes are resumed than there are
 * permits.
 */
import type { LimitRule } from '../task/limit-rule.js';
import { BucketPermits, rateIn } from './bucket-permits.js';
import type { PermitHost } from './permit-host.js';
import type { Limiter } from './quota.js';
import { QuotaPermits } from './quota-permits.js';
import { Turns, type Waiter } from './turns.js';

/** Facts of token buckets; the scope follows. */
export const BUCKET_PREFIX = 'limit/bucket/';
/** A scope is kept so long after it was asked last. */
const KEPT_MS = 10_000;
/**
 * Where lanes come in moves on with each start, up to this far before the virtual time: were it that, those
 * behind it would wait for as long as new lanes come in.
 */
const AHEAD = 1 / 8;
/** So many passes are kept before old ones are looked for. */
const MIN_PASSES = 64;

/** What one start has taken of one scope. */
export interface Taken {
  readonly scope: Scope;
  readonly lane: string;
  /** How far its lane has moved on by it. */
  readonly stride: number;
  readonly tokens: number;
  readonly quota: ReturnType<QuotaPermits['take']> | undefined;
}

export class Scope {
  readonly id: string;
  readonly turns = new Turns();
  /** Resumed lanes that had nothing to start, in a row: so many more are resumed at once next time. */
  misses = 0;
  /** When it is looked at again, monotonic ms. */
  dueAt = Number.POSITIVE_INFINITY;
  /** Let go of: another one with this id may be made. */
  isDropped = false;
  readonly #host: PermitHost;
  readonly #limiter: Limiter;
  #concurrency = Number.POSITIVE_INFINITY;
  #bucket: BucketPermits | undefined;
  #quota: QuotaPermits | undefined;
  /** Whether the rule has them now; they are kept, so that one set again is the one that was removed. */
  #isPaced = false;
  #isCounted = false;
  #inUse = 0;
  /** When it was last asked, monotonic ms. */
  #askedAt: number;
  /** By lane; made when there is one, as there may be many scopes. */
  #resumed: Map<string, Waiter> | undefined;
  #owed = 0;
  /** Stride scheduling among its lanes; see `turns.ts`. */
  #virtualTime = 0;
  /** Where lanes come in, once the virtual time has not passed it. */
  #entry = 0;
  #passes: Map<string, number> | undefined;
  #passLimit = MIN_PASSES;

  /** @param stored  The fact of its bucket that an earlier process left. */
  constructor(host: PermitHost, limiter: Limiter, id: string, rule: LimitRule, stored?: Uint8Array) {
    this.id = id;
    this.#host = host;
    this.#limiter = limiter;
    this.#askedAt = host.clock.monotonic();
    const rate = rule.tokenBucket ?? (stored === undefined ? undefined : rateIn(stored));
    if (rate !== undefined) this.#bucket = new BucketPermits(host, BUCKET_PREFIX + id, rate, stored);
    this.setRule(rule);
  }

  /** Holds from now on. What runs goes on, and counts. */
  setRule({ concurrency, tokenBucket, quota }: LimitRule): void {
    this.#concurrency = concurrency ?? Number.POSITIVE_INFINITY;
    this.#isPaced = tokenBucket !== undefined;
    if (tokenBucket !== undefined) {
      this.#bucket ??= new BucketPermits(this.#host, BUCKET_PREFIX + this.id, tokenBucket, undefined);
      this.#bucket.setRate(tokenBucket);
    }
    this.#isCounted = quota !== undefined;
    if (quota !== undefined) {
      this.#quota ??= new QuotaPermits(this.#host, this.#limiter, this.id, quota);
      this.#quota.setQuota(quota);
    }
  }

  /**
   * Milliseconds until a start of this cost may have its permits, 0 for at once; Infinity when not time, but
   * something that is told brings them.
   * @param isNext  Those of the lanes that were resumed before are theirs.
   */
  lackMs(cost: number, isNext: boolean): number {
    this.#askedAt = this.#host.clock.monotonic();
    const ahead = isNext ? this.resumedCount : 0;
    const owed = isNext ? this.#owed : 0;
    if (this.#inUse + ahead >= this.#concurrency) return Number.POSITIVE_INFINITY;
    const paceMs = this.#isPaced ? this.#bucket!.lackMs(cost, owed) : 0;
    return Math.max(paceMs, this.#isCounted ? this.#quota!.lackMs(cost, owed) : 0);
  }

  hasResumed(lane: string): boolean {
    return this.#resumed?.has(lane) === true;
  }

  /** One starts: `lackMs` was 0. */
  take(lane: string, weight: number, cost: number): Taken {
    this.#passed(lane, weight);
    this.leave(lane);
    this.misses = 0;
    this.#inUse++;
    const tokens = this.#isPaced ? this.#bucket!.take(cost) : 0;
    const quota = this.#isCounted ? this.#quota!.take(cost) : undefined;
    return { scope: this, lane, stride: 1 / weight, tokens, quota };
  }

  /** One that runs already counts as well, from now on. */
  takeLate(): Taken {
    this.#inUse++;
    return { scope: this, lane: '', stride: 0, tokens: 0, quota: undefined };
  }

  ended({ lane, stride, tokens, quota }: Taken, hasStarted: boolean): void {
    this.#inUse--;
    if (hasStarted) return;
    // It was not its turn after all.
    const pass = this.#passes?.get(lane);
    // Not a rounding below the time: then it would come in anew.
    if (pass !== undefined) this.#passes!.set(lane, Math.max(pass - stride, this.#virtualTime));
    if (tokens > 0) this.#bucket?.giveBack(tokens);
    if (quota !== undefined) this.#quota?.giveBack(quota);
  }

  /** Where a lane stands among those that wait: one that has not just had its turn comes in anew. */
  passOf(lane: string): number {
    const own = this.#passes?.get(lane) ?? -1;
    return own >= this.#virtualTime ? own : Math.max(this.#entry, this.#virtualTime);
  }

  resume(waiter: Waiter): void {
    this.turns.leave(waiter);
    this.#resumed ??= new Map();
    this.#resumed.set(waiter.id, waiter);
    this.#owed += waiter.cost;
  }

  /** A resumed lane has taken its permit, or waits elsewhere. @returns whether it was one. */
  leave(lane: string): boolean {
    const waiter = this.#resumed?.get(lane);
    if (waiter === undefined) return false;
    this.#resumed!.delete(lane);
    this.#owed -= waiter.cost;
    return true;
  }

  /**
   * Claims have found nothing more in the lanes that are resumed. Those of queues that were skipped have not
   * been looked at: they keep their places, unless lanes of other queues wait here that could have them.
   */
  foundNothing(skipped: ReadonlySet<string>): void {
    const keeps = skipped.size > 0 && this.turns.areOf(skipped);
    const before = this.resumedCount;
    for (const { id, queue } of this.#resumed?.values() ?? []) {
      if (!keeps || !skipped.has(queue)) this.leave(id);
    }
    const missed = before - this.resumedCount;
    if (missed > 0) this.misses = 2 * this.misses + missed;
  }

  get resumedCount(): number {
    return this.#resumed?.size ?? 0;
  }

  /**
   * Nothing runs or waits, nothing is to be remembered, and nobody has asked for a while: what is reserved
   * here may be for a lane that waits at another gate.
   */
  get isIdle(): boolean {
    if (this.#host.clock.monotonic() - this.#askedAt < KEPT_MS) return false;
    if (this.#inUse > 0 || this.turns.size > 0 || this.resumedCount > 0) return false;
    return (this.#bucket?.isFull ?? true) && (this.#quota?.isOver ?? true);
  }

  async drop(): Promise<void> {
    this.isDropped = true;
    await Promise.all([this.#bucket?.drop(), this.#quota?.drop()]);
  }

  async close(): Promise<void> {
    await Promise.all([this.#bucket?.close(), this.#quota?.close()]);
  }

  #passed(lane: string, weight: number): void {
    const pass = Math.max(this.#resumed?.get(lane)?.pass ?? 0, this.#virtualTime);
    this.#virtualTime = pass;
    this.#entry = Math.min(Math.max(this.#entry, pass) + 1 / (this.turns.size + 1), pass + AHEAD);
    // Of a key, only the lines of several queues take turns.
    if (this.turns.size === 0 && this.#passes === undefined) return;
    this.#passes ??= new Map();
    this.#passes.set(lane, pass + 1 / weight);
    if (this.#passes.size <= this.#passLimit) return;
    for (const [other, at] of this.#passes) if (at <= pass) this.#passes.delete(other);
    this.#passLimit = Math.max(MIN_PASSES, 2 * this.#passes.size);
  }
}

/** Whether a rule limits anything. */
export function isLimiting({ tokenBucket, concurrency, quota }: LimitRule): boolean {
  const isBounded = concurrency !== undefined && concurrency !== Number.POSITIVE_INFINITY;
  return tokenBucket !== undefined || quota !== undefined || isBounded;
}
