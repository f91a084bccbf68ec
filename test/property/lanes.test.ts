/**
 * The law of turns, from the log of claims: between the enqueue of a task into an empty lane and its claim,
 * each other lane is claimed from at most as often as it weighs against that lane, and once at least. Random
 * floods, claims, pauses, holds, and lanes that come and go, in several queues and levels.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'vitest';
import type { Backend, Claim, Head, Verdict } from '#src/broker/broker.js';
import { openMemory } from '#src/broker/memory.js';
import { limitLane } from '#src/task/lane.js';

const KEYS = ['a', 'b', 'c', 'd', 'e', 'f'] as const;
const WEIGHTS: Readonly<Record<string, number>> = { a: 1, b: 1, c: 2, d: 3, e: 5, f: 7 };
const limits = { maxPendingEnqueues: 1e6, maxPendingBytes: 1e9 };

interface Place {
  readonly queue: string;
  readonly level: number;
  /** Of its lane; `''` is the plain one. */
  readonly key: string;
}

/** A task that came into an empty lane, and what was claimed since. */
interface Lone {
  readonly place: string;
  readonly weight: number;
  readonly level: number;
  readonly since: Map<string, { claims: number; weight: number }>;
}

class Watch {
  readonly #backend: Backend = openMemory({ limits, now: () => 1_000 });
  /** Ready tasks by place. */
  readonly #ready = new Map<string, number>();
  readonly #lone = new Map<string, Lone>();
  readonly #held = new Set<string>();
  #claims: Claim[] = [];
  longest = 0;

