/**
 * Taking unstarted tasks back from threads. What a thread runs later is always taken back before what it runs
 * sooner: otherwise the later would start while the sooner is on its way back to the line.
 */
import type { Slot } from '../pool/pool.js';
import type { Executor } from './executor.js';
import type { RunningBatch, RunningItem } from './running-item.js';
import type { Sides } from './sides.js';

/** A batch handed over longer ago than this is looked at as if it never ended. */
export const LONG_BATCH_AFTER_MS = 20;

export class Recall {
  readonly #executor: Executor;

  readonly #sides: Sides;

  constructor(executor: Executor, sides: Sides) {
    this.#executor = executor;
    this.#sides = sides;
  }

  /** All that `wanted` names, for a pause or a stop. */
  where(wanted: (item: RunningItem) => boolean): void {
    for (const running of this.#newestFirst()) this.#executor.recall(running, wanted);
  }

  /** Lowest rank that threads hold; 9 when there is nothing that a better task could overtake. */
  lowestRank(): number {
    let lowest = 9;
    for (const { minRank } of this.#executor.batches) if (minRank < lowest) lowest = minRank;
    return lowest;
  }

  /** All below a rank, for a better task that waits. */
  below(rank: number): void {
    for (const running of this.#newestFirst()) {
      if (running.minRank < rank) this.#executor.recall(running, (item) => item.claim.rank < rank);
    }
  }

  /** For an idle slot: the younger half of what the slot with most unstarted tasks has. @returns how many. */
  half(idle: Slot<RunningItem>): number {
    const unstarted = new Map<Slot<RunningItem>, number>();
    let richest: Slot<RunningItem> | undefined;
    for (const { batch } of this.#executor.batches) {
      if (batch.slot === idle || batch.parallel || !this.#sides.canHelp(idle, batch.slot)) continue;
      const count = (unstarted.get(batch.slot) ?? 0) + batch.unstarted();
      unstarted.set(batch.slot, count);
      if (count > 0 && count > (richest === undefined ? 0 : unstarted.get(richest)!)) richest = batch.slot;
    }
    if (richest === undefined) return 0;
    const wanted = Math.ceil(unstarted.get(richest)! / 2);
    let left = wanted;
    for (const running of this.#newestFirst()) {
      if (running.batch.slot === richest) left -= this.#executor.recall(running, () => true, left);
      if (left <= 0) break;
    }
    return wanted - left;
  }

  /** Whether something waits on a thread behind a task that runs. */
  get isAnythingBehind(): boolean {
    for (const { items, batch } of this.#executor.batches) {
      if (items.length > 1 || batch.slot.batches.length > 1) return true;
    }
    return false;
  }

  /** All behind a batch that has been on its thread for long. @param now  Monotonic ms. */
  behindLong(now: number): void {
    const long = new Set<Slot<RunningItem>>();
    for (const { batch } of this.#executor.batches) {
      if (!batch.parallel && now - batch.handedAt >= LONG_BATCH_AFTER_MS) long.add(batch.slot);
    }
    for (const running of this.#newestFirst()) {
      if (long.has(running.batch.slot)) this.#executor.recall(running, () => true);
    }
  }

  #newestFirst(): RunningBatch[] {
    return [...this.#executor.batches].reverse();
  }
}
