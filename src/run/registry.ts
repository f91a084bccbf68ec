/**
 * What is known of names and queues: which names have a handler, the rules of each, how long its tasks took lately,
 * and how queues are served. One entry per name, made on first use, so that an enqueue is one Map look-up.
 */

import type { CheckedQueueOptions, RuntimeOptions, TaskHooks } from '../options/types.js';
import { checkName, levelOf, resolveOptions } from '../options.js';
import type { HandlerInfo } from '../pool/pool.js';
import type { ResolvedOptions, TaskOptions } from '../task/task-options.js';

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
/** What one task costs beside its handler, ms. */
const OVERHEAD_MS = 0.002;

export class NameEntry {
  readonly name: string;
  readonly isHandled: boolean;
  readonly definition: TaskOptions | undefined;
  readonly queue: string;
  readonly level: number;
  readonly startAfterCommit: boolean;
  readonly codec: string | undefined;
  /** Rules of a task that was enqueued without options of its own. */
  readonly rules: ResolvedOptions;
  readonly hooks: TaskHooks | undefined;
  readonly #queues: ReadonlyMap<string, QueueRule>;
  #runMs = FIRST_GUESS_MS;

  constructor(
    name: string,
    handler: HandlerInfo | undefined,
    queues: ReadonlyMap<string, QueueRule>,
    hooks: TaskHooks | undefined,
  ) {
    this.name = name;
    this.isHandled = handler !== undefined;
    this.definition = handler?.options;
    this.#queues = queues;
    this.queue = this.definition?.queue ?? 'default';
    const defaults = queues.get(this.queue)?.defaults;
    this.level = levelOf(this.definition?.priority ?? defaults?.priority);
    this.startAfterCommit = this.definition?.startAfterCommit ?? defaults?.startAfterCommit ?? false;
    this.codec = this.definition?.codec ?? defaults?.codec;
    this.rules = resolveOptions(this.definition, defaults);
    this.hooks = hooks;
  }

  /** Expected time on a thread, ms. */
  get expectedMs(): number {
    return this.#runMs + OVERHEAD_MS;
  }

  measured(runMs: number): void {
    this.#runMs += (runMs - this.#runMs) * EWMA_WEIGHT;
  }

  /** Rules of a task with options of its own. */
  rulesWith(own: TaskOptions | undefined): ResolvedOptions {
    if (own === undefined) return this.rules;
    return resolveOptions(this.definition, this.#queues.get(own.queue ?? this.queue)?.defaults, own);
  }
}

export class Registry {
  readonly #options: RuntimeOptions;
  readonly #queues = new Map<string, QueueRule>();
  readonly #entries = new Map<string, NameEntry>();
  #exact = new Map<string, HandlerInfo>();
  /** Longest first. */
  #patterns: HandlerInfo[] = [];

  constructor(options: RuntimeOptions) {
    this.#options = options;
    for (const name of options.queues.keys()) this.queue(name);
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
      entry = new NameEntry(name, this.#handlerOf(name), this.#queues, this.#options.hooks.get(name));
      this.queue(entry.queue);
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
    const { maxThreads, perThread = 1, paused = false, ...defaults } = options ?? {};
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
