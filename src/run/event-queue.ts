/** The events of one listener, read at its own pace: bounded, with the number of those that it missed. */
import type { EpochMs } from '../clock.js';
import type { RuntimeEvent } from './events.js';

export class EventQueue {
  readonly #bound: number;
  readonly #now: () => EpochMs;
  readonly #events: RuntimeEvent[] = [];
  #dropped = 0;
  #isClosed = false;
  #wake: (() => void) | undefined;

  constructor(bound: number, now: () => EpochMs) {
    this.#bound = bound;
    this.#now = now;
  }

  push(event: RuntimeEvent): void {
    // Somebody before us had to drop some.
    if (event.kind === 'lagged') this.#dropped += event.dropped;
    else {
      if (this.#events.length >= this.#bound) {
        this.#events.shift();
        this.#dropped++;
      }
      this.#events.push(event);
    }
    this.#wake?.();
  }

  /** The reader gets what is there and then ends. */
  close(): void {
    this.#isClosed = true;
    this.#wake?.();
  }

  /** @param left  The reader has left the loop. */
  read(left: () => void): AsyncIterableIterator<RuntimeEvent> {
    const end = async (): Promise<IteratorResult<RuntimeEvent>> => {
      left();
      this.close();
      return { done: true, value: undefined };
    };
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      next: () => this.#next(),
      return: end,
      throw: end,
    };
  }

  async #next(): Promise<IteratorResult<RuntimeEvent>> {
    while (this.#events.length === 0 && this.#dropped === 0 && !this.#isClosed) {
      await new Promise<void>((wake) => {
        this.#wake = wake;
      });
      this.#wake = undefined;
    }
    if (this.#dropped > 0) {
      const dropped = this.#dropped;
      this.#dropped = 0;
      return { done: false, value: { kind: 'lagged', dropped, at: this.#now() } };
    }
    const value = this.#events.shift();
    return value === undefined ? { done: true, value: undefined } : { done: false, value };
  }
}
