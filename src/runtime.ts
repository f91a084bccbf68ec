/** `openRuntime`: opens the backend and the threads side by side, wires them, and offers what users call. */
import type { Backend, Settled } from './broker/broker.js';
import type { Counts, TaskFilter } from './broker/inspect.js';
import { openBackend, parseBackend } from './broker/open.js';
import { systemClock } from './clock.js';
import { InvalidArgumentError, StoppedError } from './errors.js';
import { Handle, type HandleHost, resultOf } from './handle.js';
import { defaultLogger } from './logger.js';
import { loadManifest, storeManifest } from './manifest.js';
import type {
  EnqueueOptions,
  OpenOptions,
  RunOptions,
  RuntimeOptions,
  StopOptions,
} from './options/types.js';
import { validateRuntimeOptions, validateStopOptions } from './options.js';
import { modulesOf, openPool } from './pool/open.js';
import type { Pool } from './pool/pool.js';
import { Administration, type TaskPage } from './run/administration.js';
import { Coordinator } from './run/coordinator.js';
import type { TaskInfo } from './run/describe.js';
import type { EventFilter, RuntimeEvent } from './run/events.js';
import { checkEventFilter, type PageRequest } from './run/filters.js';
import { Intake } from './run/intake.js';
import { KeepAlive } from './run/keep-alive.js';
import { Pauses } from './run/pauses.js';
import type { RunningItem } from './run/running-item.js';
import { Stopping, type StopReport } from './run/stopping.js';
import { type Codec, jsonCodec } from './task/codec.js';
import type { PayloadOf, ResultOf, TasksOf } from './task/define-types.js';
import type { TaskId } from './task/task.js';
import { defaultThreads } from './threads.js';

/** Names of a module's tasks. */
export type NameOf<Module> = keyof TasksOf<Module> & string;

/** A module about which nothing is known: any name, any payload. */
// biome-ignore lint/suspicious/noExplicitAny: without a module type nothing can be checked
export type AnyModule = { readonly [name: string]: (payload: any) => any };

/** One task of a batch. */
export type BatchItem<Module> = {
  [Name in NameOf<Module>]: {
    readonly name: Name;
    readonly payload: PayloadOf<TasksOf<Module>, Name>;
    readonly options?: EnqueueOptions;
  };
}[NameOf<Module>];

/**
 * Opens a runtime: a backend, and threads that run what it holds.
 *
 * @throws {InvalidArgumentError} {@link UnknownOptionError} before anything is opened.
 * @throws {TasksModuleError} when the module is missing, throws on import, or exports no handler.
 * @throws {LockedError} {@link StoreUnavailableError} {@link StoreCorruptError} {@link StoreForeignError}
 *   {@link StoreTooNewError}
 */
export async function openRuntime<Module = AnyModule>(options: OpenOptions): Promise<Runtime<Module>> {
  const checked = validateRuntimeOptions(options, {
    threads: defaultThreads,
    logger: defaultLogger,
    clock: systemClock,
  });
  const location = parseBackend(checked.backend);
  const modules = modulesOf(checked.tasks);
  checked.signal?.throwIfAborted();
  const codecs = new Map([jsonCodec, ...checked.codecs].map((codec) => [codec.name, codec]));
  const pool = await openPool<RunningItem>(location.execution, modules, checked);
  const backend = await openBackend(location, {
    ifLocked: checked.ifLocked,
    limits: checked,
    space: checked,
    clock: checked.clock,
    logger: checked.logger,
    ...(checked.signal === undefined ? {} : { signal: checked.signal }),
  });
  const runsNothing = location.execution === 'none';
  const coordinator = new Coordinator({ backend, pool, options: checked, codecs, runsNothing });
  const runtime = new Runtime<Module>({ backend, pool, coordinator, options: checked, codecs });
  try {
    await runtime.boot();
  } catch (error) {
    runtime.unref();
    await pool.stop(0).catch(() => {});
    await backend.close();
    throw explained(error);
  }
  return runtime;
}

