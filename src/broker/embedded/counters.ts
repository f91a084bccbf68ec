/** How many tasks of each queue are in each state, changed in the same commit as the tasks themselves. */
import { readU16, u16 } from './keys.js';
import type { Tables } from './tables.js';

/**
 * Order of the stored numbers; append only. `running` tasks count as `ready` here: running is never stored.
 */
export const COUNTED = [
  'scheduled',
  'retrying',
  'ready',
  'unhandled',
  'blocked',
  'completed',
  'dead',
  'cancelled',
] as const;
export type Counted = (typeof COUNTED)[number];

const SLOT: Readonly<Record<Counted, number>> = Object.fromEntries(
  COUNTED.map((name, at) => [name, at]),
) as Record<Counted, number>;

/** Where tasks are counted that wait. */
const isWaiting: readonly boolean[] = COUNTED.map((name) => ['scheduled', 'ready', 'blocked'].includes(name));

export class Counters {
  readonly #tables: Tables;
  /** By queue number. */
  readonly #counts: (Float64Array | undefined)[] = [];
  readonly #changed = new Set<number>();
  /** Of all queues; kept from the first time that somebody asks. */
  #waiting: number | undefined;

  constructor(tables: Tables) {
    this.#tables = tables;
    for (const [key, value] of tables.range('count', { start: '', end: '\u0100', limit: 65_536 })) {
      const counts = new Float64Array(COUNTED.length);
      const row = Buffer.from(value);
      for (let at = 0; at < Math.min(counts.length, row.length / 8); at++)
        counts[at] = row.readDoubleBE(at * 8);
      this.#counts[readU16(key, 0)] = counts;
    }
  }

  add(queue: number, state: Counted, change: number): void {
    let counts = this.#counts[queue];
    if (counts === undefined) this.#counts[queue] = counts = new Float64Array(COUNTED.length);
    counts[SLOT[state]]! += change;
    this.#changed.add(queue);
    if (this.#waiting !== undefined && isWaiting[SLOT[state]]) this.#waiting += change;
  }

  get(queue: number, state: Counted): number {
    return this.#counts[queue]?.[SLOT[state]] ?? 0;
  }

  /** Tasks of a queue, or of all, that are scheduled, ready or blocked. */
  waiting(queue?: number): number {
    if (queue !== undefined) return waitingIn(this.#counts[queue]);
    this.#waiting ??= this.#counts.reduce((sum, counts) => sum + waitingIn(counts), 0);
    return this.#waiting;
  }

  /** Puts the rows that changed since the last call. */
  flush(): void {
    for (const queue of this.#changed) {
      const counts = this.#counts[queue]!;
      const row = Buffer.allocUnsafe(counts.length * 8);
      for (let at = 0; at < counts.length; at++) row.writeDoubleBE(counts[at]!, at * 8);
      this.#tables.put('count', u16(queue), row);
    }
    this.#changed.clear();
  }
}

function waitingIn(counts: Float64Array | undefined): number {
  return counts === undefined ? 0 : counts[SLOT.scheduled]! + counts[SLOT.ready]! + counts[SLOT.blocked]!;
}
