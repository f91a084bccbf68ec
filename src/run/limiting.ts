/**
 * Limits as the runtime has them: the rules that options, definitions and users have given, kept with the
 * tasks where they were set while running; the lane of each new task; and `Limits`, which the dispatcher
 * asks. Until there is a rule, all of it is one boolean that is false.
 */
import type { Broker, Claim, Head } from '../broker/broker.js';
import type { KeyValue } from '../broker/key-value.js';
import { InvalidArgumentError } from '../errors.js';
import { keyAt, keyOf } from '../limit/limit-key.js';
import { Limits } from '../limit/limits.js';
import { LimitRules, limitsOf, scopeId, scopeOf } from '../limit/rules.js';
import type { RuntimeOptions } from '../options/types.js';
import { validateLimitRule, validateLimitScope } from '../options.js';
import { decodeValue, encodeValue } from '../task/codec.js';
import { limitLane } from '../task/lane.js';
import type { AnyLimitRule, LimitScope } from '../task/limit-rule.js';
import type { Registry } from './registry.js';

const PREFIX = 'limit-rule/';
const PER_READ = 1_000;
/** Rules that may be set: all are in memory. */
const MAX_SET = 100_000;

/** One rule, as `runtime.limits.list` shows it. */
export interface LimitInForce {
  readonly scope: LimitScope;
  /** What holds, from all that was said of the scope. */
  readonly rule: AnyLimitRule;
  /** What was set with `runtime.limits.set`; absent where nothing was. */
  readonly set?: AnyLimitRule;
}

export interface LimitingHost {
  /** Looks for work. */
  wake(): void;
  /** Threads give back what they have not started. */
  recallAll(): void;
  /** Claims that have not ended. */
  running(): Iterable<Claim>;
}

interface Parts {
  readonly broker: Broker;
  readonly keyValue: KeyValue;
  readonly registry: Registry;
  readonly options: Pick<RuntimeOptions, 'clock' | 'limits' | 'hooks' | 'ageing'>;
}

export class Limiting {
  /** There is, or was, a rule. Without one nothing else here is to be asked. */
  isUsed = false;
  /** A line is being resumed, by a round of claims that looks at it itself: nothing else has happened. */
  isResuming = false;
  readonly limits: Limits;
  readonly #parts: Parts;
  readonly #rules: LimitRules;
  readonly #host: LimitingHost;

