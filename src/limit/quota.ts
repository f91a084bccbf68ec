/**
 * Quotas: so many points in each window of time. Windows are aligned to multiples of their length since
 * 1970-01-01T00:00Z, so a day is a UTC day.
 *
 * The count is kept behind the port {@link Limiter}, by rate-limiter-flexible: here by its memory limiter and
 * a fact. On an engine it is one of the same library's stores, and the limit then holds for the cluster: the
 * same key, `consume` and `reward`, the window's length as `customDuration` so that the engine forgets old
 * windows, and no fact. Its own clock is not used here: the window is part of the key, and no key has a
 * duration (its timers end after 24.8 days, and know nothing of a manual clock).
 */
import type { RateLimiterMemory } from 'rate-limiter-flexible';
import type { KeyValue } from '../broker/key-value.js';
import type { Quota } from '../task/limit-rule.js';

export interface ReserveRequest {
  readonly scope: string;
  readonly quota: Quota;
  /** Number of the window: floor(now / perMs). */
  readonly window: number;
  /** With less than this nothing is reserved. */
  readonly least: number;
  readonly most: number;
}

/** Counts points, for this process or for many. */
export interface Limiter {
  /**
   * Resolves with how many points were counted, `least` to `most`; with 0 when there are not so many left in
   * this window. They stay counted after a crash.
   * @throws (rejects) when they could not be counted.
   */
  reserve(request: ReserveRequest): Promise<number>;
  /** These were not used. Resolves when that is known after a crash as well. */
  giveBack(scope: string, quota: Quota, window: number, points: number): Promise<void>;
  /** Nothing is to be known of this scope any more. */
  forget(scope: string): Promise<void>;
}

/** Facts of the local limiter; the scope follows. */
export const QUOTA_PREFIX = 'limit/quota/';

/** What the counter of a scope stands for. */
interface Counted {
  readonly perMs: number;
  readonly window: number;
}

/** The limiter of one process: counts in memory, and what is counted is written before it is used. */
export class LocalLimiter implements Limiter {
  readonly #keyValue: Pick<KeyValue, 'put' | 'delete'>;
  /** Of earlier processes, until somebody counts. */
  readonly #stored: ReadonlyMap<string, Uint8Array>;
  /** The window that each scope counts in: only the last one is kept. */
  readonly #windows = new Map<string, Counted>();
  #counter: Promise<RateLimiterMemory> | undefined;

  /** @param stored  The facts under {@link QUOTA_PREFIX}, by scope. */
  constructor(keyValue: Pick<KeyValue, 'put' | 'delete'>, stored: ReadonlyMap<string, Uint8Array>) {
    this.#keyValue = keyValue;
    this.#stored = stored;
  }

  async reserve({ scope, quota, window, least, most }: ReserveRequest): Promise<number> {
    const counter = await this.#open();
    const counted = await this.#enter(counter, scope, { perMs: quota.perMs, window });
    const key = keyOf(scope, counted);
    let granted = most;
    let now = await consume(counter, key, most, quota.limit);
    if (now.isRefused) {
      granted = Math.min(most, quota.limit - now.points);
      if (granted < least) return 0;
      now = await consume(counter, key, granted, quota.limit);
      if (now.isRefused) return 0;
    }
    await this.#keyValue.put(QUOTA_PREFIX + scope, factOf(counted, now.points));
    return granted;
  }

  async giveBack(scope: string, { perMs }: Quota, window: number, points: number): Promise<void> {
    const counter = await this.#open();
    const counted = this.#windows.get(scope);
    if (counted === undefined || counted.perMs !== perMs || counted.window < window) return;
    const { consumedPoints } = await counter.reward(keyOf(scope, counted), points);
    await this.#keyValue.put(QUOTA_PREFIX + scope, factOf(counted, consumedPoints));
  }

  async forget(scope: string): Promise<void> {
    const counted = this.#windows.get(scope);
    this.#windows.delete(scope);
    if (counted !== undefined) await (await this.#open()).delete(keyOf(scope, counted));
    await this.#keyValue.delete(QUOTA_PREFIX + scope);
  }

  /** Loads the library, which takes a tenth of a second: only who has a quota needs it. */
  #open(): Promise<RateLimiterMemory> {
    this.#counter ??= this.#load().catch((error) => {
      this.#counter = undefined;
      throw error;
    });
    return this.#counter;
  }

  async #load(): Promise<RateLimiterMemory> {
    const { RateLimiterMemory } = await import('rate-limiter-flexible');
    const counter = new RateLimiterMemory({ points: 0, duration: 0, keyPrefix: '' });
    for (const [scope, fact] of this.#stored) {
      const { points, ...counted } = readFact(fact);
      this.#windows.set(scope, counted);
      await counter.penalty(keyOf(scope, counted), points);
    }
    return counter;
  }

  /** The window to count in; never an earlier one than before: the wall clock may have been set back. */
  async #enter(counter: RateLimiterMemory, scope: string, asked: Counted): Promise<Counted> {
    const last = this.#windows.get(scope);
    if (last !== undefined && last.perMs === asked.perMs && last.window >= asked.window) return last;
    this.#windows.set(scope, asked);
    if (last !== undefined) await counter.delete(keyOf(scope, last));
    return asked;
  }
}

/** What is counted then. A count that is refused stays in the library, and is taken back. */
async function consume(
  counter: RateLimiterMemory,
  key: string,
  points: number,
  limit: number,
): Promise<{ readonly points: number; readonly isRefused: boolean }> {
  // Read by `consume` before it returns.
  counter.points = limit;
  try {
    return { points: (await counter.consume(key, points)).consumedPoints, isRefused: false };
  } catch (refusal) {
    if (refusal instanceof Error) throw refusal;
    return { points: (await counter.reward(key, points)).consumedPoints, isRefused: true };
  }
}

function keyOf(scope: string, { perMs, window }: Counted): string {
  return `${scope}@${perMs}@${window}`;
}

function factOf({ perMs, window }: Counted, points: number): Uint8Array {
  const bytes = new Uint8Array(24);
  const view = new DataView(bytes.buffer);
  view.setFloat64(0, perMs);
  view.setFloat64(8, window);
  view.setFloat64(16, points);
  return bytes;
}

function readFact(fact: Uint8Array): Counted & { readonly points: number } {
  const view = new DataView(fact.buffer, fact.byteOffset, fact.byteLength);
  return { perMs: view.getFloat64(0), window: view.getFloat64(8), points: view.getFloat64(16) };
}

/** Whether the window of a fact is over: then it says nothing. */
export function isOverSince(fact: Uint8Array, now: number): boolean {
  const { perMs, window } = readFact(fact);
  return (window + 1) * perMs <= now;
}
