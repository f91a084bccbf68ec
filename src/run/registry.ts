/**
 * What is known of names and queues: which names have a handler, the rules of each, how long its tasks took
 * lately, and how queues are served. One entry per name, made on first use, so that an enqueue is one Map
 * look-up.
 */

import type { CheckedQueueOptions, RuntimeOptions, TaskHooks } from '../options/types.js';
import { checkName, levelOf, resolveOptions } from '../options.js';
import type { HandlerInfo } from '../pool/pool.js';
import type { DefinedOptions, Isolation, ResolvedOptions, TaskOptions } from '../task/task-options.js';

/** A queue as the dispatcher sees it. */
export interface QueueRule {
  readonly name: string;
  readonly defaults: TaskOptions;
  readonly maxThreads: number;
  readonly perThread: number;
  readonly isServed: boolean;
  isPaused: boolean;
}

/** Assumed run time of a name that has not run yet, ms. */
const FIRST_GUESS_MS = 0.5;
/** Weight of the newest measurement. */
const EWMA_WEIGHT = 0.2;
/** Names remembered with what was learned of them. */
const MAX_ENTRIES = 10_000;
/** What one task costs beside its handler, ms. */
const OVERHEAD_MS = 0.002;

/** What holds for tasks of one name in one queue, as far as their enqueue says nothing else. */
export interface Placement {
  readonly queue: string;
  readonly level: number;
  readonly startAfterCommit: boolean;
  readonly codec: string | undefined;
  readonly rules: ResolvedOptions;
}

export class NameEntry {
  readonly name: string;
  readonly isHandled: boolean;
  readonly definition: DefinedOptions | undefined;
  /** In the queue that the definition names. */
  readonly home: Placement;
  readonly hooks: TaskHooks | undefined;
  readonly #queueOf: (name: string) => QueueRule;
  readonly #elsewhere = new Map<string, Placement>();
  #runMs = FIRST_GUESS_MS;

  constructor(
    name: string,
    handler: HandlerInfo | undefined,
    queueOf: (name: string) => QueueRule,
    hooks: TaskHooks | undefined,
  ) {
    this.name = name;
    this.isHandled = handler !== undefined;
    this.definition = handler?.options;
    this.#queueOf = queueOf;
    this.home = this.#place(this.definition?.queue ?? 'default');
    this.hooks = hooks;
  }

  /** @throws {InvalidNameError} */
  in(queue: string): Placement {
    if (queue === this.home.queue) return this.home;
    let placement = this.#elsewhere.get(queue);
    if (placement === undefined) {
      placement = this.#place(queue);
      this.#elsewhere.set(queue, placement);
    }
    return placement;
  }

  /** Expected time on a thread, ms. */
  get expectedMs(): number {
    return this.#runMs + OVERHEAD_MS;
  }

  measured(runMs: number): void {
    this.#runMs += (runMs - this.#runMs) * EWMA_WEIGHT;
  }

  /** Where attempts of a task in this queue run; `own` is what its enqueue said. */
  isolationOf(queue: string, own: TaskOptions | undefined): Isolation {
    return own?.isolation ?? this.in(queue).rules.isolation;
  }

  /** Rules of a task in this queue; `own` is what its enqueue said. */
  rulesOf(queue: string, own: TaskOptions | undefined): ResolvedOptions {
    if (own === undefined) return this.in(queue).rules;
    return resolveOptions(this.definition, this.#queueOf(queue).defaults, own);
  }

  #place(queue: string): Placement {
    const { defaults } = this.#queueOf(queue);
    const { definition } = this;
    return {
      queue,
      level: levelOf(definition?.priority ?? defaults.priority),
      startAfterCommit: definition?.startAfterCommit ?? defaults.startAfterCommit ?? false,
      codec: definition?.codec ?? defaults.codec,
      rules: resolveOptions(definition, defaults),
    };
  }
}

export type RegistryOptions = Pick<RuntimeOptions, 'queues' | 'hooks' | 'serve'>;

export class Registry {
  readonly #options: RegistryOptions;
  readonly #queues = new Map<string, QueueRule>();
  readonly #entries = new Map<string, NameEntry>();
  #exact = new Map<string, HandlerInfo>();
  /** Longest first. */
  #patterns: HandlerInfo[] = [];

  constructor(options: RegistryOptions) {
    this.#options = options;
    for (const name of options.queues.keys()) this.queue(name);
  }

  get handlers(): readonly HandlerInfo[] {
    return [...this.#exact.values(), ...this.#patterns];
  }

  /** Handlers became known, for example by `register`. */
  setHandlers(handlers: readonly HandlerInfo[]): void {
    this.#exact = new Map(
      handlers.filter((handler) => !handler.pattern).map((handler) => [handler.name, handler]),
    );
    this.#patterns = handlers
      .filter((handler) => handler.pattern)
      .toSorted((a, b) => b.name.length - a.name.length);
    this.#entries.clear();
  }

  /** @throws {InvalidNameError} */
  entry(name: string): NameEntry {
    let entry = this.#entries.get(name);
    if (entry === undefined) {
      checkName('task', name);
      // A pattern may stand for any number of names.
      if (this.#entries.size >= MAX_ENTRIES) this.#entries.clear();
      const { hooks } = this.#options;
      entry = new NameEntry(name, this.#handlerOf(name), (queue) => this.queue(queue), hooks.get(name));
      this.#entries.set(name, entry);
    }
    return entry;
  }

  /** The rule of a queue, made on first use. */
  queue(name: string): QueueRule {
    let rule = this.#queues.get(name);
    if (rule === undefined) {
      rule = this.#newQueue(name, this.#options.queues.get(name));
      this.#queues.set(name, rule);
    }
    return rule;
  }

  #newQueue(name: string, options: CheckedQueueOptions | undefined): QueueRule {
    checkName('queue', name);
    const { maxThreads, perThread = 1, paused = false, maxWaiting: _waiting, ...defaults } = options ?? {};
    return {
      name,
      defaults,
      maxThreads: maxThreads ?? Number.POSITIVE_INFINITY,
      perThread,
      isServed: this.#options.serve?.includes(name) ?? true,
      isPaused: paused,
    };
  }

  #handlerOf(name: string): HandlerInfo | undefined {
    return (
      this.#exact.get(name) ?? this.#patterns.find((pattern) => name.startsWith(pattern.name.slice(0, -1)))
    );
  }
}
