/** A runtime that owns its folder: backend and threads wired together, and the door open to clients. */
import type { Blobs } from './broker/blobs.js';
import type { Backend } from './broker/broker.js';
import { type BackendLocation, openBackend } from './broker/open.js';
import { StoppedError } from './errors.js';
import { loadManifest, storeManifest } from './manifest.js';
import type { RuntimeOptions, StopOptions } from './options/types.js';
import type { Ownership } from './owner/ownership.js';
import type { Pool } from './pool/pool.js';
import { PoolRelay } from './pool/relay.js';
import { Coordinator } from './run/coordinator.js';
import type { DeskParts } from './run/desk-parts.js';
import { LocalDesk } from './run/local-desk.js';
import type { RunningItem } from './run/running-item.js';
import { Stopping, type StopReport } from './run/stopping.js';
import type { Standing } from './standing.js';
import type { Codec } from './task/codec.js';

const NOT_LOADED = 'the tasks module could not be loaded';

/** The threads of a runtime. They boot once, before or after there is something to run. */
export class Threads {
  readonly pool: Pool<RunningItem>;
  readonly #relay = new PoolRelay<RunningItem>();
  readonly #files: { blobs?: Blobs };
  #booted: Promise<void> | undefined;

  /** @param files  Where the threads look for the files of large payloads and results. */
  constructor(pool: Pool<RunningItem>, files: { blobs?: Blobs }) {
    this.pool = pool;
    this.#files = files;
  }

  /** Resolves with the first thread that knows the handlers. @throws (rejects) {TasksModuleError} */
  boot(): Promise<void> {
    if (this.#booted === undefined) {
      this.#booted = this.pool.start(this.#relay);
      // Whoever waits for it hears of it.
      this.#booted.catch(() => {});
    }
    return this.#booted;
  }

  /** They work on this backend from now on; what they say is for the coordinator's executor. */
  serve({ blobs }: Backend, coordinator: Coordinator): void {
    if (blobs !== undefined) this.#files.blobs = blobs;
    this.#relay.attach(coordinator.executor);
  }
}

/** What is settled before the folder is won. */
export interface OwningSetup {
  readonly location: BackendLocation;
  readonly options: RuntimeOptions;
  readonly codecs: ReadonlyMap<string, Codec>;
  readonly threads: Threads;
}

/**
 * Opens the backend, under an ownership won before or one won by this, and boots the threads if need be.
 *
 * @param signal  Ends the wait for the folder.
 * @throws (rejects) {LockedError} {@link StoreUnavailableError} {@link StoreCorruptError}
 *   {@link StoreForeignError} {@link StoreTooNewError} {@link TasksModuleError}
 */
export async function own(
  { location, options, codecs, threads }: OwningSetup,
  { ownership, signal }: { readonly ownership?: Ownership; readonly signal?: AbortSignal | undefined },
): Promise<Owning> {
  const { ifLocked, clock, logger } = options;
  const backend = await openBackend(location, {
    ifLocked: ifLocked === 'fail' ? 'fail' : 'wait',
    ...{ limits: options, space: options, clock, logger },
    ...(ownership === undefined ? {} : { ownership }),
    ...(signal === undefined ? {} : { signal }),
  });
  try {
    const { pool } = threads;
    const runsNothing = location.execution === 'none';
    const coordinator = new Coordinator({ backend, pool, options, codecs, runsNothing });
    const owning = new Owning({ backend, pool, coordinator, options });
    threads.serve(backend, coordinator);
    await owning.boot(threads.boot());
    return owning;
  } catch (error) {
    await backend.close();
    throw error;
  }
}

/** What answers clients is loaded when it is needed, so that importing the package is quick; or before. */
export function loadServer() {
  return import('./remote/server.js');
}

export class Owning implements Standing {
  readonly desk: LocalDesk;
  readonly #parts: DeskParts;
  readonly #stopping: Stopping;

  /** Use {@link own}. */
  constructor(parts: DeskParts) {
    this.#parts = parts;
    this.desk = new LocalDesk(parts);
    this.#stopping = new Stopping(parts);
  }

  /**
   * Reads what is stored, and lets clients in: by what is known of the last run they need not wait for the
   * threads.
   *
   * @param booted  When the threads have told their handlers.
   */
  async boot(booted: Promise<void>): Promise<void> {
    const { backend, pool, coordinator, options } = this.#parts;
    await this.desk.load();
    const known = await loadManifest(backend.keyValue);
    // The threads may have told already.
    if (pool.handlers.length === 0) coordinator.setHandlers(known.handlers);
    await this.#openDoor();
    const told = booted.then(() => this.handlersChanged());
    if (options.waitForTasks) return told;
    told.catch((error) => {
      if (!(error instanceof StoppedError)) options.logger.error({ error: String(error) }, NOT_LOADED);
    });
  }

  start(): void {
    this.#parts.coordinator.start();
  }

  async register(module: string): Promise<void> {
    const { pool, coordinator } = this.#parts;
    coordinator.checkOpen();
    await pool.register(module);
    await this.handlersChanged();
  }

  /** Resolves when the handlers of the threads are known to the next run as well. */
  async handlersChanged(): Promise<void> {
    const { backend, pool, coordinator, options } = this.#parts;
    coordinator.handlersChanged();
    if (pool.handlers.length > 0) await storeManifest(backend.keyValue, pool.handlers, options);
  }

  stop(options: Required<StopOptions>): Promise<StopReport> {
    return this.#stopping.stop(options);
  }

  hurry(): void {
    this.#stopping.hurry();
  }

  async #openDoor(): Promise<void> {
    const { backend, coordinator, options } = this.#parts;
    if (backend.door === undefined) return;
    const { Server } = await loadServer();
    const server = new Server({ desk: this.desk, coordinator, options, role: 'runtime' });
    backend.door.onConnection((socket) => server.accept(socket));
  }
}
