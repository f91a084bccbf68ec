/**
 * All scopes that are in use, and which of them a lane's tasks need. A scope is made when a lane asks for it,
 * and let go of when nothing is to be remembered of it: then it would be made as it is. That is looked for
 * bit by bit, as often as something is written or made; there is no timer.
 */
import type { KeyValue } from '../broker/key-value.js';
import type { Clock } from '../clock.js';
import { isFullSince } from './bucket-permits.js';
import { keyOfLane } from './limit-key.js';
import type { PermitHost } from './permit-host.js';
import { isOverSince, type Limiter, LocalLimiter, QUOTA_PREFIX } from './quota.js';
import type { LimitRules } from './rules.js';
import { BUCKET_PREFIX, isLimiting, Scope } from './scope.js';

/** Scopes looked at when one is made or written: more than one, so that they are let go of as fast. */
const SWEPT_AT_ONCE = 4;
const MAX_LANES = 10_000;
const PER_READ = 1_000;

/** The tasks of a queue that share a limit, or have none of their own, and what their starts need. */
export interface Lane {
  readonly id: string;
  readonly queue: string;
  /** Its name in the queue. */
  readonly line: string;
  /** Of its tasks; `''` where that is not one name. */
  readonly name: string;
  readonly weight: number;
  /** Their tasks are few of many that need these: the lane waits at them. Narrowest first. */
  readonly gates: readonly Scope[];
  readonly ofQueue: Scope | undefined;
  readonly ofRuntime: Scope | undefined;
  readonly all: readonly Scope[];
}

export interface ScopesHost {
  readonly clock: Clock;
  readonly keyValue: KeyValue;
  readonly rules: LimitRules;
  /** Permits of this scope may be there now. */
  changed(scope: Scope): void;
}

export class Scopes {
  readonly #host: ScopesHost;
  readonly #scopes = new Map<string, Scope>();
  #sweeping: Iterator<Scope> | undefined;
  #sweepsDue = 0;
  readonly #lanes = new Map<string, Lane>();
  /** What earlier processes have left of token buckets, until their scopes are made. */
  readonly #facts = new Map<string, Uint8Array>();
  #lookingAtFacts: Iterator<readonly [string, Uint8Array]> | undefined;
  #limiter: LocalLimiter;
  readonly #counter: Limiter;
  #isClosed = false;
  /** Writes and counts under way. */
  readonly #pending = new Set<Promise<unknown>>();