/** Node refuses some flags, and says so when the first thread is made. */
function explained(error: unknown): unknown {
  if ((error as { code?: unknown } | undefined)?.code !== 'ERR_WORKER_INVALID_EXEC_ARGV') return error;
  return new InvalidArgumentError('options.execArgv', 'flags that worker threads take', undefined, {
    cause: error,
  });
}

const NOT_LOADED = 'the tasks module could not be loaded';

interface RuntimeParts {
  readonly backend: Backend;
  readonly pool: Pool<RunningItem>;
  readonly coordinator: Coordinator;
  readonly options: RuntimeOptions;
  readonly codecs: ReadonlyMap<string, Codec>;
}

export class Runtime<Module = AnyModule> {
  readonly #parts: RuntimeParts;
  readonly #administration: Administration;
  readonly #intake: Intake;
  readonly #take = (settled: Settled): unknown => resultOf(settled, this.#parts.codecs);
  readonly #host: HandleHost;
  readonly #keepAlive = new KeepAlive();
  readonly #pauses: Pauses;
  readonly #stopping: Stopping;

  /** Use {@link openRuntime}. */
  constructor(parts: RuntimeParts) {
    this.#parts = parts;
    this.#administration = new Administration(parts);
    const { backend, coordinator, options } = parts;
    this.#intake = new Intake(backend.broker, coordinator, options.clock, (id) => this.cancel(id));
    this.#host = {
      codecs: parts.codecs,
      stateOf: (id) => this.#administration.stateOf(id),
      cancel: (id) => this.cancel(id),
      events: (filter) => this.events(filter),
    };
    this.#pauses = new Pauses(backend.keyValue, coordinator, options);
    this.#stopping = new Stopping(parts, () => this.#keepAlive.end());
  }

  /** For `openRuntime`: reads what is stored, boots the threads. */
  async boot(): Promise<void> {
    const { backend, pool, coordinator, options } = this.#parts;
    await this.#pauses.load();
    const booted = pool.start(coordinator.executor).then(async () => {
      coordinator.handlersChanged();
      if (pool.handlers.length > 0) await storeManifest(backend.keyValue, pool.handlers);
    });
    if (options.waitForTasks) await booted;
    else {
      booted.catch((error) => {
        if (!(error instanceof StoppedError)) options.logger.error({ error: String(error) }, NOT_LOADED);
      });
      const known = await loadManifest(backend.keyValue);
      // The threads may have told meanwhile.
      if (pool.handlers.length === 0) coordinator.registry.setHandlers(known);
    }
    // It may have been aborted while the threads booted.
    options.signal?.throwIfAborted();
    this.#stopping.listen();
    if (options.autostart) this.start();
  }

  /** Tasks may start from now on. Needed only with `autostart: false`; idempotent. */
  start(): void {
    this.#parts.coordinator.start();
  }

  /**
   * Puts a task into its queue. Resolves when it is flushed: then it survives a crash and a power loss.
   * @throws (rejects) {@link InvalidNameError} {@link UnknownOptionError} {@link InvalidArgumentError}
   *   {@link NotEncodableError} {@link TooLargeError} {@link QueueFullError} {@link DuplicateTaskError}
   *   {@link StoreFencedError} {@link StoppedError}; nothing is stored then.
   */
  async enqueue<Name extends NameOf<Module>>(
    name: Name,
    payload: PayloadOf<TasksOf<Module>, Name>,
    options?: EnqueueOptions,
  ): Promise<Handle<ResultOf<TasksOf<Module>, Name>>> {
    const ticket = await this.#intake.enqueue(name, payload, options);
    return new Handle(ticket, this.#host);
  }

  /** Puts up to 20,000 tasks in, all or none of them. @throws (rejects) as {@link Runtime.enqueue}. */
  async enqueueBatch(batch: readonly BatchItem<Module>[]): Promise<Handle[]> {
    const tickets = await this.#intake.enqueueBatch(batch);
    return tickets.map((ticket) => new Handle(ticket, this.#host));
  }

  /**
   * Enqueues a task and waits for its result. An abort of `signal` cancels the task.
   * @throws (rejects) as {@link Runtime.enqueue} and {@link Handle.result}.
   */
  run<Name extends NameOf<Module>>(
    name: Name,
    payload: PayloadOf<TasksOf<Module>, Name>,
    options?: RunOptions,
  ): Promise<ResultOf<TasksOf<Module>, Name>> {
    return this.#intake.run(name, payload, options, this.#take) as Promise<ResultOf<TasksOf<Module>, Name>>;
  }

  /** A handle on a task enqueued earlier, here or elsewhere. Nothing is looked up until it is asked. */
  handle<Name extends NameOf<Module> = NameOf<Module>>(id: TaskId): Handle<ResultOf<TasksOf<Module>, Name>> {
    const { backend, coordinator } = this.#parts;
    const settled = async () => {
      coordinator.checkReachable();
      coordinator.gather.flush();
      return backend.broker.settled(id);
    };
    return new Handle({ id, isNew: false, settled }, this.#host);
  }

  /** Everything known of a task; `undefined` when it never existed or is no longer kept. */
  get(id: TaskId): Promise<TaskInfo | undefined> {
    return this.#administration.get(id);
  }

  /** At most `limit` (1 to 1,000, default 100) tasks; give `after` back for the next page. */
  list(filter: TaskFilter = {}, page: PageRequest = {}): Promise<TaskPage> {
    return this.#administration.list(filter, page);
  }

  /** How many tasks of each queue are in each state. Costs nothing: the counters are kept with the tasks. */
  counts(): Counts {
    return this.#administration.counts();
  }

  /** Cancels one task or all that a filter names, in whatever state. @returns how many were not final yet. */
  cancel(what: TaskId | TaskFilter): Promise<number> {
    return this.#administration.cancel(what);
  }

  /**
   * Sends a dead or cancelled task, or all dead ones that a filter names, round again with fresh counts.
   * @returns how many. @throws {WrongStateError} {@link UnknownTaskError} for a single one.
   */
  redrive(what: TaskId | TaskFilter): Promise<number> {
    return this.#administration.redrive(what);
  }

  /** Removes a final task, or all dead ones that a filter names, and their results. @returns how many. */
  delete(what: TaskId | TaskFilter): Promise<number> {
    return this.#administration.delete(what);
  }

  /** No task of this queue starts until `resume`, also after a restart. Running ones go on. */
  pause(queue: string): Promise<void> {
    return this.#pauses.set(queue, true);
  }

  resume(queue: string): Promise<void> {
    return this.#pauses.set(queue, false);
  }

  /** What happens from now on, as an async iterator that drops the oldest when its reader is too slow. */
  events(filter: EventFilter = {}): AsyncIterableIterator<RuntimeEvent> {
    const { coordinator, options } = this.#parts;
    return coordinator.events.listen(checkEventFilter(filter), () => options.clock.now());
  }

  /**
   * Adds a module while running; tasks that waited for its names start.
   * @throws (rejects) {@link TasksModuleError}
   */
  async register<More>(url: string | URL): Promise<Runtime<Module & More>> {
    const { pool, coordinator, backend } = this.#parts;
    coordinator.checkOpen();
    await pool.register(modulesOf([url])[0]!);
    coordinator.handlersChanged();
    await storeManifest(backend.keyValue, pool.handlers);
    return this as unknown as Runtime<Module & More>;
  }

  /** Changes the number of threads; running tasks are not disturbed. */
  async resize(threads: number): Promise<void> {
    this.#parts.coordinator.checkOpen();
    await this.#parts.pool.resize(threads);
    this.#parts.coordinator.ready();
  }

  /** Resolves when nothing is ready, running, blocked or waiting for a retry, and all results are flushed. */
  whenIdle(): Promise<void> {
    return this.#parts.coordinator.whenIdle();
  }

  /** The process may end although this runtime is open. */
  unref(): this {
    this.#keepAlive.end();
    return this;
  }

  /**
   * No task starts any more; running ones get `graceMs`, then the abort signal, then their threads' end after
   * `killMs`. Unfinished ones go back uncharged. Bounded in time; a second call returns the same promise.
   */
  stop(options?: StopOptions): Promise<StopReport> {
    return this.#stopping.stop(validateStopOptions(options, 'options'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
