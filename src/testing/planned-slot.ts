/** A slot on which an attempt ends as a test has planned it; its thread never hears of it. */
import type { ManualClock } from '../clock.js';
import type { Batch, FinishedItem, ItemOutcome, PoolItem, PoolListener, Slot } from '../pool/pool.js';
import type { RunningItem } from '../run/running-item.js';

export class PlannedSlot implements Slot<RunningItem> {
  readonly index = 0;
  readonly isolation = 'thread';
  readonly isReady = true;
  readonly batches: readonly Batch<RunningItem>[] = [];
  readonly #thread: Slot<RunningItem>;
  readonly #outcome: ItemOutcome;
  readonly #clock: ManualClock;
  readonly #listener: PoolListener<RunningItem>;

  constructor(
    thread: Slot<RunningItem>,
    outcome: ItemOutcome,
    clock: ManualClock,
    listener: PoolListener<RunningItem>,
  ) {
    this.#thread = thread;
    this.#outcome = outcome;
    this.#clock = clock;
    this.#listener = listener;
  }

  hand(items: readonly PoolItem<RunningItem>[]): Batch<RunningItem> {
    const startedAt = this.#clock.now();
    const outcome = this.#outcome;
    const finished = items.map(
      ({ token }): FinishedItem<RunningItem> => ({ token, outcome, startedAt, runMs: 0, thread: 0 }),
    );
    queueMicrotask(() => this.#listener.finished(this.#thread, finished));
    return {
      ...{ slot: this, items, handedAt: this.#clock.monotonic(), parallel: false },
      unstarted: () => 0,
      recall: () => false,
      abort: () => {},
      isRunning: () => true,
    };
  }
}
