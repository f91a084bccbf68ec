/** The end of a runtime that owns its tasks: in time, with everything unfinished given back. */
import type { Backend } from '../broker/broker.js';
import type { StopOptions } from '../options/types.js';
import type { Pool } from '../pool/pool.js';
import type { Coordinator } from './coordinator.js';
import type { RunningItem } from './running-item.js';

/** What `runtime.stop()` did, and what it could not do. */
export interface StopReport {
  /** Tasks settled since `stop` was called. */
  readonly settled: number;
  /** Tasks that threads had and that went back, uncharged. */
  readonly released: number;
  /** Threads stuck in native code, which may keep the process alive. */
  readonly lostThreads: number;
}

interface Parts {
  readonly backend: Backend;
  readonly pool: Pool<RunningItem>;
  readonly coordinator: Coordinator;
}

export class Stopping {
  readonly #parts: Parts;
  #stopped: Promise<StopReport> | undefined;
  #hurry: (() => void) | undefined;
  #isHurried = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** A second call returns the promise of the first. */
  stop(options: Required<StopOptions>): Promise<StopReport> {
    this.#stopped ??= this.#run(options);
    return this.#stopped;
  }

  /** Ends the grace of a stop under way. */
  hurry(): void {
    this.#hurry?.();
  }

  async #run({ graceMs, killMs }: Required<StopOptions>): Promise<StopReport> {
    const { coordinator, pool, backend } = this.#parts;
    coordinator.gather.flush();
    coordinator.settledCount = coordinator.releasedCount = 0;
    coordinator.stopStarting();
    await this.#grace(graceMs);
    const { lostThreads } = await pool.stop(this.#isHurried ? 0 : killMs);
    coordinator.closing();
    await coordinator.limiting.close();
    try {
      await backend.close();
    } finally {
      coordinator.closed();
    }
    return { settled: coordinator.settledCount, released: coordinator.releasedCount, lostThreads };
  }

  async #grace(graceMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const over = new Promise<void>((resolve) => {
      this.#hurry = () => {
        this.#isHurried = true;
        resolve();
      };
      timer = setTimeout(resolve, graceMs);
    });
    await Promise.race([this.#parts.coordinator.whenQuiet(), over]);
    clearTimeout(timer);
  }
}
