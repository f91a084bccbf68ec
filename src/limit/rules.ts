/**
 * Which rule holds for which scope, from all that was said of it: what was set while running, over the
 * options of the runtime, over the task's definition, field by field; what is said of a key, over what is
 * said of its name. Holds no permits and reads no store.
 *
 * Scopes as text: `runtime`, `queue/images`, `task/thumbnail` (the name as a whole), `key/thumbnail\0acme`.
 */
import type {
  AnyLimitRule,
  CheckedLimits,
  DefinedLimits,
  LaneRule,
  LimitRule,
  LimitScope,
} from '../task/limit-rule.js';

export interface RuleSources {
  readonly limits: CheckedLimits;
  /** What the definition of a name says, as far as it is known. */
  definitionOf(name: string): DefinedLimits | undefined;
  /** Whether the host has a function that says the key. */
  hasKeyHook(name: string): boolean;
}

/** What holds for a task name; absent where nothing does. */
export interface NameRules {
  /** Where the key is in the payload; the host's function comes before. */
  readonly limitKey: string | undefined;
  /** Its tasks have keys, and `own` holds for each by itself. */
  readonly isKeyed: boolean;
  readonly own: LaneRule;
  readonly total: LimitRule;
}

/** Names whose rules are remembered. */
const MAX_NAMES = 10_000;

export class LimitRules {
  readonly #sources: RuleSources;
  readonly #set = new Map<string, AnyLimitRule>();
  /** How many rules are set for single keys, by name. */
  readonly #setKeys = new Map<string, number>();
  readonly #names = new Map<string, NameRules | undefined>();

  constructor(sources: RuleSources) {
    this.#sources = sources;
  }

  /** Rules set while running, by scope. */
  get set(): ReadonlyMap<string, AnyLimitRule> {
    return this.#set;
  }

  put(scope: string, rule: AnyLimitRule): void {
    if (!this.#set.has(scope)) this.#countKey(scope, 1);
    this.#set.set(scope, rule);
    this.#names.clear();
  }

  remove(scope: string): boolean {
    if (!this.#set.delete(scope)) return false;
    this.#countKey(scope, -1);
    this.#names.clear();
    return true;
  }

  /** Definitions became known, or others. */
  definitionsChanged(): void {
    this.#names.clear();
  }

  /** What holds for a name, if anything does. */
  ofName(name: string): NameRules | undefined {
    if (this.#names.has(name)) return this.#names.get(name);
    if (this.#names.size >= MAX_NAMES) this.#names.clear();
    const rules = this.#newName(name);
    this.#names.set(name, rules);
    return rules;
  }

  /** What holds for each start of a scope. */
  of(scope: string): LimitRule {
    const { limits } = this.#sources;
    if (scope === 'runtime') return { ...limits.perRuntime, ...this.#set.get(scope) };
    const [kind, name] = [scope.slice(0, scope.indexOf('/')), scope.slice(scope.indexOf('/') + 1)];
    if (kind === 'queue') return { ...limits.queues.get(name), ...this.#set.get(scope) };
    if (kind === 'task') return this.ofName(name)?.total ?? {};
    const at = name.indexOf('\0');
    return this.ofKey(name.slice(0, at), name.slice(at + 1));
  }

  ofKey(name: string, key: string): LaneRule {
    const own = this.ofName(name)?.own;
    const said = this.#sources.limits.tasks.get(name)?.keys.get(key);
    return { ...own, ...said, ...this.#set.get(`key/${name}\0${key}`) };
  }

  #newName(name: string): NameRules | undefined {
    const options = this.#sources.limits.tasks.get(name);
    const set = this.#set.get(`task/${name}`);
    const { keys, ...said } = options ?? { keys: new Map<string, LaneRule>() };
    const merged: AnyLimitRule = { ...limitsOf(this.#sources.definitionOf(name)), ...said, ...set };
    const { limitKey, total, ...own } = merged;
    const isKeyed = limitKey !== undefined || this.#sources.hasKeyHook(name);
    const isSaid = isKeyed || keys.size > 0 || Object.keys(merged).length > 0 || this.#setKeys.has(name);
    if (!isSaid) return undefined;
    return { limitKey, isKeyed, own, total: { ...options?.total, ...total } };
  }

  #countKey(id: string, more: number): void {
    const scope = scopeOf(id);
    if (scope === 'runtime' || !('key' in scope)) return;
    const count = (this.#setKeys.get(scope.task) ?? 0) + more;
    if (count > 0) this.#setKeys.set(scope.task, count);
    else this.#setKeys.delete(scope.task);
  }
}

/** Of a definition's options, those that limit. */
export function limitsOf(definition: DefinedLimits | undefined): DefinedLimits {
  if (definition === undefined) return {};
  const { limitKey, tokenBucket, concurrency, quota } = definition;
  return {
    ...(limitKey === undefined ? {} : { limitKey }),
    ...(tokenBucket === undefined ? {} : { tokenBucket }),
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(quota === undefined ? {} : { quota }),
  };
}

export function scopeId(scope: LimitScope): string {
  if (scope === 'runtime') return scope;
  if ('queue' in scope) return `queue/${scope.queue}`;
  return 'key' in scope ? `key/${scope.task}\0${scope.key}` : `task/${scope.task}`;
}

export function scopeOf(id: string): LimitScope {
  if (id === 'runtime') return id;
  const name = id.slice(id.indexOf('/') + 1);
  if (id.startsWith('queue/')) return { queue: name };
  if (id.startsWith('task/')) return { task: name };
  const at = name.indexOf('\0');
  return { task: name.slice(0, at), key: name.slice(at + 1) };
}
