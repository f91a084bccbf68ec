/**
 * What limits mean, told without lanes, gates and reservations: for each scope when what was started, under
 * which rules. Says after each start whether it was within all limits, and of each waiting task whether it
 * could start.
 */
import assert from 'node:assert/strict';
import type { BucketRate, LaneRule, LimitRule } from '#src/task/limit-rule.js';

export interface ModelTask {
  readonly name: string;
  readonly queue: string;
  readonly key: string;
  readonly cost: number;
}

interface Started {
  readonly at: number;
  readonly cost: number;
}

const EPSILON = 1e-6;

class ModelScope {
  rule: LimitRule = {};
  running = 0;
  /** Of its bucket, which is the same when it is set again after it was removed. */
  #rate: BucketRate | undefined;
  #starts: Started[] = [];
  /** Largest capacity and refill since. */
  #capacity = 0;
  #refill = 0;
  /** What is in it at least. */
  #level = 0;
  #at = 0;
  #used = 0;
  #window = -1;
  #perMs = 0;

  setRule(rule: LimitRule, now: number): void {
    const { tokenBucket } = rule;
    if (tokenBucket !== undefined) {
      const level = this.#rate === undefined ? tokenBucket.capacity : this.#levelAt(now);
      this.#level = Math.min(level, tokenBucket.capacity);
      this.#rate = tokenBucket;
      this.#at = now;
      this.#capacity = Math.max(this.#capacity, tokenBucket.capacity);
      this.#refill = Math.max(this.#refill, tokenBucket.refillPerSec);
    }
    if (rule.quota !== undefined && rule.quota.perMs !== this.#perMs) {
      this.#perMs = rule.quota.perMs;
      this.#window = -1;
    }
    this.rule = rule;
  }

  started(cost: number, now: number, wall: number, what: string): void {
    const { tokenBucket, concurrency = Number.POSITIVE_INFINITY, quota } = this.rule;
    this.running++;
    assert(this.running <= concurrency, `${what}: ${this.running} run, ${concurrency} may`);
    if (tokenBucket !== undefined) this.#takeTokens(Math.min(cost, tokenBucket.capacity), now, what);
    if (quota === undefined) return;
    this.#turn(wall);
    this.#used += Math.min(cost, quota.limit);
    assert(this.#used <= quota.limit, `${what}: ${this.#used} of ${quota.limit} in this window`);
  }

  /** Whether one more could start. */
  hasRoom(cost: number, now: number, wall: number): boolean {
    const { tokenBucket, concurrency = Number.POSITIVE_INFINITY, quota } = this.rule;
    if (this.running >= concurrency) return false;
    // Times are whole milliseconds, and sums may be off by a little: it had them a millisecond ago.
    const level = tokenBucket === undefined ? 0 : this.#levelAt(Math.max(this.#at, now - 1));
    if (level < Math.min(cost, tokenBucket?.capacity ?? 0)) return false;
    if (quota === undefined) return true;
    this.#turn(wall);
    return this.#used + Math.min(cost, quota.limit) <= quota.limit;
  }

  #takeTokens(cost: number, now: number, what: string): void {
    this.#level = Math.max(0, this.#levelAt(now) - cost);
    this.#at = now;
    this.#starts.push({ at: now, cost });
    let sum = 0;
    for (let from = this.#starts.length - 1; from >= 0; from--) {
      const first = this.#starts[from]!;
      sum += first.cost;
      const most = this.#capacity + (this.#refill * (now - first.at)) / 1_000;
      assert(sum <= most + EPSILON, `${what}: ${sum} tokens in ${now - first.at} ms, at most ${most}`);
    }
  }

  #levelAt(now: number): number {
    const { capacity, refillPerSec } = this.#rate!;
    return Math.min(capacity, this.#level + ((now - this.#at) * refillPerSec) / 1_000);
  }

  #turn(wall: number): void {
    const window = Math.floor(wall / this.rule.quota!.perMs);
    if (window === this.#window) return;
    this.#window = window;
    this.#used = 0;
  }
}

/** Rules as they were said, by scope. */
export interface ModelRules {
  runtime?: LimitRule;
  readonly queues: Map<string, LimitRule>;
  /** Of a name, for each of its keys; absent for a name without a limit. */
  readonly names: Map<
    string,
    { own: LaneRule; total: LimitRule; isKeyed: boolean; readonly keys: Map<string, LaneRule> }
  >;
}

export class LimitModel {
  readonly rules: ModelRules;
  readonly #scopes = new Map<string, ModelScope>();

  constructor(rules: ModelRules) {
    this.rules = rules;
  }

  /** Rules have changed; tasks that run count under the new ones. */
  changed(now: number, running: Iterable<ModelTask>): void {
    for (const [id, scope] of this.#scopes) {
      scope.setRule(this.#ruleOf(id), now);
      scope.running = 0;
    }
    for (const task of running) for (const scope of this.#scopesOf(task, now)) scope.running++;
  }

  /** Its buckets are what they are from now on: full. */
  enqueued(task: ModelTask, now: number): void {
    this.#scopesOf(task, now);
  }

  started(task: ModelTask, now: number, wall: number): void {
    for (const [id, scope] of this.#named(task, now))
      scope.started(task.cost, now, wall, id.replace('\0', ' of '));
  }

  ended(task: ModelTask): void {
    for (const scope of this.#scopesOf(task, 0)) scope.running--;
  }

  mayStart(task: ModelTask, now: number, wall: number): boolean {
    return this.#scopesOf(task, now).every((scope) => scope.hasRoom(task.cost, now, wall));
  }

  #scopesOf(task: ModelTask, now: number): ModelScope[] {
    return this.#named(task, now).map(([, scope]) => scope);
  }

  #named({ name, queue, key }: ModelTask, now: number): [string, ModelScope][] {
    const isKeyed = this.rules.names.get(name)?.isKeyed === true;
    const ids = ['runtime', `queue ${queue}`, `total ${name}`, `${name}\0${isKeyed ? key : ''}`];
    return ids.map((id) => {
      let scope = this.#scopes.get(id);
      if (scope === undefined) {
        scope = new ModelScope();
        scope.setRule(this.#ruleOf(id), now);
        this.#scopes.set(id, scope);
      }
      return [id, scope];
    });
  }

  #ruleOf(id: string): LimitRule {
    if (id === 'runtime') return this.rules.runtime ?? {};
    if (id.startsWith('queue ')) return this.rules.queues.get(id.slice(6)) ?? {};
    if (id.startsWith('total ')) return this.rules.names.get(id.slice(6))?.total ?? {};
    const [name = '', key = ''] = id.split('\0');
    const rules = this.rules.names.get(name);
    return { ...rules?.own, ...rules?.keys.get(key) };
  }
}
