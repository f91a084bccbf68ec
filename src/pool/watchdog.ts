/**
 * When to look at a busy thread: often while its items come and go, seldom while one item runs for long, and
 * at the instant of the next deadline. One timer per busy thread, none per task; an idle thread has none.
 */
import type { Clock, Disarm } from '../clock.js';

/** First look after something changed: soon enough to report finished items of a long batch early. */
const SOON_MS = 5;
/** Longest pause between looks, and so the latest that a timeout is noticed to have begun. */
const LATE_MS = 80;

/** What a look found. */
export interface Sighting {
  /** Nothing is left to watch. */
  readonly isIdle: boolean;
  /** Items came or went since the last look. */
  readonly hasChanged: boolean;
  /** Until the next deadline, milliseconds; Infinity is none. */
  readonly dueInMs: number;
  /** Shortest timeout of what may start unseen, milliseconds. */
  readonly leastTimeoutMs: number;
}

export class Watchdog {
  readonly #clock: Clock;
  readonly #look: () => Sighting;
  #disarm: Disarm | undefined;
  #firesAt = Number.POSITIVE_INFINITY;
  #pauseMs = SOON_MS;
  #isOff = false;

  constructor(clock: Clock, look: () => Sighting) {
    this.#clock = clock;
    this.#look = look;
  }

  /** Something began: look soon. Costs one look at the clock when a look is near already. */
  wake(): void {
    this.#pauseMs = SOON_MS;
    this.within(SOON_MS);
  }

  /** Looks after `ms` at the latest. */
  within(ms: number): void {
    if (this.#isOff) return;
    const at = this.#clock.monotonic() + ms;
    // Half a millisecond later is not later: timers are not finer.
    if (at + 0.5 >= this.#firesAt) return;
    this.#disarm?.();
    this.#firesAt = at;
    this.#disarm = this.#clock.arm(ms, () => this.#fire());
  }

  /** For good. */
  off(): void {
    this.#isOff = true;
    this.#disarm?.();
    this.#disarm = undefined;
  }

  #fire(): void {
    this.#disarm = undefined;
    this.#firesAt = Number.POSITIVE_INFINITY;
    const seen = this.#look();
    if (seen.isIdle) return;
    this.#pauseMs = seen.hasChanged ? SOON_MS : Math.min(this.#pauseMs * 2, LATE_MS);
    this.within(Math.max(0, Math.min(this.#pauseMs, seen.dueInMs, Math.max(SOON_MS, seen.leastTimeoutMs))));
  }
}
