/**
 * Keeps what running handlers report where `get` finds it: at once when the last note of the task is a second
 * old, else with the next of its notes that are due. One timer for all of them, and none while nobody reports
 * anything.
 */
import type { Broker } from '../broker/broker.js';
import type { Clock, Disarm } from '../clock.js';
import type { RunningItem } from './running-item.js';

const EVERY_MS = 1_000;

export class Notes {
  readonly #broker: Broker;
  readonly #clock: Clock;
  readonly #late = new Set<RunningItem>();
  #disarm: Disarm | undefined;

  constructor(broker: Broker, clock: Clock) {
    this.#broker = broker;
    this.#clock = clock;
  }

  /** The item has reported something. */
  changed(item: RunningItem): void {
    const now = this.#clock.monotonic();
    if (now - item.notedAt >= EVERY_MS) {
      this.#keep(item, now);
      return;
    }
    this.#late.add(item);
    this.#disarm ??= this.#clock.arm(EVERY_MS, () => this.#keepLate());
  }

  stop(): void {
    this.#disarm?.();
    this.#disarm = undefined;
    this.#late.clear();
  }

  #keepLate(): void {
    this.#disarm = undefined;
    const now = this.#clock.monotonic();
    const items = [...this.#late];
    this.#late.clear();
    for (const item of items) this.#keep(item, now);
  }

  /** The broker passes over claims that have ended. */
  #keep(item: RunningItem, now: number): void {
    item.notedAt = now;
    this.#broker.note(item.claim, item.note);
  }
}
