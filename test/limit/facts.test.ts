/** What is left of buckets and quotas in the store: kept as long as it says something, and no longer. */
import { expect, it } from 'vitest';
import { openMemory } from '#src/broker/memory.js';
import { ManualClock } from '#src/clock.js';
import { QUOTA_PREFIX } from '#src/limit/quota.js';
import { LimitRules } from '#src/limit/rules.js';
import { BUCKET_PREFIX } from '#src/limit/scope.js';
import { Scopes } from '#src/limit/scopes.js';
import { limitLane } from '#src/task/lane.js';

const RATE = { capacity: 10, refillPerSec: 1 };
const limits = { maxPendingEnqueues: 100, maxPendingBytes: 1e6 };

/** One process after another, over the same facts. */
class Life {
  readonly clock = new ManualClock();
  readonly keyValue = openMemory({ limits, now: () => this.clock.now() }).keyValue;
  rules!: LimitRules;
  scopes!: Scopes;

  async begin(): Promise<void> {
    const sources = { limits: { queues: new Map(), tasks: new Map() } };
    this.rules = new LimitRules({ ...sources, definitionOf: () => undefined, hasKeyHook: () => false });
    const { clock, keyValue, rules } = this;
    this.scopes = new Scopes({ clock, keyValue, rules, changed: () => {} });
    await this.scopes.load();
  }

  /** Takes as many of a key as may start. */
  async takeAll(key: string, most = 1_000): Promise<number> {
    for (let taken = 0; ; ) {
      const { id, gates } = this.scopes.lane('default', limitLane('task', key));
      const ms = gates[0]!.lackMs(1, false);
      if (ms === 0 && taken < most) {
        gates[0]!.take(id, 1, 1);
        taken++;
      } else if (taken === most || ms < Number.POSITIVE_INFINITY) return taken;
      else await this.scopes.whenTold();
    }
  }

  async facts(): Promise<string[]> {
    return (await this.keyValue.list(BUCKET_PREFIX, 1_000)).map(({ key }) => key.split('\0')[1]!);
  }
}

async function used(...keys: readonly string[]): Promise<Life> {
  const life = new Life();
  await life.begin();
  life.rules.put('task/task', { limitKey: 'key', tokenBucket: RATE });
  for (const key of keys) expect(await life.takeAll(key)).toBe(10);
  await life.scopes.close();
  return life;
}

it('is counted when a rule that was removed is set again in the next process', async () => {
  const life = await used('a');
  await life.begin();
  life.rules.put('task/task', { limitKey: 'key', concurrency: 5 });
  expect(await life.takeAll('a', 1)).toBe(1);
  life.clock.advance(3_000);
  life.rules.put('task/task', { limitKey: 'key', tokenBucket: RATE });
  life.scopes.rulesChanged();
  expect(await life.takeAll('a')).toBe(3);
});

it('goes by the lower rate where the next process has another', async () => {
  const life = await used('a');
  await life.begin();
  life.rules.put('task/task', { limitKey: 'key', tokenBucket: { capacity: 100, refillPerSec: 50 } });
  life.clock.advance(4_000);
  expect(await life.takeAll('a')).toBe(4);
});

it('is removed once it says no more than a full bucket, also when its rule is gone', async () => {
  const life = await used('a', 'b', 'c');
  await life.begin();
  life.rules.put('queue/default', { tokenBucket: { capacity: 1_000_000, refillPerSec: 1 } });
  const lookAt = async (ms: number): Promise<readonly string[]> => {
    life.clock.advance(ms);
    // Facts are looked at as often as others are written.
    for (let writes = 0; writes < 5; writes++) {
      await life.scopes.put('other', new Uint8Array(1));
      life.scopes.tidy();
    }
    await life.keyValue.delete('other');
    return life.facts();
  };
  expect(await lookAt(9_999)).toEqual(['a', 'b', 'c']);
  expect(await lookAt(1)).toEqual([]);
});

it('of a quota is removed by the next process once its window is over, rule or no rule', async () => {
  const life = new Life();
  await life.begin();
  life.rules.put('task/task', { limitKey: 'key', quota: { limit: 2, perMs: 60_000 } });
  expect(await life.takeAll('a')).toBe(2);
  await life.scopes.close();
  const left = async (): Promise<number> => {
    await life.begin();
    return (await life.keyValue.list(QUOTA_PREFIX, 10)).length;
  };
  life.clock.advance(60_000 - (life.clock.now() % 60_000) - 1);
  expect(await left()).toBe(1);
  life.clock.advance(1);
  expect(await left()).toBe(0);
});
