/**
 * The law of the bucket over restarts: processes that die at any moment, before and after any write, and
 * those that follow them, take together what one bucket gives. A failure prints its seed.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KeyValue } from '#src/broker/key-value.js';
import { openMemory } from '#src/broker/memory.js';
import { type OpenBackendOptions, openBackend, parseBackend } from '#src/broker/open.js';
import { ManualClock, systemClock } from '#src/clock.js';
import { BucketPermits } from '#src/limit/bucket-permits.js';
import type { BucketRate } from '#src/task/limit-rule.js';
import { LaggingStore } from './lagging-store.js';

const LIMITS = { maxPendingEnqueues: 100, maxPendingBytes: 1e6 } as const;
const KEY = 'limit/bucket/runtime';

/** One process after another on one store. */
class Life {
  readonly clock = new ManualClock();
  readonly store: LaggingStore;
  readonly rate: BucketRate;
  permits!: BucketPermits;
  changes = 0;
  /** Starts of earlier processes: those cannot be given back. */
  startsBefore = 0;
  readonly starts: { readonly at: number; tokens: number }[] = [];

  constructor(keyValue: KeyValue, rate: BucketRate) {
    this.store = new LaggingStore(keyValue);
    this.rate = rate;
  }

  async begin(): Promise<this> {
    const { clock, store } = this;
    const host = {
      clock,
      put: (key: string, value: Uint8Array) => store.put(key, value),
      delete: (key: string) => store.delete(key),
      changed: () => void this.changes++,
    };
    this.startsBefore = this.starts.length;
    this.permits = new BucketPermits(host, KEY, this.rate, await store.get(KEY));
    return this;
  }

  /** @returns whether one started. */
  start(cost = 1): boolean {
    if (this.permits.lackMs(cost, 0) > 0) return false;
    this.starts.push({ at: this.clock.monotonic(), tokens: this.permits.take(cost) });
    return true;
  }

  /** Starts as many as may, up to `most`, waiting for the disk but not for time. */
  async startAll(most = Number.POSITIVE_INFINITY, cost = 1): Promise<number> {
    for (let count = 0; ; ) {
      if (count === most) return count;
      if (this.start(cost)) count++;
      else if (this.permits.lackMs(cost, 0) === Number.POSITIVE_INFINITY) await this.store.flush();
      else return count;
    }
  }

  get worstExcess(): number {
    let worst = Number.NEGATIVE_INFINITY;
    for (const [from, first] of this.starts.entries()) {
      let tokens = 0;
      for (const { at, tokens: more } of this.starts.slice(from)) {
        tokens += more;
        worst = Math.max(
          worst,
          tokens - this.rate.capacity - ((at - first.at) * this.rate.refillPerSec) / 1_000,
        );
      }
    }
    return worst;
  }
}

function memory(): KeyValue {
  return openMemory({ limits: LIMITS, now: () => 0 }).keyValue;
}

