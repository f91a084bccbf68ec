/**
 * Which schedule is to be looked at next: a binary heap by instant, so that thousands of schedules cost
 * nothing while they wait. A schedule that is put in again leaves its old entry behind, which is passed over
 * when it comes up.
 */
import type { EpochMs } from '../../clock.js';

interface Entry {
  readonly id: string;
  readonly at: EpochMs;
}

/** Old entries that may be in the heap beside as many as there are schedules. */
const SPARE_ENTRIES = 1_000;

export class LookHeap {
  readonly #lookAt = new Map<string, EpochMs>();
  #entries: Entry[] = [];

  /** When the first one is to be looked at. */
  get nextAt(): EpochMs | undefined {
    this.#passOver();
    return this.#entries[0]?.at;
  }

  has(id: string): boolean {
    return this.#lookAt.has(id);
  }

  /** @param at  `undefined`: not any more. */
  set(id: string, at: EpochMs | undefined): void {
    if (at === undefined) {
      this.#lookAt.delete(id);
      return;
    }
    this.#lookAt.set(id, at);
    this.#push({ id, at });
    if (this.#entries.length > 2 * this.#lookAt.size + SPARE_ENTRIES) this.#rebuild();
  }

  /** Takes those out that are due, the earliest first; at most `most`. */
  takeDue(now: EpochMs, most: number): string[] {
    const due: string[] = [];
    for (let at = this.nextAt; at !== undefined && at <= now && due.length < most; at = this.nextAt) {
      const { id } = this.#pop();
      this.#lookAt.delete(id);
      due.push(id);
    }
    return due;
  }

  /** All are to be looked at then. */
  setAll(at: EpochMs): void {
    for (const id of this.#lookAt.keys()) this.#lookAt.set(id, at);
    this.#rebuild();
  }

  clear(): void {
    this.#lookAt.clear();
    this.#entries = [];
  }

  #passOver(): void {
    for (let top = this.#entries[0]; top !== undefined; top = this.#entries[0]) {
      if (this.#lookAt.get(top.id) === top.at) return;
      this.#pop();
    }
  }

  #rebuild(): void {
    const waiting = [...this.#lookAt].map(([id, at]): Entry => ({ id, at }));
    this.#entries = waiting.sort((a, b) => a.at - b.at);
  }

  #push(entry: Entry): void {
    const entries = this.#entries;
    let at = entries.length;
    entries.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (entries[parent]!.at <= entry.at) break;
      entries[at] = entries[parent]!;
      at = parent;
    }
    entries[at] = entry;
  }

  #pop(): Entry {
    const entries = this.#entries;
    const top = entries[0]!;
    const last = entries.pop()!;
    if (entries.length === 0) return top;
    let at = 0;
    for (let child = 1; child < entries.length; child = 2 * at + 1) {
      if (child + 1 < entries.length && entries[child + 1]!.at < entries[child]!.at) child++;
      if (entries[child]!.at >= last.at) break;
      entries[at] = entries[child]!;
      at = child;
    }
    entries[at] = last;
    return top;
  }
}
