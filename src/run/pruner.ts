/**
 * Deletes settled tasks whose retention has passed: a bounded slice at a time, so that the host never waits
 * for it.
 */
import type { Broker } from '../broker/broker.js';
import type { Clock, Disarm } from '../clock.js';

const EVERY_MS = 10_000;
const SLICE_ROWS = 500;

export class Pruner {
  readonly #broker: Broker;
  readonly #clock: Clock;
  #disarm: Disarm | undefined;
  #isStopped = true;

  constructor(broker: Broker, clock: Clock) {
    this.#broker = broker;
    this.#clock = clock;
  }

  start(): void {
    this.#isStopped = false;
    this.#arm();
  }

  stop(): void {
    this.#isStopped = true;
    this.#disarm?.();
  }

  async poll(): Promise<void> {
    try {
      while (!this.#isStopped && (await this.#broker.prune(this.#clock.now(), SLICE_ROWS)) >= SLICE_ROWS) {
        await new Promise(setImmediate);
      }
    } finally {
      if (!this.#isStopped) this.#arm();
    }
  }

  #arm(): void {
    this.#disarm?.();
    this.#disarm = this.#clock.arm(EVERY_MS, () => void this.poll().catch(() => {}));
  }
}
