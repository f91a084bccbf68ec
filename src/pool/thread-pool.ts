/**
 * The pool port over piscina's worker threads: a fixed number of slots, each with a thread of its own
 * (`thread-slot.ts`). This file holds what is common to all: the modules, the handlers they brought, the
 * number of slots, the order of start and stop. Why each thread has its own piscina is told in `thread.ts`.
 */
import type { ResourceLimits } from 'node:worker_threads';
import { processClock } from '../../workers/process-clock.js';
import type { Blobs } from '../broker/blobs.js';
import { type Clock, systemClock } from '../clock.js';
import { InvalidArgumentError, StoppedError, TasksModuleError } from '../errors.js';
import { type Logger, silentLogger } from '../logger.js';
import type { Isolation } from '../task/task-options.js';
import type { PoolClock } from './batch.js';
import { Child } from './child.js';
import type { HandlerInfo, Pool, PoolListener, RecycleRule, Services } from './pool.js';
import { type BootThread, Thread, type ThreadSetup } from './thread.js';
import { ThreadSlot } from './thread-slot.js';

export interface ThreadPoolOptions {
  /** Slots, 1 to 1,024. */
  readonly threads: number;
  /** URLs of the modules with the handlers; their exported codecs are known to the threads too. */
  readonly modules: readonly string[];
  readonly clock?: Clock;
  readonly services?: Services;
  /** Where large payloads and results are kept; asked with the first batch of a thread. */
  readonly blobs?: () => Blobs | undefined;
  /** URL of a module whose exports are codecs. */
  readonly codecsModule?: string;
  readonly execArgv?: readonly string[];
  readonly resourceLimits?: ResourceLimits;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Default: never. */
  readonly recycle?: Partial<RecycleRule>;
  /** Largest encoded result, its binary parts not counted; default 16 MiB. */
  readonly maxResultBytes?: number;
  /** Binary parts of one result together; default 64 MiB. */
  readonly maxBufferBytes?: number;
  readonly logger?: Logger;
  /** After this a thread that is not ready is terminated, milliseconds; default 60,000. */
  readonly bootTimeoutMs?: number;
  /** From `terminate()` until a thread counts as stuck in native code, milliseconds; default 1,000. */
  readonly lostAfterMs?: number;
  /** For the `stop` of setups when a thread retires, milliseconds; default 5,000. */
  readonly stopAppsMs?: number;
}

const MIB = 1_048_576;
const MAX_THREADS = 1_024;

/** A pool of worker threads, and of children beside them; nothing runs before `start`. */
export function createThreadPool<Token = unknown>(options: ThreadPoolOptions): Pool<Token> {
  const boot: BootThread = (setup, listener) => new Thread(setup, listener);
  const bootChild: BootThread = (setup, listener) => new Child(setup, listener);
  return new ThreadPool<Token>(options, { now: processClock(), boot, bootChild });
}

/** What tells a pool of worker threads from the one on the host's own thread. */
export interface ThreadKind {
  readonly boot: BootThread;
  /** Absent where there are no children. */
  readonly bootChild?: BootThread;
  /** Milliseconds on the clock shared with its threads. */
  now(): number;
}

/** Used directly by `same-thread.ts` only. */
export class ThreadPool<Token> implements Pool<Token> {
  readonly #options: ThreadPoolOptions;
  readonly #kind: ThreadKind;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #time: PoolClock;
  readonly #handlers = new Map<string, HandlerInfo>();
  readonly #modules: string[];
  /** Also those that were retired; a slot keeps its index. */
  readonly #all: ThreadSlot<Token>[] = [];
  #slots: readonly ThreadSlot<Token>[] = [];
  /** As `#all`, beside each. */
  readonly #allChildren: ThreadSlot<Token>[] = [];
  #children: readonly ThreadSlot<Token>[] = [];
  #listener: PoolListener<Token> | undefined;
  #stopping: Promise<{ readonly lostThreads: number }> | undefined;

  constructor(options: ThreadPoolOptions, kind: ThreadKind) {
    this.#options = options;
    this.#kind = kind;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#time = { now: () => kind.now(), wallNow: () => this.#clock.now() };
    this.#modules = [...options.modules];
    this.#take(options.threads);
  }

  get slots(): readonly ThreadSlot<Token>[] {
    return this.#slots;
  }

  get children(): readonly ThreadSlot<Token>[] {
    return this.#children;
  }

