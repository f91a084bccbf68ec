/**
 * Makes scheduled tasks ready when they are due: one timer, armed toward the earliest due time that is known.
 */
import type { Broker } from '../broker/broker.js';
import type { Clock, Disarm, EpochMs } from '../clock.js';

const SLICE_TASKS = 1_000;
/** Due times are looked up again at least this often, whatever the clocks did meanwhile. */
const LOOK_AGAIN_MS = 60_000;

export class Promoter {
  readonly #broker: Broker;
  readonly #clock: Clock;
  #disarm: Disarm | undefined;
  #dueAt = Number.POSITIVE_INFINITY;
  #isRunning = false;
  #isStopped = true;

  constructor(broker: Broker, clock: Clock) {
    this.#broker = broker;
    this.#clock = clock;
  }

  start(): void {
    this.#isStopped = false;
    this.poll().catch(() => {});
  }

  stop(): void {
    this.#isStopped = true;
    this.#disarm?.();
    this.#dueAt = Number.POSITIVE_INFINITY;
  }

  /** A task becomes due at this instant. */
  due(at: EpochMs): void {
    if (this.#isStopped || at >= this.#dueAt) return;
    this.#disarm?.();
    this.#dueAt = at;
    const ms = Math.min(Math.max(0, at - this.#clock.now()), LOOK_AGAIN_MS);
    this.#disarm = this.#clock.arm(ms, () => {
      this.#dueAt = Number.POSITIVE_INFINITY;
      this.poll().catch(() => {});
    });
  }

  /** Promotes what is due, in slices, and arms the timer for the next. */
  async poll(): Promise<void> {
    if (this.#isRunning || this.#isStopped) return;
    this.#isRunning = true;
    try {
      for (;;) {
        const now = this.#clock.now();
        const promoted = await this.#broker.promote(now, SLICE_TASKS);
        const next = await this.#broker.nextDueAt();
        // What is due and cannot be promoted is tried again later.
        if (this.#isStopped || next === undefined || (promoted === 0 && next <= now)) return;
        if (next > this.#clock.now()) {
          this.due(next);
          return;
        }
        if (promoted >= SLICE_TASKS) await new Promise(setImmediate);
      }
    } finally {
      this.#isRunning = false;
      // Also after an error. A task that was announced meanwhile may have armed an earlier timer.
      this.due(this.#clock.now() + LOOK_AGAIN_MS);
    }
  }
}
