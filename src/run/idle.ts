/** Knows when nothing is left to do: nothing ready, running, blocked, or waiting for a retry. */
import type { Counts } from '../broker/inspect.js';

export class Idle {
  readonly #counts: () => Counts;
  readonly #serves: (queue: string) => boolean;
  readonly #isBusy: () => boolean;
  #waiting: (() => void)[] = [];

  /**
   * @param serves  Whether tasks of a queue are run here.
   * @param isBusy  Whether threads have tasks: asked first, because it is cheap.
   */
  constructor(counts: () => Counts, serves: (queue: string) => boolean, isBusy: () => boolean) {
    this.#counts = counts;
    this.#serves = serves;
    this.#isBusy = isBusy;
  }

  get isAsked(): boolean {
    return this.#waiting.length > 0;
  }

  /** Tasks that nobody here handles or serves, and those scheduled for later, do not count. */
  get isIdle(): boolean {
    if (this.#isBusy()) return false;
    for (const [queue, counts] of this.#counts()) {
      if (!this.#serves(queue)) continue;
      const { ready, unhandled, running, blocked, retrying } = counts;
      if (ready - unhandled + running + blocked + retrying > 0) return false;
    }
    return true;
  }

  whenIdle(): Promise<void> {
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Something was settled: looks whether that was the last. */
  look(): void {
    if (this.#waiting.length === 0 || !this.isIdle) return;
    this.release();
  }

  release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const tell of waiting) tell();
  }
}