  constructor(host: LimitingHost, parts: Parts) {
    const { broker, keyValue, registry, options } = parts;
    this.#parts = parts;
    this.#host = host;
    this.#rules = new LimitRules({
      limits: options.limits,
      definitionOf: (name) => registry.entry(name).definition,
      hasKeyHook: (name) => options.hooks.get(name)?.limitKey !== undefined,
    });
    this.limits = new Limits({
      ...{ clock: options.clock, keyValue, rules: this.#rules },
      costOf: (name, queue, head) => this.#costOf(name, queue, head),
      resumeLine: (queue, lane) => {
        this.isResuming = true;
        broker.resumeLine(queue, lane);
        this.isResuming = false;
      },
      resumeAll: () => broker.resumeAll(),
      wake: () => host.wake(),
    });
    broker.order({
      weightOf: (queue, lane) => (this.isUsed ? this.limits.weightOf(queue, lane) : 1),
      isOpen: (queue, lane) => !this.isUsed || this.limits.isOpen(queue, lane),
      ...(options.ageing === undefined ? {} : { ageing: options.ageing }),
    });
    this.#look();
  }

  /** Reads what was set before, and what starts have taken. Before anything starts. */
  async load(): Promise<void> {
    for (let after: string | undefined; ; ) {
      const page = await this.#parts.keyValue.list(PREFIX, PER_READ, after);
      for (const { key, fact } of page) {
        this.#rules.put(key.slice(PREFIX.length), decodeValue(fact.value) as AnyLimitRule);
      }
      after = page.at(-1)?.key;
      if (page.length < PER_READ) break;
    }
    await this.limits.load();
    this.#look();
  }

  /** Definitions became known, with what they say. */
  handlersChanged(): void {
    this.#rules.definitionsChanged();
    this.#changed();
  }

  /** What was reserved for starts and not used is given back. */
  async close(): Promise<void> {
    if (this.isUsed) await this.limits.close();
  }

  /**
   * The lane of a new task; `undefined` where its name has no limit.
   *
   * @param payload  Asked for where it says the key.
   * @throws {InvalidArgumentError} when what the payload has there is no key.
   */
  laneOf(name: string, payload: () => unknown): string | undefined {
    const rules = this.#rules.ofName(name);
    if (rules === undefined) return undefined;
    const hook = this.#parts.options.hooks.get(name)?.limitKey;
    if (hook !== undefined) return limitLane(name, keyOf(hook(payload()), `hooks.${name}.limitKey()`));
    return rules.limitKey === undefined ? limitLane(name) : limitLane(name, keyAt(payload(), rules.limitKey));
  }

  /** Holds at once, and until it is removed. Resolves when it would hold after a crash. */
  async set(given: unknown, rule: unknown): Promise<void> {
    const scope = validateLimitScope(given);
    const checked = validateLimitRule(rule, scope);
    const id = scopeId(scope);
    if (!this.#rules.set.has(id) && this.#rules.set.size >= MAX_SET) {
      throw new InvalidArgumentError('scope', `one of at most ${MAX_SET} with a rule that was set`);
    }
    const before = this.#rules.set.get(id);
    this.#put(id, checked);
    try {
      await this.#parts.keyValue.put(PREFIX + id, encodeValue(checked).slice());
    } catch (error) {
      // What is refused does not hold, unless another one was set meanwhile.
      if (this.#rules.set.get(id) === checked) this.#put(id, before);
      throw error;
    }
  }

  #put(id: string, rule: AnyLimitRule | undefined): void {
    if (rule === undefined) this.#rules.remove(id);
    else this.#rules.put(id, rule);
    this.#changed();
  }

  /** What options and definitions say holds again. @returns whether a rule was set. */
  async remove(given: unknown): Promise<boolean> {
    const id = scopeId(validateLimitScope(given));
    const before = this.#rules.set.get(id);
    if (before === undefined) return false;
    this.#put(id, undefined);
    try {
      await this.#parts.keyValue.delete(PREFIX + id);
    } catch (error) {
      // It would hold again after a restart.
      if (!this.#rules.set.has(id)) this.#put(id, before);
      throw error;
    }
    return true;
  }

  /** All scopes of which something was said, with what holds. */
  list(): readonly LimitInForce[] {
    const ids = new Set(this.#rules.set.keys());
    const { limits } = this.#parts.options;
    if (limits.perRuntime !== undefined) ids.add('runtime');
    for (const queue of limits.queues.keys()) ids.add(`queue/${queue}`);
    for (const [name, { keys }] of limits.tasks) {
      ids.add(`task/${name}`);
      for (const key of keys.keys()) ids.add(`key/${name}\0${key}`);
    }
    for (const { name, pattern, options } of this.#parts.registry.handlers) {
      if (!pattern && Object.keys(limitsOf(options)).length > 0) ids.add(`task/${name}`);
    }
    return [...ids].sort().map((id) => {
      const set = this.#rules.set.get(id);
      return { scope: scopeOf(id), rule: this.#ruleOf(id), ...(set === undefined ? {} : { set }) };
    });
  }

  /** As it was said: of a name, what holds for each of its keys and for the name as a whole. */
  #ruleOf(id: string): AnyLimitRule {
    const scope = scopeOf(id);
    if (scope === 'runtime' || 'queue' in scope || 'key' in scope) return this.#rules.of(id);
    const { limitKey, own = {}, total = {} } = this.#rules.ofName(scope.task) ?? {};
    return {
      ...own,
      ...(limitKey === undefined ? {} : { limitKey }),
      ...(Object.keys(total).length === 0 ? {} : { total }),
    };
  }

  /** Rules are others now: what has not started is looked at anew, what runs counts. */
  #changed(): void {
    this.#look();
    if (!this.isUsed) return;
    this.#host.recallAll();
    this.limits.rulesChanged(this.#host.running());
  }

  /** Once used, permits may be out, and lanes in line. */
  #look(): void {
    const { registry, options } = this.#parts;
    const { perRuntime, queues, tasks } = options.limits;
    this.isUsed ||= perRuntime !== undefined || queues.size > 0 || tasks.size > 0;
    this.isUsed ||= this.#rules.set.size > 0;
    this.isUsed ||= [...options.hooks.values()].some(({ limitKey }) => limitKey !== undefined);
    this.isUsed ||= registry.handlers.some((handler) => Object.keys(limitsOf(handler.options)).length > 0);
  }

  #costOf(name: string, queue: string, head: Head | undefined): number {
    if (head?.options?.cost !== undefined) return head.options.cost;
    if (name === '') return 1;
    return this.#parts.registry.entry(name).in(queue).rules.cost;
  }
}
