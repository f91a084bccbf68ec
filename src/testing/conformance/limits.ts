/** Limits over a backend: its lanes make way and go on, and its facts keep what starts have taken. */
import assert from 'node:assert/strict';
import type { Claim } from '../../broker/broker.js';
import { Limits, type Permit } from '../../limit/limits.js';
import { LimitRules } from '../../limit/rules.js';
import { limitLane } from '../../task/lane.js';
import type { TaskLimits } from '../../task/limit-rule.js';
import { type Draft, type Probe, textOf, texts } from './probe.js';
import { it, type Theme } from './suite.js';

const DAY_MS = 86_400_000;
const DURABLE = { has: ['durable'] } as const;
const CRASH = { has: ['durable'], crash: true } as const;
const BUCKET: TaskLimits = { limitKey: 'key', tokenBucket: { capacity: 5, refillPerSec: 1 } };
const NOTHING_ELSE = {
  limits: { queues: new Map(), tasks: new Map() },
  definitionOf: () => undefined,
  hasKeyHook: () => false,
};

/** One process after another that starts what limits let start, as a dispatcher whose threads are endless. */
class Starter {
  readonly rules = new LimitRules(NOTHING_ELSE);
  readonly #probe: Probe;
  #limits!: Limits;

  private constructor(probe: Probe) {
    this.#probe = probe;
  }

  /** @param rule  Holds for the name `task`. */
  static async open(probe: Probe, rule: TaskLimits): Promise<Starter> {
    const starter = new Starter(probe);
    starter.rules.put('task/task', rule);
    await starter.#begin();
    return starter;
  }

  /** A stop in good order, and the next process. */
  async reopen(): Promise<void> {
    await this.#limits.close();
    await this.#probe.reopen();
    await this.#begin();
  }

  async crash(): Promise<void> {
    await this.#probe.crash();
    await this.#begin();
  }

  /** Starts all that may start now, waiting for the store but not for time. */
  async start(): Promise<Claim[]> {
    const started: Claim[] = [];
    do {
      this.#limits.begin();
      do {
        for (let claim = await this.#next(); claim !== undefined; claim = await this.#next()) {
          started.push(claim);
        }
      } while (this.#limits.open());
    } while (await this.#limits.whenTold());
    return started;
  }

  async complete(claims: readonly Claim[]): Promise<void> {
    for (const claim of claims) this.#limits.ended(claim, true);
    await this.#probe.complete(claims);
  }

  async #begin(): Promise<void> {
    const { broker, keyValue, clock } = this.#probe;
    const limits = new Limits({
      ...{ clock, keyValue, rules: this.rules },
      costOf: () => 1,
      resumeLine: (queue, lane) => broker.resumeLine(queue, lane),
      resumeAll: () => broker.resumeAll(),
      wake: () => {},
    });
    this.#limits = limits;
    broker.order({
      weightOf: (queue, lane) => limits.weightOf(queue, lane),
      isOpen: (queue, lane) => limits.isOpen(queue, lane),
    });
    await limits.load();
  }

  async #next(): Promise<Claim | undefined> {
    const limits = this.#limits;
    const skipped = new Set<string>();
    let permit: Permit | undefined;
    const [claim] = await this.#probe.broker.claim((head) => {
      const lane = limits.laneOf(head);
      if (lane !== '' && head.lane !== lane) return { aside: lane };
      const verdict = limits.check(head);
      if (verdict === 'skipQueue') skipped.add(head.queue);
      else if (verdict === 'take') permit = limits.take(head);
      return verdict;
    }, 1);
    if (claim === undefined) limits.foundNothing(skipped);
    else if (permit !== undefined) limits.give(claim, permit);
    return claim;
  }
}

function ofKey(key: string, count: number, rest: Draft = {}): Draft[] {
  return texts(key, count).map((text) => ({ ...rest, text, lane: limitLane('task', key) }));
}

const textsOf = (claims: readonly Claim[]): string[] => claims.map(textOf);

