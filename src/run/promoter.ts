/** Makes scheduled tasks ready when they are due: one timer, armed toward the earliest due time that is known. */
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
    void this.poll();
  }

  stop(): void {
    this.#isStopped = true;
    this.#disarm?.();
    this.#dueAt = Number.POSITIVE_INFINITY;
  }

  /** A task becomes due at this instant. */
  due(at: EpochMs): void {
    if (this.#isStopped || at >= this.#dueAt) return;
    this.#arm(at);
  }

  /** Promotes what is due, in slices, and arms the timer for the next. */
  async poll(): Promise<void> {
    if (this.#isRunning || this.#isStopped) return;
    this.#isRunning = true;
    try {
      while ((await this.#broker.promote(this.#clock.now(), SLICE_TASKS)) >= SLICE_TASKS) {
        await new Promise(setImmediate);
      }
      this.#dueAt = Number.POSITIVE_INFINITY;
      const next = await this.#broker.nextDueAt();
      if (!this.#isStopped) this.#arm(next ?? this.#clock.now() + LOOK_AGAIN_MS);
    } finally {
      this.#isRunning = false;
    }
  }

  #arm(at: EpochMs): void {
    this.#disarm?.();
    this.#dueAt = at;
    const ms = Math.min(Math.max(0, at - this.#clock.now()), LOOK_AGAIN_MS);
    this.#disarm = this.#clock.arm(ms, () => {
      this.#dueAt = Number.POSITIVE_INFINITY;
      this.poll().catch(() => {});
    });
  }
}
