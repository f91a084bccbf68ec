/**
 * Whose turn it is among lanes that wait at one gate: the highest level first, then by weight, then who came
 * first. By weight is stride scheduling: each start moves a lane's pass on by 1/weight, and the least pass is
 * next; a lane that comes anew begins where the others are.
 *
 * A lane comes and goes in O(log n); one that has left stays in the heap, marked, until it is met.
 * @source  Waldspurger and Weihl, "Stride Scheduling: Deterministic Proportional-Share Resource Management",
 * MIT/LCS/TM-528, 1995.
 */

import { Heap } from './heap.js';

/** A lane that waits. */
export interface Waiter {
  readonly id: string;
  readonly queue: string;
  /** The name of the lane in its queue. */
  readonly lane: string;
  readonly weight: number;
  /** Of its head when it was last looked at; 9 when that is not known. */
  readonly level: number;
  /** What its head takes. */
  readonly cost: number;
  readonly pass: number;
  readonly serial: number;
  hasLeft: boolean;
}

export class Turns {
  /** The only one: most gates are those of keys, and there may be 100,000 of them. */
  #only: Waiter | undefined;
  #heap: Heap<Waiter> | undefined;
  #count = 0;
  /** How many wait of each queue. */
  #queues: Map<string, number> | undefined;

  /** Lanes that wait. */
  get size(): number {
    return this.#count;
  }

  /** Next in turn. */
  get first(): Waiter | undefined {
    if (this.#heap === undefined) return this.#only;
    while (this.#heap.first?.hasLeft === true) this.#heap.removeFirst();
    return this.#heap.first;
  }

  add(waiter: Waiter): void {
    this.#count++;
    if (this.#count === 1 && this.#heap === undefined) {
      this.#only = waiter;
      return;
    }
    if (this.#heap === undefined) this.#enter(this.#only!);
    this.#enter(waiter);
  }

  #enter(waiter: Waiter): void {
    this.#heap ??= new Heap(isBefore);
    this.#queues ??= new Map();
    this.#only = undefined;
    this.#queues.set(waiter.queue, (this.#queues.get(waiter.queue) ?? 0) + 1);
    this.#heap.add(waiter);
  }

  /** Whether all that wait are of these queues. */
  areOf(queues: ReadonlySet<string>): boolean {
    if (this.#only !== undefined) return queues.has(this.#only.queue);
    for (const queue of this.#queues?.keys() ?? []) if (!queues.has(queue)) return false;
    return true;
  }

  /** Takes the first one out; it may be added again. */
  takeFirst(): Waiter | undefined {
    const { first } = this;
    if (first === undefined) return undefined;
    this.#heap?.removeFirst();
    this.#left(first);
    return first;
  }

  leave(waiter: Waiter): void {
    if (waiter.hasLeft) return;
    waiter.hasLeft = true;
    this.#left(waiter);
    // As large as what waits, about.
    if (this.#heap !== undefined && this.#heap.size > 2 * this.#count + 16) {
      this.#heap.keep(({ hasLeft }) => !hasLeft);
    }
  }

  #left(waiter: Waiter): void {
    this.#count--;
    if (this.#heap === undefined || this.#queues === undefined) {
      this.#only = undefined;
      return;
    }
    const ofQueue = this.#queues.get(waiter.queue)! - 1;
    if (ofQueue === 0) this.#queues.delete(waiter.queue);
    else this.#queues.set(waiter.queue, ofQueue);
  }
}

function isBefore(a: Waiter, b: Waiter): boolean {
  if (a.level !== b.level) return a.level > b.level;
  return a.pass === b.pass ? a.serial < b.serial : a.pass < b.pass;
}
