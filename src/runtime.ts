/** `openRuntime`: opens the backend and the threads side by side, wires them, and offers what users call. */
import { Access, type AnyModule } from './access.js';
import { openBackend, parseBackend } from './broker/open.js';
import { systemClock } from './clock.js';
import { InvalidArgumentError, StoppedError } from './errors.js';
import { defaultLogger } from './logger.js';
import { loadManifest, storeManifest } from './manifest.js';
import type { OpenOptions, StopOptions } from './options/types.js';
import { validateRuntimeOptions, validateStopOptions } from './options.js';
import { modulesOf, openPool } from './pool/open.js';
import { Coordinator } from './run/coordinator.js';
import { KeepAlive } from './run/keep-alive.js';
import { type DeskParts, LocalDesk } from './run/local-desk.js';
import type { RunningItem } from './run/running-item.js';
import { StopSignals } from './run/stop-signals.js';
import { Stopping, type StopReport } from './run/stopping.js';
import { type Codec, jsonCodec } from './task/codec.js';
import { defaultThreads } from './threads.js';

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
  const parts = { backend, pool, coordinator, options: checked };
  const runtime = new Runtime<Module>({ ...parts, desk: new LocalDesk(parts), codecs });
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

/** What a runtime is made of. */
export interface RuntimeParts extends DeskParts {
  readonly desk: LocalDesk;
  readonly codecs: ReadonlyMap<string, Codec>;
}

export class Runtime<Module = AnyModule> extends Access<Module> {
  readonly #parts: RuntimeParts;
  readonly #keepAlive = new KeepAlive();
  readonly #stopping: Stopping;
  readonly #signals: StopSignals;
  #stopped: Promise<StopReport> | undefined;

  /** Use {@link openRuntime}. */
  constructor(parts: RuntimeParts) {
    super(parts.desk, parts.codecs);
    this.#parts = parts;
    this.#stopping = new Stopping(parts);
    this.#signals = new StopSignals(parts.options);
  }

  /** For `openRuntime`: reads what is stored, boots the threads. */
  async boot(): Promise<void> {
    const { backend, pool, coordinator, options, desk } = this.#parts;
    await desk.load();
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
    this.#signals.listen({ stop: () => this.stop(), hurry: () => this.#stopping.hurry() });
    if (options.autostart) this.start();
  }

  /** Tasks may start from now on. Needed only with `autostart: false`; idempotent. */
  start(): void {
    this.#parts.coordinator.start();
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
    this.#stopped ??= this.#stopping.stop(validateStopOptions(options, 'options')).finally(() => {
      this.#signals.forget();
      this.#keepAlive.end();
    });
    return this.#stopped;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
