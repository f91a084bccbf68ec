/**
 * When which scope is looked at again: any number of times, one timer, armed for at most a minute, so that a
 * machine that slept looks soon after it woke.
 */
import type { Clock, Disarm } from '../clock.js';
import { Heap } from './heap.js';
import type { Scope } from './scope.js';

const MAX_ARMED_MS = 60_000;

interface Alarm {
  readonly at: number;
  readonly scope: Scope;
}

export class Alarms {
  readonly #clock: Clock;
  readonly #ring: (scopes: readonly Scope[]) => void;
  /** Alarms that a sooner one of their scope has replaced stay in it until they are met. */
  readonly #heap = new Heap<Alarm>((a, b) => a.at < b.at);
  #armedFor = Number.POSITIVE_INFINITY;
  #disarm: Disarm | undefined;

  /** @param ring  Told which scopes are due. */
  constructor(clock: Clock, ring: (scopes: readonly Scope[]) => void) {
    this.#clock = clock;
    this.#ring = ring;
  }

  /** In so many milliseconds, if not before; Infinity is never. */
  set(scope: Scope, ms: number): void {
    if (ms === Number.POSITIVE_INFINITY) return;
    const at = this.#clock.monotonic() + ms;
    if (scope.dueAt <= at) return;
    scope.dueAt = at;
    this.#heap.add({ at, scope });
    this.#arm();
  }

  stop(): void {
    this.#disarm?.();
    this.#disarm = undefined;
    this.#heap.clear();
  }

  #arm(): void {
    const first = this.#heap.first;
    if (first === undefined || this.#armedFor <= first.at) return;
    this.#disarm?.();
    this.#armedFor = first.at;
    const ms = Math.min(MAX_ARMED_MS, Math.max(0, Math.ceil(first.at - this.#clock.monotonic())));
    this.#disarm = this.#clock.arm(ms, () => this.#fired());
  }

  #fired(): void {
    this.#disarm = undefined;
    this.#armedFor = Number.POSITIVE_INFINITY;
    const now = this.#clock.monotonic();
    const due: Scope[] = [];
    for (let first = this.#heap.first; first !== undefined && first.at <= now; first = this.#heap.first) {
      this.#heap.removeFirst();
      if (first.scope.dueAt !== first.at) continue;
      first.scope.dueAt = Number.POSITIVE_INFINITY;
      due.push(first.scope);
    }
    this.#arm();
    if (due.length > 0) this.#ring(due);
  }
}