  constructor() {
    this.#backend.broker.order({
      weightOf: (_, lane) => WEIGHTS[lane.slice(2)] ?? 1,
      isOpen: () => true,
    });
  }

  enqueue(place: Place, count: number): void {
    const { queue, level, key } = place;
    const lane = key === '' ? {} : { lane: limitLane('t', key) };
    const task = { name: 't', queue, level, body: Buffer.alloc(1), ...lane };
    this.#backend.broker.enqueue(Array(count).fill(task)).accepted.catch(() => {});
    const id = placeOf(place);
    const before = this.#ready.get(id) ?? 0;
    this.#ready.set(id, before + count);
    // Plain tasks of different queues are one lane here and several there: they are counted only.
    if (before > 0 || key === '' || this.#held.has(`${queue} ${key}`)) return;
    this.#lone.set(id, { place: id, weight: WEIGHTS[key]!, level, since: new Map() });
  }

  claim(max: number, held?: string, paused?: string): void {
    const accept = (head: Head): Verdict => {
      if (head.queue === paused) return 'skipQueue';
      const line = `${head.queue} ${keyOf(head)}`;
      if (line !== held || keyOf(head) === '') return 'take';
      this.#held.add(line);
      for (const [id, lone] of this.#lone) if (lone.place.startsWith(`${line} `)) this.#lone.delete(id);
      return 'hold';
    };
    // Who waits in a paused queue waits for as long as it lasts.
    if (paused !== undefined) {
      for (const id of this.#lone.keys()) if (id.startsWith(`${paused} `)) this.#lone.delete(id);
    }
    const claims = this.#backend.broker.claim(accept, max) as readonly Claim[];
    for (const claim of claims) this.#see(claim);
    this.#claims.push(...claims);
  }

  #see(claim: Claim): void {
    const { queue, level } = claim;
    const key = keyOf(claim);
    const id = placeOf({ queue, level, key });
    this.#ready.set(id, this.#ready.get(id)! - 1);
    this.#lone.delete(id);
    for (const lone of this.#lone.values()) {
      if (lone.level !== level) continue;
      const seen = lone.since.get(id) ?? { claims: 0, weight: WEIGHTS[key] ?? 1 };
      lone.since.set(id, { ...seen, claims: seen.claims + 1 });
      // A plain line may change from the lane of all such queues to one of its own, and back.
      const most = key === '' ? 2 : Math.ceil(seen.weight / lone.weight);
      this.longest = Math.max(this.longest, seen.claims + 1);
      assert.ok(seen.claims < most, `${lone.place} waits for ${seen.claims + 1} claims of ${id}`);
    }
  }

  /** Comes with one task after the other, each when the one before has gone. */
  async comeBack(place: Place, times: number): Promise<void> {
    for (let time = 0; time < times; time++) {
      if ((this.#ready.get(placeOf(place)) ?? 0) === 0) this.enqueue(place, 1);
      this.claim(1);
      await this.settle(100);
    }
  }

  resume(): void {
    this.#held.clear();
    this.#backend.broker.resumeAll();
  }

  settle(count: number): Promise<void> {
    const attempt = { attempt: 1, startedAt: 1, runMs: 1, outcome: 'completed' } as const;
    const result = Buffer.alloc(1);
    const final = { kind: 'completed', result, settledAt: 1, expiresAt: 1e9, attempt } as const;
    const ended = this.#claims.splice(0, count);
    return this.#backend.broker.settle(ended.map((claim) => ({ claim, tally: claim.tally, ...final })));
  }

  /** Nothing is left. */
  async end(): Promise<void> {
    this.resume();
    this.claim(100_000);
    assert.deepEqual(
      [...this.#ready.values()].filter((count) => count !== 0),
      [],
    );
    await this.settle(100_000);
    await this.#backend.close();
  }
}

function placeOf({ queue, level, key }: Place): string {
  return `${queue} ${key} ${level}`;
}

function keyOf({ lane }: Head): string {
  return lane.slice(2);
}

type Step =
  | { readonly kind: 'enqueue'; readonly place: Place; readonly count: number }
  | {
      readonly kind: 'claim';
      readonly max: number;
      readonly held?: string | undefined;
      readonly paused?: string | undefined;
    }
  | { readonly kind: 'settle'; readonly count: number }
  | { readonly kind: 'come back'; readonly place: Place; readonly times: number }
  | { readonly kind: 'resume' };

const place: fc.Arbitrary<Place> = fc.record({
  queue: fc.constantFrom('q', 'q', 'r', 's'),
  level: fc.constantFrom(5, 5, 5, 2),
  key: fc.constantFrom(...KEYS, ...KEYS, ''),
});
const held = fc.option(fc.constantFrom(...KEYS.map((key) => `q ${key}`)), { nil: undefined, freq: 4 });
const paused = fc.option(fc.constantFrom('q', 'r'), { nil: undefined, freq: 3 });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('enqueue' as const),
        place,
        count: fc.constantFrom(1, 1, 3, 20),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant('claim' as const),
        max: fc.integer({ min: 1, max: 9 }),
        paused,
        held,
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('settle' as const), count: fc.integer({ min: 1, max: 30 }) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('come back' as const),
        place,
        times: fc.integer({ min: 2, max: 6 }),
      }),
    },
    { weight: 1, arbitrary: fc.constant({ kind: 'resume' as const }) },
  ),
  { minLength: 10, maxLength: 120, size: 'max' },
);

describe('lanes', () => {
  const runs = Number(process.env.MODEL_RUNS ?? 1);

  it('law: nobody waits for more claims of another lane than its weight', {
    timeout: 60_000 * runs,
  }, async () => {
    let longest = 0;
    const law = fc.asyncProperty(steps, async (each) => {
      const watch = new Watch();
      for (const step of each) {
        if (step.kind === 'enqueue') watch.enqueue(step.place, step.count);
        else if (step.kind === 'claim') watch.claim(step.max, step.held, step.paused);
        else if (step.kind === 'come back') await watch.comeBack(step.place, step.times);
        else if (step.kind === 'settle') await watch.settle(step.count);
        else watch.resume();
      }
      await watch.end();
      longest = Math.max(longest, watch.longest);
    });
    await fc.assert(law, { numRuns: 300 * runs, verbose: 1, endOnFailure: process.env.SHRINK === undefined });
    assert.ok(longest > 3, 'the weights were seen');
  });
});