type Step =
  /** `greedy` waits for the disk where it has to; else only what may start at once. */
  | { readonly kind: 'start' | 'greedy'; readonly costs: readonly number[]; readonly times: number }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'crash'; readonly kept: number }
  | { readonly kind: 'flush' | 'refuse' | 'stop' | 'unused' | 'back' };
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('start' as const, 'greedy' as const),
      costs: fc.array(fc.constantFrom(1, 1, 1, 2, 6), { minLength: 1, maxLength: 4 }),
      times: fc.integer({ min: 1, max: 20 }),
    }),
  },
  { weight: 5, arbitrary: fc.constant({ kind: 'flush' as const }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 4_000 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('crash' as const), kept: fc.integer({ min: 0, max: 3 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      { kind: 'refuse' as const },
      { kind: 'stop' as const },
      { kind: 'unused' as const },
      { kind: 'back' as const },
    ),
  },
);
const rates = fc.record({
  capacity: fc.constantFrom(1, 3, 10, 30, 200),
  refillPerSec: fc.constantFrom(0.2, 1, 7.5, 40, 900),
});

async function live(life: Life, history: readonly Step[]): Promise<void> {
  await life.begin();
  for (const step of history) {
    if (step.kind === 'start' || step.kind === 'greedy') {
      for (let time = 0; time < step.times; time++) {
        const cost = step.costs[time % step.costs.length]!;
        if (step.kind === 'start') life.start(cost);
        else await life.startAll(1, cost);
      }
    } else if (step.kind === 'wait') life.clock.advance(step.ms);
    else if (step.kind === 'flush') await life.store.flush();
    else if (step.kind === 'refuse') await life.store.refuse();
    else if (step.kind === 'back') life.clock.stepWall(-60_000);
    else if (step.kind === 'unused') {
      if (life.starts.length === life.startsBefore) continue;
      life.permits.giveBack(life.starts.pop()!.tokens);
    } else {
      if (step.kind === 'crash') await life.store.crash(step.kept);
      else {
        await life.store.flush();
        const closed = life.permits.close();
        await life.store.flush();
        await closed;
      }
      await life.begin();
    }
  }
}

describe('a token bucket that outlives its process', () => {
  it('gives no more than one bucket, whenever processes die and whatever was written', async () => {
    await fc.assert(
      fc.asyncProperty(rates, fc.array(steps, { maxLength: 50 }), async (rate, history) => {
        const life = new Life(memory(), rate);
        await live(life, history);
        expect(life.worstExcess).toBeLessThanOrEqual(1e-6);
      }),
      { numRuns: 5_000 * Number(process.env.MODEL_RUNS ?? 0.2) },
    );
  });

  it('counts what is taken while a new amount is being written', async () => {
    const life = new Life(memory(), { capacity: 30, refillPerSec: 7 });
    await life.begin();
    expect(await life.startAll(14)).toBe(14);
    await life.store.crash(0);
    await life.begin();
    await life.startAll();
    expect(life.starts.length).toBeLessThanOrEqual(30);
  });

  it('reserves no more by what is given back than is written down', async () => {
    const life = new Life(memory(), { capacity: 10, refillPerSec: 7 });
    await life.begin();
    await life.startAll(4);
    await life.store.flush();
    life.clock.advance(1_000);
    life.permits.giveBack(life.starts.pop()!.tokens);
    life.starts.length = 0;
    while (life.start());
    await life.store.crash(0);
    await life.begin();
    await life.startAll();
    expect(life.starts.length).toBeLessThanOrEqual(10);
  });

  it('loses at most a second of refill or 1 % of its capacity to a crash', async () => {
    const life = new Life(memory(), { capacity: 1_000, refillPerSec: 5 });
    await life.begin();
    for (let count = 0; count < 300; count++) {
      if (!life.start()) {
        await life.store.flush();
        life.start();
      }
    }
    await life.store.crash(9);
    const before = life.starts.length;
    await life.begin();
    const after = await life.startAll();
    expect(before + after).toBeGreaterThanOrEqual(1_000 - 10);
    expect(before + after).toBeLessThanOrEqual(1_000);
  });

  it('loses nothing when it is stopped', async () => {
    const life = new Life(memory(), { capacity: 100, refillPerSec: 1 });
    await life.begin();
    while (life.starts.length < 30) if (!life.start()) await life.store.flush();
    await life.store.flush();
    const closed = life.permits.close();
    await life.store.flush();
    await closed;
    await life.begin();
    expect(await life.startAll()).toBe(70);
  });

  it('lets nothing start before its reservation is flushed', async () => {
    const life = new Life(memory(), { capacity: 10, refillPerSec: 1 });
    await life.begin();
    expect(life.permits.lackMs(1, 0)).toBe(Number.POSITIVE_INFINITY);
    expect(life.changes).toBe(0);
    await life.store.flush();
    expect(life.changes).toBe(1);
    expect(life.permits.lackMs(1, 0)).toBe(0);
  });

  it('writes twice a second under steady load, ahead of its need: nothing waits for the disk', async () => {
    const life = new Life(memory(), { capacity: 1_000, refillPerSec: 1_000 });
    await life.begin();
    life.start();
    await life.store.flush();
    const before = life.store.puts;
    for (let ms = 0; ms < 10_000; ms++) {
      life.clock.advance(1);
      if (ms > 0) expect(life.start(), `at ${ms} ms`).toBe(true);
      else life.start();
      if (ms % 20 === 0) await life.store.flush();
    }
    expect(life.store.puts - before).toBeLessThanOrEqual(21);
  });

  it('tries a write again a second after it failed', async () => {
    const life = new Life(memory(), { capacity: 10, refillPerSec: 1 });
    await life.begin();
    expect(life.start()).toBe(false);
    await life.store.refuse();
    expect(life.permits.lackMs(1, 0)).toBe(1_000);
    life.clock.advance(1_000);
    expect(life.start()).toBe(false);
    await life.store.flush();
    expect(life.start()).toBe(true);
  });

  it('gives nothing for a wall clock that was set back between two processes', async () => {
    const life = new Life(memory(), { capacity: 2, refillPerSec: 1 });
    await life.begin();
    expect(await life.startAll()).toBe(2);
    life.clock.stepWall(-86_400_000);
    await life.begin();
    expect(await life.startAll()).toBe(0);
  });

  it('holds in a folder that was reopened without a stop of its limits', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-bucket-'));
    const open = () => openBackend(parseBackend(folder), options());
    try {
      const first = await open();
      const life = new Life(first.keyValue, { capacity: 50, refillPerSec: 0.001 });
      await life.begin();
      const before = await life.startAll();
      await first.close();
      const second = await open();
      const next = new Life(second.keyValue, life.rate);
      await next.begin();
      const after = await next.startAll();
      await second.close();
      expect(before).toBe(50);
      expect(after).toBe(0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

function options(): OpenBackendOptions {
  const logger = { debug() {}, info() {}, warn() {}, error() {} };
  return {
    ifLocked: 'fail',
    limits: LIMITS,
    space: { maxBytes: Number.POSITIVE_INFINITY, minFreeBytes: 0 },
    clock: systemClock,
    logger,
  };
}
