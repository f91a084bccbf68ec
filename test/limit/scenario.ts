/**
 * One scenario of limits on the manual clock: tenants with weights, limits and floods, over a real broker,
 * dispatcher and limits; only the threads are timers. The model is asked after each start and each time that
 * nothing moves any more. All of it follows from the seed.
 */

import assert from 'node:assert/strict';
import { openMemory } from '#src/broker/memory.js';
import { ManualClock } from '#src/clock.js';
import { silentLogger } from '#src/logger.js';
import { validateRuntimeOptions } from '#src/options.js';
import type { ItemOutcome } from '#src/pool/pool.js';
import { Coordinator } from '#src/run/coordinator.js';
import { LocalDesk } from '#src/run/local-desk.js';
import type { RunningItem } from '#src/run/running-item.js';
import { decodeValue, encodeValue } from '#src/task/codec.js';
import type { LaneRule, LimitRule, LimitScope } from '#src/task/limit-rule.js';
import { storeError } from '#src/task/stored-error.js';
import { seeded } from '#src/testing/seeded.js';
import { LimitModel, type ModelRules, type ModelTask } from './limit-model.js';
import { quiet, SimulatedPool } from './simulated-pool.js';

const QUEUES = ['default', 'images'] as const;
const KEYS = ['acme', 'bits', 'cord', 'dune', ''] as const;
/** `keyed` and `weighty` say where their key is; `one` is limited as a name, `plain` not at all. */
const NAMES = ['keyed', 'weighty', 'one', 'plain'] as const;
const MAX_STEPS = 3_000;
const RESULT = encodeValue(undefined).slice();
const ERROR = encodeValue(storeError(new Error('planned'))).slice();
const FAILED: ItemOutcome = { kind: 'failed', error: ERROR, retryable: true, invalidPayload: false };

interface Task extends ModelTask {
  readonly id: number;
  readonly level: number;
  readonly runMs: number;
  readonly fails: number;
  readyAt: number;
  attempts: number;
  place: 'waits' | 'runs' | 'over';
}

export class Scenario {
  readonly clock = new ManualClock();
  readonly #random: () => number;
  /** As they are now, and as the runtime was opened with them. */
  readonly #rules: ModelRules;
  readonly #opened: ModelRules;
  readonly #model: LimitModel;
  readonly #pool: SimulatedPool;
  readonly #coordinator: Coordinator;
  readonly #desk: LocalDesk;
  readonly #tasks: Task[] = [];
  readonly #ids: string[] = [];
  readonly #paused = new Set<string>();
  starts = 0;
  /** Times that nothing moved any more. */
  looks = 0;

