/**
 * A runtime that joins a folder: a client of its owner while there is one, its owner from the day there is
 * none. Its threads boot ahead, so that the next owner works at once.
 */
import { loadLmdb } from './broker/open.js';
import { StoppedError } from './errors.js';
import type { StopOptions } from './options/types.js';
import type { Ownership } from './owner/ownership.js';
import { loadServer, type Owning, type OwningSetup, own } from './owning.js';
import type { Desk } from './run/desk.js';
import type { StopReport } from './run/stopping.js';
import { type Post, Standby } from './standby.js';
import type { Standing } from './standing.js';

const NEVER = new Promise<never>(() => {});

/**
 * Resolves when there is an owner, this one or another, and the threads are ready.
 * @throws (rejects) as {@link own}, but {LockedError}.
 */
export async function join(setup: OwningSetup): Promise<Joining> {
  const { options, threads } = setup;
  const joining = new Joining(setup);
  const abort = (): void => void joining.stop({ graceMs: 0, killMs: 0 });
  options.signal?.addEventListener('abort', abort, { once: true });
  try {
    const booted = threads.boot();
    // It works at once when its turn comes.
    await Promise.all([loadLmdb(), loadServer()]);
    await Promise.all([joining.open(), options.waitForTasks ? booted : undefined]);
    return joining;
  } catch (error) {
    await joining.stop({ graceMs: 0, killMs: 0 });
    throw options.signal?.aborted ? options.signal.reason : error;
  } finally {
    options.signal?.removeEventListener('abort', abort);
  }
}

export class Joining implements Standing {
  readonly #setup: OwningSetup;
  readonly #standby: Standby;
  #owning: Owning | undefined;
  #isStarted = false;
  #stopped: Promise<StopReport> | undefined;

  /** Use {@link join}. */
  constructor(setup: OwningSetup) {
    const { location, options, codecs } = setup;
    const { clock, logger } = options;
    this.#setup = setup;
    this.#standby = new Standby({
      ...{ folder: location.path, role: 'runtime', codecs, clock, logger },
      hold: (ownership) => this.#hold(ownership),
    });
  }

  get desk(): Desk {
    return this.#standby.desk;
  }

  open(): Promise<void> {
    return this.#standby.begin();
  }

  start(): void {
    this.#isStarted = true;
    this.#owning?.start();
  }

  async register(module: string): Promise<void> {
    if (this.#stopped !== undefined) throw new StoppedError();
    await this.#setup.threads.pool.register(module);
    await this.#owning?.handlersChanged();
  }

  stop(options: Required<StopOptions>): Promise<StopReport> {
    this.#stopped ??= this.#stop(options);
    return this.#stopped;
  }

  hurry(): void {
    this.#owning?.hurry();
  }

  async #hold(ownership: Ownership): Promise<Post> {
    const owning = await own(this.#setup, { ownership });
    this.#owning = owning;
    if (this.#isStarted) owning.start();
    return { desk: owning.desk, own: owning.desk, over: NEVER, close: async () => {} };
  }

  async #stop(options: Required<StopOptions>): Promise<StopReport> {
    // The folder may just have become ours: that is brought to an end first.
    if (this.#owning === undefined) await this.#standby.end(new StoppedError());
    if (this.#owning !== undefined) return this.#owning.stop(options);
    const { lostThreads } = await this.#setup.threads.pool.stop(options.killMs);
    return { settled: 0, released: 0, lostThreads };
  }
}
