/**
 * High-water marks: how many tasks may wait, of one queue or of all of them, and when that is told. Counts
 * are read from the broker once per look, and counted on while tasks come in; tasks whose handlers run do not
 * wait, which is looked up only where it decides. What becomes of who finds no room is not decided here.
 */
import { QueueFullError } from '../../errors.js';
import type { RuntimeOptions } from '../../options/types.js';
import type { RunningBatch } from '../running-item.js';
import type { Demand } from './entrant.js';

/** A mark that was reached is relieved when no more than this share of it wait: so it does not flutter. */
const RELIEF_SHARE = 0.8;

export interface HighWaterHost {
  /** As `Broker.waiting`. */
  waiting(queue?: string): number;
  /** Those of them whose handlers run. */
  started(queue?: string): number;
  tell(kind: 'pressure' | 'relief', mark: MarkFacts, waiting: number): void;
}

export interface MarkFacts {
  /** `undefined` for all queues together. */
  readonly queue: string | undefined;
  readonly limit: number;
}

export class HighWater {
  readonly #all: Mark | undefined;
  readonly #byQueue = new Map<string, Mark>();
  readonly #reached = new Set<Mark>();
  readonly #host: HighWaterHost;
  #look = 0;

  constructor({ maxWaiting, queues }: Pick<RuntimeOptions, 'maxWaiting' | 'queues'>, host: HighWaterHost) {
    this.#host = host;
    if (Number.isFinite(maxWaiting)) this.#all = new Mark(undefined, maxWaiting, host);
    for (const [queue, { maxWaiting: limit = Number.POSITIVE_INFINITY }] of queues) {
      if (Number.isFinite(limit)) this.#byQueue.set(queue, new Mark(queue, limit, host));
    }
  }

  get isSet(): boolean {
    return this.#all !== undefined || this.#byQueue.size > 0;
  }

  /** Whether a relief is still to be told. */
  get isReached(): boolean {
    return this.#reached.size > 0;
  }

  /** What is asked from now on is asked anew. */
  look(): void {
    this.#look++;
  }

  /** Why so many tasks more of this queue are too many, if they are. */
  lack(queue: string, count: number): QueueFullError | undefined {
    return this.#lackAt(this.#byQueue.get(queue), count) ?? this.#lackAt(this.#all, count);
  }

  /** The same of several queues. */
  lackOf(demand: Demand): QueueFullError | undefined {
    let total = 0;
    for (const [queue, count] of demand) {
      const lack = this.#lackAt(this.#byQueue.get(queue), count);
      if (lack !== undefined) return lack;
      total += count;
    }
    return this.#lackAt(this.#all, total);
  }

  /** Whether these would find no room although nothing else waited. */
  isBeyond(demand: Demand): boolean {
    let total = 0;
    for (const [queue, count] of demand) {
      if (count > (this.#byQueue.get(queue)?.limit ?? Number.POSITIVE_INFINITY)) return true;
      total += count;
    }
    return total > (this.#all?.limit ?? Number.POSITIVE_INFINITY);
  }

  /** So many tasks of this queue are let in. */
  come(queue: string, count: number): void {
    this.#comeTo(this.#byQueue.get(queue), count);
    this.#comeTo(this.#all, count);
  }

  /** These are let in, and placed a little later: until this is released they count as waiting. */
  hold(demand: Demand): () => void {
    const count = (sign: 1 | -1): void => {
      for (const [queue, tasks] of demand) {
        for (const mark of [this.#byQueue.get(queue), this.#all]) mark?.hold(sign * tasks);
      }
    };
    count(1);
    return () => count(-1);
  }

  /** Tells of the marks that are not under pressure any more. */
  relieve(): void {
    for (const mark of this.#reached) {
      const waiting = mark.waitingNow();
      if (waiting > Math.floor(mark.limit * RELIEF_SHARE)) continue;
      this.#reached.delete(mark);
      this.#host.tell('relief', mark, waiting);
    }
  }

  #lackAt(mark: Mark | undefined, count: number): QueueFullError | undefined {
    if (mark === undefined || mark.has(count, this.#look)) return undefined;
    this.#reach(mark);
    const { queue, limit, waiting } = mark;
    return new QueueFullError('Waiting tasks', waiting + count, limit, queue);
  }

  #comeTo(mark: Mark | undefined, count: number): void {
    if (mark?.come(count) === true) this.#reach(mark);
  }

  #reach(mark: Mark): void {
    if (this.#reached.has(mark)) return;
    this.#reached.add(mark);
    this.#host.tell('pressure', mark, mark.waiting);
  }
}

/** How many of these items have handlers that run now, of one queue or of all. */
export function startedIn(batches: Iterable<RunningBatch>, queue?: string): number {
  let count = 0;
  for (const { batch, items } of batches) {
    for (const { claim, index } of items) {
      if ((queue === undefined || claim.queue === queue) && batch.isRunning(index)) count++;
    }
  }
  return count;
}

/** One mark, and how many wait under it. */
class Mark implements MarkFacts {
  readonly queue: string | undefined;
  readonly limit: number;
  /** As of the last look; without those whose handlers run once that has mattered. */
  waiting = 0;
  readonly #host: HighWaterHost;
  #look = -1;
  #isExact = false;
  #held = 0;

  constructor(queue: string | undefined, limit: number, host: HighWaterHost) {
    this.queue = queue;
    this.limit = limit;
    this.#host = host;
  }

  has(count: number, look: number): boolean {
    if (look !== this.#look) {
      this.#look = look;
      this.#isExact = false;
      this.waiting = this.#host.waiting(this.queue) + this.#held;
    }
    return this.#isWithin(this.limit - count);
  }

  /** @returns whether it is reached now. */
  come(count: number): boolean {
    this.waiting += count;
    return !this.#isWithin(this.limit - 1);
  }

  /** Counts from the next look on. */
  hold(count: number): void {
    this.#held += count;
  }

  waitingNow(): number {
    return this.#host.waiting(this.queue) + this.#held - this.#host.started(this.queue);
  }

  #isWithin(most: number): boolean {
    if (this.waiting <= most) return true;
    if (!this.#isExact) {
      this.#isExact = true;
      this.waiting -= this.#host.started(this.queue);
    }
    return this.waiting <= most;
  }
}