  /** One after the other, so that one task that needs a child does not start all of them. */
  warm(index: number): void {
    if (this.#stopping !== undefined || this.#children.some((each) => each.isOpen && !each.isReady)) return;
    this.#children[index]?.open().catch(() => {});
  }

  get handlers(): readonly HandlerInfo[] {
    return [...this.#handlers.values()];
  }

  async start(listener: PoolListener<Token>): Promise<void> {
    this.#listener = listener;
    try {
      await this.#open();
    } catch (error) {
      await this.stop(0);
      throw firstOf(error);
    }
  }

  async register(url: string): Promise<readonly HandlerInfo[]> {
    if (this.#listener === undefined || this.#stopping !== undefined) throw new StoppedError('The pool');
    let handlers: readonly HandlerInfo[];
    try {
      // All threads may be between death and replacement.
      if (!this.#slots.some((slot) => slot.isReady)) await this.#open();
      handlers = await Promise.any(this.#ask(url));
    } catch (error) {
      const first = firstOf(error);
      throw first instanceof TasksModuleError
        ? first
        : new TasksModuleError(url, String(first), { cause: first });
    }
    if (!this.#modules.includes(url)) this.#modules.push(url);
    this.#learn(handlers);
    // Threads that became ready between the question and the answer.
    this.#ask(url);
    return handlers;
  }

  async resize(threads: number): Promise<void> {
    if (this.#stopping !== undefined) throw new StoppedError('The pool');
    this.#take(threads);
    const opened = this.#slots.filter((slot) => !slot.isOpen).map((slot) => slot.open().catch(() => {}));
    const surplus = [...this.#all.slice(threads), ...this.#allChildren.slice(threads)];
    const retired = surplus.filter((slot) => slot.isOpen);
    await Promise.all([...opened, ...retired.map((slot) => slot.retire())]);
  }

  stop(killMs: number): Promise<{ readonly lostThreads: number }> {
    const all = [...this.#all, ...this.#allChildren];
    this.#stopping ??= Promise.all(all.map((slot) => slot.stop(killMs))).then((lost) => ({
      lostThreads: lost.reduce((sum, each) => sum + each, 0),
    }));
    return this.#stopping;
  }

  /** Resolves with the first slot that is ready. */
  async #open(): Promise<void> {
    await Promise.any(this.#slots.map((slot) => slot.open()));
  }

  /** The answers of all live threads. */
  #ask(url: string): Promise<readonly HandlerInfo[]>[] {
    const answers = [...this.#slots, ...this.#children].flatMap((slot) => slot.register(url) ?? []);
    for (const each of answers) {
      each.catch((error) => this.#logger.warn({ module: url, error }, 'a thread could not import a module'));
    }
    return answers;
  }

  /** The first `threads` slots are in use; those that were never needed are made. */
  #take(threads: number): void {
    if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS) {
      throw new InvalidArgumentError('threads', `an integer from 1 to ${MAX_THREADS}`, threads);
    }
    const { boot, bootChild } = this.#kind;
    for (let index = this.#all.length; index < threads; index++) {
      this.#all.push(this.#newSlot(index, 'thread', boot));
      if (bootChild !== undefined) this.#allChildren.push(this.#newSlot(index, 'process', bootChild));
    }
    this.#slots = this.#all.slice(0, threads);
    this.#children = this.#allChildren.slice(0, threads);
  }

  #newSlot(index: number, isolation: Isolation, boot: BootThread): ThreadSlot<Token> {
    const { recycle, lostAfterMs = 1_000, stopAppsMs = 5_000 } = this.#options;
    return new ThreadSlot(index, {
      clock: this.#clock,
      time: this.#time,
      recycle: { tasks: Number.POSITIVE_INFINITY, heapBytes: Number.POSITIVE_INFINITY, ...recycle },
      isolation,
      boot,
      lostAfterMs,
      stopAppsMs,
      listener: () => this.#requireListener(),
      threadSetup: () => this.#threadSetup(),
      learn: (handlers) => this.#learn(handlers),
    });
  }

  #threadSetup(): ThreadSetup {
    const {
      services,
      codecsModule,
      execArgv,
      resourceLimits,
      env,
      recycle,
      bootTimeoutMs = 60_000,
    } = this.#options;
    const { blobs } = this.#options;
    const { maxResultBytes = 16 * MIB, maxBufferBytes = 64 * MIB } = this.#options;
    return {
      clock: this.#clock,
      limits: { maxResultBytes, maxResultBufferBytes: maxBufferBytes },
      modules: [...this.#modules],
      watchMemory: (recycle?.heapBytes ?? Number.POSITIVE_INFINITY) !== Number.POSITIVE_INFINITY,
      bootTimeoutMs,
      // Without services no port is opened and Comlink is not loaded.
      services: services !== undefined && Object.keys(services).length > 0 ? services : undefined,
      ...(blobs === undefined ? {} : { blobs }),
      ...(codecsModule === undefined ? {} : { codecsModule }),
      ...(execArgv === undefined ? {} : { execArgv }),
      ...(resourceLimits === undefined ? {} : { resourceLimits }),
      ...(env === undefined ? {} : { env }),
    };
  }

  #learn(handlers: readonly HandlerInfo[]): void {
    for (const each of handlers) this.#handlers.set(each.name, each);
  }

  #requireListener(): PoolListener<Token> {
    if (this.#listener === undefined) throw new StoppedError('The pool');
    return this.#listener;
  }
}

/** What `Promise.any` rejects with, one level down. */
function firstOf(error: unknown): unknown {
  return error instanceof AggregateError ? error.errors[0] : error;
}