export const limitThemes: readonly Theme[] = [
  {
    subject: 'tasks with limits',
    sentences: [
      it('stand before no other key, name or queue', async (probe) => {
        const starter = await Starter.open(probe, BUCKET);
        await probe.enqueue(...ofKey('a', 50, { level: 9 }));
        await probe.enqueue({ text: 'plain', name: 'other', level: 0 }, { text: 'far', queue: 'other' });
        await probe.enqueue(...ofKey('b', 1, { level: 0 }));
        const started = textsOf(await starter.start());
        assert.deepEqual([...started].sort(), [...texts('a', 5), 'b 0', 'far', 'plain']);
      }),

      it('start when their tokens are there, in enqueue order', async (probe) => {
        const starter = await Starter.open(probe, BUCKET);
        await probe.enqueue(...ofKey('a', 8));
        assert.equal((await starter.start()).length, 5);
        await probe.pass(999);
        assert.deepEqual(await starter.start(), []);
        await probe.pass(1);
        assert.deepEqual(textsOf(await starter.start()), ['a 5']);
        await probe.pass(2_000);
        assert.deepEqual(textsOf(await starter.start()), ['a 6', 'a 7']);
      }),

      it('run at most so many at once, and the next one starts when one has ended', async (probe) => {
        const starter = await Starter.open(probe, { limitKey: 'key', concurrency: 2 });
        await probe.enqueue(...ofKey('a', 4), ...ofKey('b', 1));
        const started = await starter.start();
        assert.deepEqual(textsOf(started).sort(), ['a 0', 'a 1', 'b 0']);
        assert.deepEqual(await starter.start(), []);
        await starter.complete(started.filter((claim) => textOf(claim) === 'a 1'));
        assert.deepEqual(textsOf(await starter.start()), ['a 2']);
        assert.deepEqual(await starter.start(), []);
      }),

      it('share by weight what all keys need', async (probe) => {
        const starter = await Starter.open(probe, { limitKey: 'key', total: { concurrency: 1 } });
        starter.rules.put('key/task\0a', { weight: 3 });
        await probe.enqueue(...ofKey('a', 12), ...ofKey('b', 12), ...ofKey('c', 12));
        const order: string[] = [];
        while (order.length < 20) {
          const started = await starter.start();
          assert.equal(started.length, 1);
          order.push(textOf(started[0]!)[0]!);
          await starter.complete(started);
        }
        assert.equal(order.sort().join(''), `${'a'.repeat(12)}${'b'.repeat(4)}${'c'.repeat(4)}`);
      }),

      it(
        'of a lone key start though a hundred others wait, most of which the store alone holds',
        async (probe) => {
          const starter = await Starter.open(probe, { limitKey: 'key', concurrency: 1 });
          await probe.enqueue(...texts('k', 100).flatMap((key) => ofKey(key, 3)));
          const first = await starter.start();
          assert.equal(first.length, 100);
          await probe.enqueue(...ofKey('lone', 1, { level: 0 }));
          assert.deepEqual(textsOf(await starter.start()), ['lone 0']);
          await starter.complete(first.slice(0, 1));
          const [next, ...others] = textsOf(await starter.start());
          assert.equal(next, textOf(first[0]!).replace(/0$/, '1'));
          assert.deepEqual(others, []);
        },
        { windowTasks: 64 },
      ),
    ],
  },
  {
    subject: 'what starts have taken',
    sentences: [
      it(
        'of a token bucket is as it was after a stop, with what has flowed in since',
        async (probe) => {
          const starter = await Starter.open(probe, BUCKET);
          await probe.enqueue(...ofKey('a', 9), ...ofKey('b', 9));
          const started = await starter.start();
          assert.equal(started.length, 10);
          await starter.complete(started);
          await starter.reopen();
          assert.deepEqual(await starter.start(), []);
          probe.clock.advance(2_000);
          await starter.reopen();
          assert.deepEqual(textsOf(await starter.start()).sort(), ['a 5', 'a 6', 'b 5', 'b 6']);
        },
        DURABLE,
      ),

      it(
        'of a quota counts to the end of its window, whatever owner the store has',
        async (probe) => {
          const starter = await Starter.open(probe, {
            limitKey: 'key',
            quota: { limit: 3, perMs: DAY_MS },
          });
          await probe.enqueue(...ofKey('a', 2));
          await starter.complete(await starter.start());
          await starter.reopen();
          await probe.enqueue(...ofKey('a', 9));
          const [third, ...others] = await starter.start();
          assert.ok(third !== undefined && others.length === 0);
          await starter.complete([third]);
          await starter.reopen();
          assert.deepEqual(await starter.start(), []);
          probe.clock.advance(DAY_MS);
          assert.equal((await starter.start()).length, 3);
        },
        DURABLE,
      ),

      it(
        'is not taken again after a sudden death',
        async (probe) => {
          const starter = await Starter.open(probe, { ...BUCKET, quota: { limit: 12, perMs: DAY_MS } });
          await probe.enqueue(...ofKey('a', 30));
          let count = 0;
          for (let death = 0; death < 4; death++) {
            count += (await starter.start()).length;
            assert.ok(count <= 5, `${count} started, 5 may`);
            await starter.crash();
          }
          probe.clock.advance(5_000);
          count += (await starter.start()).length;
          assert.ok(count > 5 && count <= 10, `${count} started, 6 to 10 may`);
          probe.clock.advance(60_000);
          count += (await starter.start()).length;
          assert.ok(count <= 12, `${count} started, 12 may on this day`);
        },
        CRASH,
      ),
    ],
  },
];
