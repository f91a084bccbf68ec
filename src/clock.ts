/**
 * Time as a value that is passed in. Wall time places instants (`runAt`, `createdAt`), monotonic time
 * measures durations (timeouts, waits), so that a step of the wall clock neither fires nor hides a timer.
 * Nothing else in `src` reads a clock or sets a timer.
 */

/** A wall-clock instant in milliseconds since 1970-01-01T00:00Z. */
export type EpochMs = number;

/** Stops a timer; calling it twice, or after the timer fired, does nothing. */
export type Disarm = () => void;

/** What tells the time and wakes: {@link systemClock}, or a {@link ManualClock} in tests. */
export interface Clock {
  /** Wall-clock time, whole milliseconds. May jump. */
  now(): EpochMs;
  /** Milliseconds on a clock that never jumps; only differences mean something. */
  monotonic(): number;
  /** Calls `fire` once after about `ms` (clamped to one hour: callers look again at their own due time). */
  arm(ms: number, fire: () => void): Disarm;
}

/** Longest single timer. Node fires timers beyond 2^31-1 ms at once, and a suspended machine delays them. */
export const MAX_TIMER_MS = 3_600_000;

/** Real time. Timers do not keep the process alive: the runtime's own handle does that. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  arm(ms, fire) {
    const timer = setTimeout(fire, Math.max(0, Math.min(ms, MAX_TIMER_MS)));
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** A clock that moves only when told to, for tests: `advance` fires due timers in order. */
export class ManualClock implements Clock {
  #now: EpochMs;
  #elapsed = 0;
  #serial = 0;
  readonly #timers = new Map<number, { dueAt: number; fire: () => void }>();

  constructor(now: EpochMs = Date.UTC(2026, 0, 1)) {
    this.#now = now;
  }

  now(): EpochMs {
    return this.#now;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  arm(ms: number, fire: () => void): Disarm {
    const id = this.#serial++;
    this.#timers.set(id, { dueAt: this.#elapsed + Math.max(0, Math.min(ms, MAX_TIMER_MS)), fire });
    return () => void this.#timers.delete(id);
  }

  /** Moves both clocks on by `ms` and fires what becomes due, earliest first. */
  advance(ms: number): void {
    const until = this.#elapsed + ms;
    for (;;) {
      let next: [number, { dueAt: number; fire: () => void }] | undefined;
      for (const entry of this.#timers) {
        if (entry[1].dueAt <= until && (next === undefined || entry[1].dueAt < next[1].dueAt)) next = entry;
      }
      if (next === undefined) break;
      this.#timers.delete(next[0]);
      this.#move(next[1].dueAt);
      next[1].fire();
    }
    this.#move(until);
  }

  /** Steps the wall clock only, as an operator or NTP would. */
  stepWall(ms: number): void {
    this.#now += ms;
  }

  #move(elapsed: number): void {
    this.#now += elapsed - this.#elapsed;
    this.#elapsed = elapsed;
  }
}
