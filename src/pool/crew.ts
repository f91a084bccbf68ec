/** A thread with its station, from boot to exit. */
import { type Clock, systemClock } from '../clock.js';
import type { PoolClock } from './batch.js';
import type { Slot } from './pool.js';
import { Station, type StationOwner } from './station.js';
import type { BootThread, Death, PoolThread, ThreadSetup } from './thread.js';
import { ThreadFiles } from './thread-files.js';
import { within } from './within.js';

export interface CrewBounds {
  /** From `terminate()` until a thread counts as stuck in native code, milliseconds. */
  readonly lostAfterMs: number;
  /** For the `stop` of setups when a thread retires, milliseconds. */
  readonly stopAppsMs: number;
}

export class Crew<Token> {
  readonly thread: PoolThread;
  readonly station: Station<Token>;
  readonly #clock: Clock;
  readonly #bounds: CrewBounds;
  /** Why it cannot be used, when it failed to boot. */
  failure: Error | undefined;
  isBooted = false;
  /** Terminated, and did not exit in time. */
  isLost = false;
  hasExited = false;
  /** Resolves when it is lost or has exited. */
  readonly #gone: Promise<void>;
  #leave: () => void = () => {};

  constructor(
    slot: Slot<Token>,
    owner: StationOwner<Token> & { exited(crew: Crew<Token>, death: Death): void },
    boot: BootThread,
    setup: ThreadSetup,
    time: PoolClock,
    bounds: CrewBounds,
  ) {
    this.#clock = setup.clock;
    this.#bounds = bounds;
    this.#gone = new Promise((resolve) => {
      this.#leave = resolve;
    });
    const files = new ThreadFiles(setup.blobs);
    this.thread = boot(setup, {
      note: (note) => this.station.note(note),
      callerAt: (page, index) => this.station.callerAt(page, index),
      exited: (death) => {
        this.hasExited = true;
        this.#leave();
        owner.exited(this, death);
        files.close();
      },
    });
    this.station = new Station(slot, owner, this.thread, setup.clock, time, files);
  }

  /** The slot goes on without it. */
  lose(): void {
    this.isLost = true;
    this.#leave();
  }

  /** Resolves when it has nothing to do any more, is lost or has exited. */
  async whenIdle(): Promise<void> {
    await Promise.race([this.station.whenEmpty(), this.#gone]);
  }

  /**
   * Ends the thread when its last item has ended: its setups stop first, in a bounded time.
   * @returns  Whether it has exited; false when it is stuck in native code.
   */
  async retire(): Promise<boolean> {
    await this.whenIdle();
    if (this.isLost || this.hasExited) return this.hasExited;
    if (this.isBooted) await within(this.#clock, this.#bounds.stopAppsMs, this.thread.stopApps());
    return this.#end(this.#clock);
  }

  /**
   * As `retire`, but what runs is aborted and has `killMs` to obey. Reports everything that is left. By real
   * time: who stops waits for it, and moves no manual clock on meanwhile.
   */
  async stop(killMs: number): Promise<boolean> {
    if (!this.isLost) {
      this.station.releaseUnstarted();
      this.station.abortAll(killMs);
      const isEmpty = await within(systemClock, killMs, this.station.whenEmpty());
      if (isEmpty && this.isBooted) {
        await within(systemClock, Math.max(killMs, this.#bounds.stopAppsMs), this.thread.stopApps());
      }
      this.station.kill();
      await this.#end(systemClock);
    }
    if (!this.hasExited) this.station.bury({ expected: true, detail: 'stuck in native code' });
    return this.hasExited;
  }

  #end(clock: Clock): Promise<boolean> {
    // A thread that still boots ends when it is ready.
    const boundMs = this.isBooted ? this.#bounds.lostAfterMs : this.#bounds.lostAfterMs * 5;
    return within(clock, boundMs, this.thread.end());
  }
}
