/**
 * Who waits for a task to become final. Waiters of a task in a segment in memory sit in an array on the
 * segment, where they cost least; all others under the task's key. They move there when the task leaves its
 * segment or the segment leaves the memory, so nobody is ever forgotten. Whoever waits when the store ends is
 * told why.
 */
import { isBlobRef } from '../../task/blob-ref.js';
import type { Settled, SettledListener } from '../broker.js';
import { taskKey } from './keys.js';
import type { Segment } from './segment.js';

/** Told once: how the task ended, or why that will never be known here. */
export type Waiter = SettledListener;

export class Waiters {
  readonly #byKey = new Map<string, Waiter[]>();
  /** Reads a result that is kept apart, before anybody is told of it. */
  whole: (settled: Settled) => Promise<Settled> = (settled) => Promise.resolve(settled);
  #ended: Error | undefined;

  /** Whether somebody waits outside of the segments. */
  get isWatched(): boolean {
    return this.#byKey.size > 0;
  }

  /** Why nobody will be told any more. */
  get ended(): Error | undefined {
    return this.#ended;
  }

  /** Resolves when the task of this place is final and flushed. The segment is in memory. */
  onPlace(segment: Segment, index: number): Promise<Settled> {
    return this.#promise((waiter) => this.tellAt(segment, index, waiter));
  }

  /** As {@link onPlace}, without a promise. */
  tellAt(segment: Segment, index: number, waiter: Waiter): void {
    segment.waiters ??= [];
    const waiting = segment.waiters[index];
    // Nearly always one, so no array is made for it.
    if (waiting === undefined) segment.waiters[index] = waiter;
    else segment.waiters[index] = [...asList(waiting), waiter];
  }

  /** Resolves when the task of this key is final and flushed. It is in no segment in memory. */
  onKey(key: string): Promise<Settled> {
    return this.#promise((waiter) => this.#add(key, [waiter]));
  }

  /** A task leaves its segment, or the segment leaves the memory. */
  move(segment: Segment, index: number): void {
    const waiting = segment.waiters?.[index];
    if (waiting === undefined) return;
    segment.waiters![index] = undefined;
    this.#add(taskKey(segment.number, index), asList(waiting));
  }

  tellPlace(segment: Segment, index: number, settled: Settled): void {
    const waiting = segment.waiters?.[index];
    if (waiting === undefined) return;
    segment.waiters![index] = undefined;
    const { result } = settled;
    if (Array.isArray(waiting) || (result !== undefined && isBlobRef(result))) {
      this.tellAll(asList(waiting), settled);
    } else waiting.told(settled);
  }

  tellKey(key: string, settled: Settled): void {
    this.tellAll(this.takeKey(key) ?? [], settled);
  }

  /** Tells those who were taken out before. */
  tellAll(waiting: readonly Waiter[], settled: Settled | Error): void {
    const tell = (whole: Settled | Error): void => {
      for (const waiter of waiting) waiter.told(whole);
    };
    if (waiting.length === 0) return;
    if (settled instanceof Error || settled.result === undefined || !isBlobRef(settled.result)) tell(settled);
    else this.whole(settled).then(tell, tell);
  }

  /** Takes out who waits for a task now, to be told later. */
  takeKey(key: string): readonly Waiter[] | undefined {
    if (this.#byKey.size === 0) return undefined;
    const waiting = this.#byKey.get(key);
    if (waiting !== undefined) this.#byKey.delete(key);
    return waiting;
  }

  /** Nothing will be settled here any more: tells everybody who waits now or later. */
  end(error: Error, segments: Iterable<Segment>): void {
    this.#ended ??= error;
    for (const segment of segments) {
      for (const waiting of segment.waiters ?? []) for (const waiter of asList(waiting)) waiter.told(error);
      segment.waiters = undefined;
    }
    for (const waiting of this.#byKey.values()) for (const waiter of waiting) waiter.told(error);
    this.#byKey.clear();
  }

  #add(key: string, waiters: Waiter[]): void {
    const waiting = this.#byKey.get(key);
    if (waiting === undefined) this.#byKey.set(key, waiters);
    else waiting.push(...waiters);
  }

  #promise(add: (waiter: Waiter) => void): Promise<Settled> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      add({ told: (settled) => (settled instanceof Error ? reject(settled) : resolve(settled)) });
    });
  }
}

function asList(waiting: Waiter | Waiter[] | undefined): Waiter[] {
  if (waiting === undefined) return [];
  return Array.isArray(waiting) ? waiting : [waiting];
}