  constructor(seed: number) {
    this.#random = seeded(seed);
    this.#rules = this.#someRules();
    this.#model = new LimitModel(this.#rules);
    this.#opened = structuredClone(this.#rules);
    const { runtime, queues, names } = this.#rules;
    const { clock } = this;
    const options = validateRuntimeOptions(
      {
        ...{ backend: 'memory:', tasks: 'none', clock, logger: silentLogger, threads: 1 },
        queues: { images: this.#random() < 0.3 ? { maxThreads: 1 } : {} },
        limits: {
          ...(runtime === undefined ? {} : { perRuntime: runtime }),
          queues: Object.fromEntries(queues),
          tasks: Object.fromEntries(
            [...names].map(([name, { own, total, isKeyed, keys }]) => [
              name,
              { ...own, total, keys: Object.fromEntries(keys), ...(isKeyed ? { limitKey: 'of.key' } : {}) },
            ]),
          ),
        },
      },
      { threads: () => 1, logger: silentLogger, clock },
    );
    this.#maxThreads = options.queues.get('images')?.maxThreads ?? Number.POSITIVE_INFINITY;
    const backend = openMemory({ limits: options, now: () => clock.now() });
    const backoff = { kind: 'fixed', baseMs: 40, jitter: 'none' } as const;
    const handlers = NAMES.map((name) => ({ name, pattern: false, options: { backoff } }));
    this.#pool = new SimulatedPool(clock, 1 + Math.floor(this.#random() * 4), handlers, {
      started: (item) => this.#started(item),
      ended: (item) => this.#ended(item),
    });
    const parts = { backend, pool: this.#pool, options };
    this.#coordinator = new Coordinator({
      ...{ ...parts, codecs: new Map(), runsNothing: false, random: this.#random },
    });
    this.#desk = new LocalDesk({ ...parts, coordinator: this.#coordinator });
  }
  readonly #maxThreads: number;

  async run(): Promise<void> {
    await this.#desk.load();
    await this.#pool.start(this.#coordinator.executor);
    this.#coordinator.setHandlers(this.#pool.handlers);
    this.#coordinator.start();
    const floods = 1 + Math.floor(this.#random() * 4);
    for (let flood = 0; flood < floods; flood++) {
      await this.#flood();
      for (let step = this.#upTo(6); step > 0; step--) await this.#step(this.#upTo(60));
      if (this.#random() < 0.3) await this.#changeRule();
      if (this.#random() < 0.2) await this.#cancelSome();
      if (this.#random() < 0.2) await this.#turnQueue(this.#oneOf(QUEUES));
    }
    for (const queue of [...this.#paused]) await this.#turnQueue(queue);
    for (let step = 0; this.#tasks.some(({ place }) => place !== 'over'); step++) {
      assert(step < MAX_STEPS, 'not all tasks complete');
      await this.#step(step < 60 ? this.#upTo(60) : 400);
    }
    this.#coordinator.stopStarting();
    await this.#coordinator.limiting.close();
  }

  async #step(ms: number): Promise<void> {
    this.clock.advance(ms);
    await this.#settle();
    this.#look();
  }

  async #settle(): Promise<void> {
    const { limits } = this.#coordinator.limiting;
    await quiet(this.clock, () => limits.whenTold());
  }

  /** No task waits that could start. */
  #look(): void {
    this.looks++;
    if (this.#error !== undefined) throw this.#error;
    if (!this.#pool.hasIdle) return;
    const [now, wall] = [this.clock.monotonic(), this.clock.now()];
    for (const task of this.#tasks) {
      if (task.place !== 'waits' || task.readyAt > wall || this.#paused.has(task.queue)) continue;
      if (task.queue === 'images' && this.#threadsOf('images') >= this.#maxThreads) continue;
      // Behind one of its lane that needs more, it waits with that one.
      if (task.cost < this.#mostInLane(task, wall)) continue;
      assert(
        !this.#model.mayStart(task, now, wall),
        `waits at ${now} ms, though it may start: ${textOf(task)}`,
      );
    }
  }

  #mostInLane({ name, key, queue }: Task, wall: number): number {
    let most = 1;
    for (const task of this.#tasks) {
      if (task.name !== name || task.key !== key || task.queue !== queue) continue;
      if (task.place === 'waits' && task.readyAt <= wall) most = Math.max(most, task.cost);
    }
    return most;
  }

  #threadsOf(queue: string): number {
    return new Set(
      [...this.#coordinator.executor.batches]
        .filter((each) => each.queue === queue)
        .map(({ batch }) => batch.slot),
    ).size;
  }

  #started({ claim }: RunningItem): { runMs: number; outcome: ItemOutcome } {
    const { id } = decodeValue(claim.body) as { id: number };
    const task = this.#tasks[id]!;
    this.#note(() => {
      assert.equal(task.place, 'waits', textOf(task));
      assert(!this.#paused.has(task.queue), `${textOf(task)} starts in a paused queue`);
    });
    this.#note(() => this.#model.started(task, this.clock.monotonic(), this.clock.now()));
    task.place = 'runs';
    task.attempts++;
    this.starts++;
    const outcome: ItemOutcome = task.attempts <= task.fails ? FAILED : { kind: 'completed', result: RESULT };
    return { runMs: task.runMs, outcome };
  }

  /** The dispatcher takes errors for those of the broker: what is wrong is thrown at the next look. */
  #note(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.#error ??= error;
    }
  }
  #error: unknown;

  #ended({ claim }: RunningItem): void {
    const { id } = decodeValue(claim.body) as { id: number };
    const task = this.#tasks[id]!;
    this.#model.ended(task);
    task.place = task.attempts <= task.fails ? 'waits' : 'over';
    task.readyAt = this.clock.now() + 40;
  }

  async #flood(): Promise<void> {
    const tenant = this.#oneOf(KEYS);
    const enqueued: Promise<unknown>[] = [];
    for (let count = this.#upTo(16); count > 0; count--) {
      const name = this.#oneOf(NAMES);
      const task: Task = {
        id: this.#tasks.length,
        name,
        // Costs differ only where all that share a bucket stand in one line.
        queue: name === 'weighty' ? 'default' : this.#oneOf(QUEUES),
        key: this.#random() < 0.5 ? tenant : this.#oneOf(KEYS),
        cost: name === 'weighty' && this.#hasOwnCosts ? this.#upTo(4) : 1,
        level: this.#random() < 0.7 ? 5 : Math.floor(this.#random() * 10),
        runMs: this.#random() < 0.2 ? 0 : this.#upTo(80),
        fails: this.#random() < 0.1 ? 1 : 0,
        readyAt: this.clock.now() + (this.#random() < 0.1 ? this.#upTo(300) : 0),
        attempts: 0,
        place: 'waits',
      };
      this.#tasks.push(task);
      this.#model.enqueued(task, this.clock.monotonic());
      enqueued.push(this.#enqueue(task));
    }
    await this.#settle();
    await Promise.all(enqueued);
    this.#look();
  }

  async #enqueue(task: Task): Promise<void> {
    const { id, name, queue, key, cost, level: priority, readyAt } = task;
    const payload = key === '' && this.#random() < 0.5 ? { id } : { id, of: { key } };
    const delay = readyAt > this.clock.now() ? { runAt: readyAt } : {};
    const ticket = await this.#desk.enqueue(name, payload, {
      queue,
      priority,
      ...(cost === 1 ? {} : { cost }),
      ...delay,
    });
    this.#ids[id] = ticket.id;
  }

  async #cancelSome(): Promise<void> {
    for (const task of this.#tasks) {
      // A lane waits for what its head needed when it was looked at last: without a dear one, too long.
      if (task.place !== 'waits' || task.cost > 1 || this.#random() < 0.6) continue;
      const cancelled = this.#desk.cancel(this.#ids[task.id]!);
      task.place = 'over';
      await this.#settle();
      await cancelled;
    }
    this.#look();
  }

  async #turnQueue(queue: string): Promise<void> {
    const isPaused = !this.#paused.has(queue);
    if (isPaused) this.#paused.add(queue);
    else this.#paused.delete(queue);
    const set = this.#desk.setPaused(queue, isPaused);
    await this.#settle();
    await set;
    this.#look();
  }

  /** What is set takes the place of what was set before, and holds over what the runtime was opened with. */
  async #changeRule(): Promise<void> {
    const { queues, names } = this.#rules;
    let scope: LimitScope = 'runtime';
    const at = this.#random();
    const { tokenBucket, quota, ...rest } = this.#someRule();
    // A dear task stands before cheap ones where they share a bucket: the model knows nothing of that.
    const isShared = at < 0.4 && this.#tasks.some(({ cost }) => cost > 1);
    const rates = { ...(tokenBucket && { tokenBucket }), ...(quota && { quota }) };
    const rule = isShared ? rest : { ...rest, ...rates };
    if (at < 0.2) this.#rules.runtime = { ...this.#opened.runtime, ...rule };
    else if (at < 0.4) {
      const queue = this.#oneOf(QUEUES);
      queues.set(queue, { ...this.#opened.queues.get(queue), ...rule });
      scope = { queue };
    } else {
      const task = this.#oneOf([...names.keys()]);
      const { own, keys } = this.#opened.names.get(task)!;
      const key = this.#oneOf(KEYS);
      if (at < 0.7 && names.get(task)!.isKeyed) {
        names.get(task)!.keys.set(key, { ...keys.get(key), ...rule });
        scope = { task, key };
      } else {
        names.get(task)!.own = { ...own, ...rule };
        scope = { task };
      }
    }
    this.#model.changed(
      this.clock.monotonic(),
      this.#tasks.filter(({ place }) => place === 'runs'),
    );
    const set = this.#desk.setLimit(scope, rule);
    await this.#settle();
    await set;
    this.#look();
  }

  #someRules(): ModelRules {
    const queues = new Map<string, LimitRule>();
    const names: ModelRules['names'] = new Map();
    for (const queue of QUEUES) if (this.#random() < 0.3) queues.set(queue, this.#someRule());
    for (const name of NAMES) {
      if (name === 'plain') continue;
      const keys = new Map<string, LaneRule>();
      const isKeyed = name !== 'one';
      for (const key of KEYS) if (isKeyed && this.#random() < 0.3) keys.set(key, this.#someLaneRule());
      const total = this.#random() < 0.5 ? this.#someRule() : {};
      names.set(name, { own: this.#someLaneRule(), total, isKeyed, keys });
    }
    return { ...(this.#random() < 0.3 ? { runtime: this.#someRule() } : {}), queues, names };
  }

  /** Where only `weighty` itself counts costs, they may differ. */
  get #hasOwnCosts(): boolean {
    const { runtime, queues, names } = this.#rules;
    const shared = [runtime ?? {}, ...queues.values(), names.get('weighty')!.total];
    return shared.every(({ tokenBucket, quota }) => tokenBucket === undefined && quota === undefined);
  }

  #someLaneRule(): LaneRule {
    return this.#random() < 0.5 ? this.#someRule() : { ...this.#someRule(), weight: this.#upTo(5) };
  }

  #someRule(): LimitRule {
    const capacity = this.#upTo(5);
    const refillPerSec = this.#oneOf([2, 5, 12.5, 40, 200]);
    const quota = { limit: 2 + this.#upTo(12), perMs: this.#oneOf([1_000, 2_500]) };
    return {
      ...(this.#random() < 0.5 ? { tokenBucket: { capacity, refillPerSec } } : {}),
      ...(this.#random() < 0.4 ? { concurrency: this.#upTo(3) } : {}),
      ...(this.#random() < 0.2 ? { quota } : {}),
    };
  }

  #oneOf<Item>(items: readonly Item[]): Item {
    return items[Math.floor(this.#random() * items.length)]!;
  }

  /** 1 to `most`. */
  #upTo(most: number): number {
    return 1 + Math.floor(this.#random() * most);
  }
}

function textOf({ id, name, key, queue, cost, level }: Task): string {
  return `task ${id}: ${name} of "${key}" in ${queue}, level ${level}, cost ${cost}`;
}
