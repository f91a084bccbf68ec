/** `openRuntime`: opens the backend and the threads side by side, wires them, and offers what users call. */
import { Access, type AnyModule } from './access.js';
import type { Blobs } from './broker/blobs.js';
import { parseBackend } from './broker/open.js';
import { systemClock } from './clock.js';
import { InvalidArgumentError } from './errors.js';
import { defaultLogger } from './logger.js';
import type { OpenOptions, RuntimeOptions, StopOptions } from './options/types.js';
import { validateRuntimeOptions, validateStopOptions } from './options.js';
import { loadServer, type OwningSetup, own, Threads } from './owning.js';
import { modulesOf, openPool } from './pool/open.js';
import { KeepAlive } from './run/keep-alive.js';
import type { RunningItem } from './run/running-item.js';
import { StopSignals } from './run/stop-signals.js';
import type { StopReport } from './run/stopping.js';
import type { Standing } from './standing.js';
import { type Codec, codecsByName } from './task/codec.js';
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
  const codecs = codecsByName(checked.codecs);
  const files: { blobs?: Blobs } = {};
  const pool = await openPool<RunningItem>(location.execution, modules, checked, () => files.blobs);
  const setup = { location, options: checked, codecs, threads: new Threads(pool, files) };
  const keepAlive = new KeepAlive();
  let standing: Standing | undefined;
  try {
    standing = await stand(setup);
    // It may have been aborted while the threads booted.
    checked.signal?.throwIfAborted();
    const runtime = new Runtime<Module>({ standing, options: checked, codecs, keepAlive });
    runtime.begin();
    return runtime;
  } catch (error) {
    keepAlive.end();
    await pool.stop(0).catch(() => {});
    await standing?.stop({ graceMs: 0, killMs: 0 });
    throw explained(error);
  }
}

async function stand(setup: OwningSetup): Promise<Standing> {
  const { location, options, threads } = setup;
  const { ifLocked, waitForTasks, signal } = options;
  if (ifLocked === 'fail' || location.scheme === 'memory') return own(setup, { signal });
  if (ifLocked === 'join') {
    // Loaded when it is needed, so that importing the package is quick.
    const { join } = await import('./joining.js');
    return join(setup);
  }
  // The next owner works at once when the threads have booted before its turn comes.
  const failure = new AbortController();
  const booted = threads.boot();
  if (waitForTasks) booted.catch((error) => failure.abort(error));
  await loadServer();
  const ends = signal === undefined ? failure.signal : AbortSignal.any([signal, failure.signal]);
  return own(setup, { signal: ends });
}

/** Node refuses some flags, and says so when the first thread is made. */
function explained(error: unknown): unknown {
  if ((error as { code?: unknown } | undefined)?.code !== 'ERR_WORKER_INVALID_EXEC_ARGV') return error;
  return new InvalidArgumentError('options.execArgv', 'flags that worker threads take', undefined, {
    cause: error,
  });
}

/** What a runtime is made of. */
export interface RuntimeParts {
  readonly standing: Standing;
  readonly options: RuntimeOptions;
  readonly codecs: ReadonlyMap<string, Codec>;
  readonly keepAlive: KeepAlive;
}

/** A runtime that owns its tasks and runs them; see {@link openRuntime}. */
export class Runtime<Module = AnyModule> extends Access<Module> {
  readonly #standing: Standing;
  readonly #options: RuntimeOptions;
  readonly #keepAlive: KeepAlive;
  readonly #signals: StopSignals;
  #stopped: Promise<StopReport> | undefined;

  /** Use {@link openRuntime}. */
  constructor({ standing, options, codecs, keepAlive }: RuntimeParts) {
    super(standing.desk, codecs, options.threads);
    this.#standing = standing;
    this.#options = options;
    this.#keepAlive = keepAlive;
    this.#signals = new StopSignals(options);
  }

  /** For `openRuntime`: listens to what stops it, and starts if it is to start by itself. */
  begin(): void {
    this.#signals.listen({ stop: () => this.stop(), hurry: () => this.#standing.hurry() });
    if (this.#options.autostart) this.start();
  }

  /** Tasks may start from now on. Needed only with `autostart: false`; idempotent. */
  start(): void {
    this.#standing.start();
  }

  /**
   * Adds a module while running; tasks that waited for its names start.
   * @throws (rejects) {@link TasksModuleError}
   */
  async register<More>(url: string | URL): Promise<Runtime<Module & More>> {
    await this.#standing.register(modulesOf([url])[0]!);
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
    const checked = validateStopOptions(options, 'options');
    this.#stopped ??= this.#standing.stop(checked).finally(() => {
      this.#signals.forget();
      this.#keepAlive.end();
    });
    return this.#stopped;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