  constructor(host: ScopesHost) {
    this.#host = host;
    this.#limiter = new LocalLimiter(host.keyValue, new Map());
    this.#counter = {
      reserve: (request) => this.#during(this.#limiter.reserve(request)),
      giveBack: (...of) => this.#limiter.giveBack(...of),
      forget: (scope) => this.#limiter.forget(scope),
    };
  }

  /** Reads what earlier processes have left. Before anything is asked. */
  async load(): Promise<void> {
    for await (const [scope, fact] of factsOf(this.#host.keyValue, BUCKET_PREFIX))
      this.#facts.set(scope, fact);
    const counted = new Map<string, Uint8Array>();
    const now = this.#host.clock.now();
    for await (const [scope, fact] of factsOf(this.#host.keyValue, QUOTA_PREFIX)) {
      if (!isOverSince(fact, now)) counted.set(scope, fact);
      else this.#host.keyValue.delete(QUOTA_PREFIX + scope).catch(() => {});
    }
    this.#limiter = new LocalLimiter(this.#host.keyValue, counted);
  }

  lane(queue: string, lane: string): Lane {
    const id = `${queue}\0${lane}`;
    const known = this.#lanes.get(id);
    if (known !== undefined && !known.all.some(({ isDropped }) => isDropped)) return known;
    if (this.#lanes.size >= MAX_LANES) this.#lanes.clear();
    const made = this.#newLane(id, queue, lane);
    this.#lanes.set(id, made);
    return made;
  }

  /** Rules have changed; all scopes may have. */
  rulesChanged(): void {
    this.#lanes.clear();
    for (const scope of this.#scopes.values()) scope.setRule(this.#host.rules.of(scope.id));
  }

  /** What is reserved and was not used is not lost. Nothing is asked any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    // What cannot be written now counts as used.
    await Promise.allSettled([...this.#scopes.values()].map((scope) => scope.close()));
  }

  #newLane(id: string, queue: string, lane: string): Lane {
    const { rules } = this.#host;
    const parts = keyOfLane(lane);
    // Without a key of their own, all tasks of a name share the rule of the name, whatever lane they are in.
    const key = parts !== undefined && rules.ofName(parts.name)?.isKeyed === true ? parts.key : '';
    const gates: Scope[] = [];
    for (const gate of parts === undefined ? [] : [`key/${parts.name}\0${key}`, `task/${parts.name}`]) {
      const scope = this.#scope(gate);
      if (scope !== undefined) gates.push(scope);
    }
    const ofQueue = this.#scope(`queue/${queue}`);
    const ofRuntime = this.#scope('runtime');
    const weight = parts === undefined ? 1 : (rules.ofKey(parts.name, key).weight ?? 1);
    const all = [...gates, ofQueue, ofRuntime].filter((scope) => scope !== undefined);
    const name = parts?.name ?? '';
    return { id, queue, line: lane, name, weight, gates, ofQueue, ofRuntime, all };
  }

  #scope(id: string): Scope | undefined {
    const known = this.#scopes.get(id);
    const rule = this.#host.rules.of(id);
    if (!isLimiting(rule)) return undefined;
    if (known !== undefined) return known;
    const host = new ScopePermitHost(this.#host.clock, this);
    const scope: Scope = new Scope(host, this.#counter, id, rule, this.#facts.get(id));
    host.scope = scope;
    this.#facts.delete(id);
    this.#sweepsDue++;
    this.#scopes.set(id, scope);
    return scope;
  }

  /** Resolves with true when something is told that was being written or counted; false when nothing is. */
  async whenTold(): Promise<boolean> {
    if (this.#pending.size === 0) return false;
    await Promise.allSettled(this.#pending);
    return true;
  }

  /** For the permits of a scope. */
  put(key: string, value: Uint8Array): Promise<unknown> {
    this.#sweepsDue++;
    return this.#during(this.#host.keyValue.put(key, value));
  }

  delete(key: string): Promise<unknown> {
    return this.#host.keyValue.delete(key);
  }

  changed(scope: Scope): void {
    this.#host.changed(scope);
  }

  #during<Value>(work: Promise<Value>): Promise<Value> {
    this.#pending.add(work);
    const done = (): void => void this.#pending.delete(work);
    work.then(done, done);
    return work;
  }

  /** Lets go of some scopes. Between claims: nobody is about to take a permit of theirs. */
  tidy(): void {
    for (; this.#sweepsDue > 0 && !this.#isClosed; this.#sweepsDue--) this.#sweep();
  }

  #sweep(): void {
    for (let looked = 0; looked < SWEPT_AT_ONCE; looked++) {
      this.#sweeping ??= this.#scopes.values();
      const { value: scope, done } = this.#sweeping.next();
      if (done === true) this.#sweeping = undefined;
      else if (scope.isIdle) {
        this.#scopes.delete(scope.id);
        scope.drop().catch(() => {});
      }
    }
    this.#lookAtFact();
  }

  /** What was left of a bucket that nobody has asked for since is let go of when it is full, rule or none. */
  #lookAtFact(): void {
    if (this.#facts.size === 0) return;
    this.#lookingAtFacts ??= this.#facts.entries();
    const { value, done } = this.#lookingAtFacts.next();
    if (done === true) {
      this.#lookingAtFacts = undefined;
      return;
    }
    const [scope, fact] = value;
    if (!isFullSince(fact, this.#host.clock.now())) return;
    this.#facts.delete(scope);
    this.#host.keyValue.delete(BUCKET_PREFIX + scope).catch(() => {});
  }
}

async function* factsOf(keyValue: KeyValue, prefix: string): AsyncIterable<readonly [string, Uint8Array]> {
  for (let after: string | undefined; ; ) {
    const page = await keyValue.list(prefix, PER_READ, after);
    for (const { key, fact } of page) yield [key.slice(prefix.length), fact.value];
    after = page.at(-1)?.key;
    if (page.length < PER_READ) return;
  }
}

/** What the permits of one scope ask for. An object without functions of its own, as there may be many. */
class ScopePermitHost implements PermitHost {
  readonly clock: Clock;
  readonly #scopes: Scopes;
  scope: Scope | undefined;

  constructor(clock: Clock, scopes: Scopes) {
    this.clock = clock;
    this.#scopes = scopes;
  }

  put(key: string, value: Uint8Array): Promise<unknown> {
    return this.#scopes.put(key, value);
  }
  delete(key: string): Promise<unknown> {
    return this.#scopes.delete(key);
  }
  changed(): void {
    if (this.scope !== undefined) this.#scopes.changed(this.scope);
  }
}
