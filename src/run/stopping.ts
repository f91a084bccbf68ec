/** The end of a runtime: in time, with everything unfinished given back, by call, by signal or by abort. */
import type { Backend } from '../broker/broker.js';
import type { RuntimeOptions, StopOptions, StopSignal } from '../options/types.js';
import type { Pool } from '../pool/pool.js';
import type { Coordinator } from './coordinator.js';
import type { RunningItem } from './running-item.js';

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
  readonly options: RuntimeOptions;
}

/** npm and shells pass one Ctrl-C on twice, milliseconds apart: that is no second request. */
const REPEAT_MS = 300;

export class Stopping {
  readonly #parts: Parts;
  readonly #onEnd: () => void;
  #stopped: Promise<StopReport> | undefined;
  #hurry: (() => void) | undefined;
  #forget: (() => void)[] = [];

  constructor(parts: Parts, onEnd: () => void) {
    this.#parts = parts;
    this.#onEnd = onEnd;
  }

  /**
   * Stops on the signals and the abort signal that the options name. A second signal ends the grace at once.
   */
  listen(): void {
    const { stopOn, signal, logger, clock } = this.#parts.options;
    let heardAt = Number.NEGATIVE_INFINITY;
    const stop = (): void => {
      const at = clock.monotonic();
      if (at - heardAt <= REPEAT_MS) return;
      heardAt = at;
      if (this.#stopped !== undefined) this.#hurry?.();
      this.stop({ graceMs: 10_000, killMs: 1_000 }).catch((error) => {
        logger.error({ error: String(error) }, 'stop failed');
      });
    };
    for (const name of stopOn as readonly StopSignal[]) {
      const onSignal = (): void => stop();
      process.on(name, onSignal);
      this.#forget.push(() => process.off(name, onSignal));
    }
    if (signal === undefined) return;
    const onAbort = (): void => stop();
    signal.addEventListener('abort', onAbort, { once: true });
    this.#forget.push(() => signal.removeEventListener('abort', onAbort));
  }

  stop(options: Required<StopOptions>): Promise<StopReport> {
    this.#stopped ??= this.#run(options);
    return this.#stopped;
  }

  async #run({ graceMs, killMs }: Required<StopOptions>): Promise<StopReport> {
    const { coordinator, pool, backend } = this.#parts;
    coordinator.gather.flush();
    coordinator.settledCount = coordinator.releasedCount = 0;
    coordinator.stopStarting();
    await this.#grace(graceMs);
    const { lostThreads } = await pool.stop(this.#isHurried ? 0 : killMs);
    coordinator.closing();
    try {
      await backend.close();
    } finally {
      coordinator.closed();
      for (const forget of this.#forget) forget();
      this.#forget = [];
      this.#onEnd();
    }
    return { settled: coordinator.settledCount, released: coordinator.releasedCount, lostThreads };
  }

  #isHurried = false;

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
