/**
 * Quotas: exact in each window, over restarts and with a clock that is set back. Real library, real store.
 */
import { describe, expect, it } from 'vitest';
import type { KeyValue } from '#src/broker/key-value.js';
import { openMemory } from '#src/broker/memory.js';
import { ManualClock } from '#src/clock.js';
import { LocalLimiter, QUOTA_PREFIX } from '#src/limit/quota.js';
import { QuotaPermits } from '#src/limit/quota-permits.js';
import type { Quota } from '#src/task/limit-rule.js';

const DAY_MS = 86_400_000;
const SCOPE = 'key/mail\0acme';

/** Processes that follow one another on one store. */
class Life {
  readonly clock = new ManualClock(Date.UTC(2026, 0, 1, 12));
  readonly keyValue: KeyValue = openMemory({
    limits: { maxPendingEnqueues: 100, maxPendingBytes: 1e6 },
    now: () => 0,
  }).keyValue;
  quota: Quota;
  permits!: QuotaPermits;
  puts = 0;

  constructor(quota: Quota) {
    this.quota = quota;
  }

  async begin(): Promise<this> {
    const stored = new Map<string, Uint8Array>();
    for (const { key, fact } of await this.keyValue.list(QUOTA_PREFIX, 1_000)) {
      stored.set(key.slice(QUOTA_PREFIX.length), fact.value);
    }
    const put = (key: string, value: Uint8Array) => {
      this.puts++;
      return this.keyValue.put(key, value);
    };
    const remove = (key: string) => this.keyValue.delete(key);
    const limiter = new LocalLimiter({ put, delete: remove }, stored);
    const host = { clock: this.clock, put, delete: remove, changed: () => this.#wake() };
    this.permits = new QuotaPermits(host, limiter, SCOPE, this.quota);
    return this;
  }

  /** As many starts as may, up to `most`; waits for the count but not for time. */
  async startAll(most = Number.POSITIVE_INFINITY, cost = 1): Promise<number> {
    for (let count = 0; ; ) {
      if (count === most) return count;
      const told = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const ms = this.permits.lackMs(cost, 0);
      if (ms === 0) {
        this.permits.take(cost);
        count++;
      } else if (ms === Number.POSITIVE_INFINITY) await told;
      else return count;
    }
  }
  #wake: () => void = () => {};

  /** Nothing is under way any more. */
  async settle(): Promise<void> {
    for (let turns = 0; turns < 5; turns++) await new Promise(setImmediate);
  }
}

describe('a quota', () => {
  it('lets exactly its limit through in a window, and again in the next one', async () => {
    const life = await new Life({ limit: 250, perMs: DAY_MS }).begin();
    expect(await life.startAll()).toBe(250);
    expect(life.permits.lackMs(1, 0)).toBe(DAY_MS / 2);
    life.clock.advance(DAY_MS / 2 - 1);
    expect(await life.startAll()).toBe(0);
    life.clock.advance(1);
    expect(await life.startAll()).toBe(250);
  });

  it('begins a window at a multiple of its length, in UTC', async () => {
    const life = await new Life({ limit: 3, perMs: 3_600_000 }).begin();
    life.clock.advance(59 * 60_000);
    expect(await life.startAll()).toBe(3);
    life.clock.advance(60_000);
    expect(new Date(life.clock.now()).toISOString()).toBe('2026-01-01T13:00:00.000Z');
    expect(await life.startAll()).toBe(3);
  });

  it('counts on after a restart, and loses at most 2 % to a crash', async () => {
    const life = await new Life({ limit: 1_000, perMs: DAY_MS }).begin();
    let total = 0;
    for (let process = 0; process < 10; process++) {
      total += await life.startAll(33);
      await life.settle();
      await life.begin();
    }
    total += await life.startAll();
    expect(total).toBeLessThanOrEqual(1_000);
    expect(total).toBeGreaterThanOrEqual(1_000 - 10 * 2 * 10);
  });

  it('loses nothing when it is stopped', async () => {
    const life = await new Life({ limit: 1_000, perMs: DAY_MS }).begin();
    let total = 0;
    for (let process = 0; process < 10; process++) {
      total += await life.startAll(33);
      await life.settle();
      await life.permits.close();
      await life.begin();
    }
    expect(total + (await life.startAll())).toBe(1_000);
  });

  it('writes once for each percent, not for each start', async () => {
    const life = await new Life({ limit: 10_000, perMs: DAY_MS }).begin();
    await life.startAll();
    expect(life.puts).toBeLessThanOrEqual(110);
  });

  it('takes costs, and one above its limit as all of it', async () => {
    const life = await new Life({ limit: 100, perMs: DAY_MS }).begin();
    expect(await life.startAll(Number.POSITIVE_INFINITY, 30)).toBe(3);
    // What is too little for one is enough for another.
    expect(await life.startAll()).toBe(10);
    life.clock.advance(DAY_MS);
    expect(await life.startAll(Number.POSITIVE_INFINITY, 1_000)).toBe(1);
  });

  it('gives back what was not used', async () => {
    const life = await new Life({ limit: 5, perMs: DAY_MS }).begin();
    await life.startAll(4);
    await life.settle();
    life.permits.lackMs(1, 0);
    await life.settle();
    const taken = life.permits.take(1);
    expect(await life.startAll()).toBe(0);
    life.permits.giveBack(taken);
    expect(await life.startAll()).toBe(1);
  });

  it('gives nothing twice when the wall clock is set back over the beginning of a window', async () => {
    const life = await new Life({ limit: 10, perMs: DAY_MS }).begin();
    life.clock.advance(DAY_MS);
    expect(await life.startAll()).toBe(10);
    life.clock.stepWall(-DAY_MS);
    expect(await life.startAll()).toBe(0);
    await life.begin();
    expect(await life.startAll()).toBe(0);
  });

  it('takes another limit at once: the count stands', async () => {
    const life = await new Life({ limit: 10, perMs: DAY_MS }).begin();
    await life.startAll();
    life.permits.setQuota({ limit: 25, perMs: DAY_MS });
    expect(await life.startAll()).toBe(15);
    life.permits.setQuota({ limit: 5, perMs: DAY_MS });
    expect(await life.startAll()).toBe(0);
    life.clock.advance(DAY_MS);
    expect(await life.startAll()).toBe(5);
  });

  it('does not use what was reserved under a higher limit', async () => {
    const life = await new Life({ limit: 1_000, perMs: DAY_MS }).begin();
    await life.startAll(5);
    await life.settle();
    life.permits.setQuota({ limit: 5, perMs: DAY_MS });
    await life.settle();
    expect(await life.startAll()).toBe(0);
  });

  it('holds for 30 days, longer than a timer can wait', async () => {
    const perMs = 30 * DAY_MS;
    const life = await new Life({ limit: 2, perMs }).begin();
    expect(await life.startAll()).toBe(2);
    life.clock.advance(perMs - (life.clock.now() % perMs) - 1);
    expect(await life.startAll()).toBe(0);
    life.clock.advance(1);
    expect(await life.startAll()).toBe(2);
  });

  it('leaves nothing in the store when it is forgotten', async () => {
    const life = await new Life({ limit: 2, perMs: 1_000 }).begin();
    await life.startAll();
    life.clock.advance(2_000);
    expect(life.permits.isOver).toBe(true);
    await life.permits.drop();
    expect(await life.keyValue.list('limit/', 10)).toEqual([]);
  });
});
