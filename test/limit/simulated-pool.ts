/**
 * A pool whose threads are timers on a manual clock: each item takes the time that the test says, and every
 * start is told at the moment it happens. Everything above it is real.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ManualClock } from '#src/clock.js';
import type { Batch, HandlerInfo, ItemOutcome, Pool, PoolItem, PoolListener, Slot } from '#src/pool/pool.js';
import type { RunningItem } from '#src/run/running-item.js';

/** What the test says of an item that starts: how long it runs, and how it ends. */
export interface Run {
  readonly runMs: number;
  readonly outcome: ItemOutcome;
}
export interface Stage {
  started(item: RunningItem): Run;
  ended(item: RunningItem): void;
}

type Place = 'waits' | 'runs' | 'over';

export class SimulatedPool implements Pool<RunningItem> {
  readonly slots: readonly SimulatedSlot[];
  readonly children: readonly Slot<RunningItem>[] = [];
  readonly handlers: readonly HandlerInfo[];
  listener!: PoolListener<RunningItem>;

  constructor(clock: ManualClock, threads: number, handlers: readonly HandlerInfo[], stage: Stage) {
    this.handlers = handlers;
    this.slots = Array.from({ length: threads }, (_, index) => new SimulatedSlot(index, this, clock, stage));
  }

  get hasIdle(): boolean {
    return this.slots.some(({ batches }) => batches.length === 0);
  }

  async start(listener: PoolListener<RunningItem>): Promise<void> {
    this.listener = listener;
  }
  async register(): Promise<readonly HandlerInfo[]> {
    return [];
  }
  async resize(): Promise<void> {}
  async stop(): Promise<{ readonly lostThreads: number }> {
    return { lostThreads: 0 };
  }
  warm(): void {}
}

class SimulatedSlot implements Slot<RunningItem> {
  readonly index: number;
  readonly isolation = 'thread';
  readonly isReady = true;
  readonly batches: SimulatedBatch[] = [];
  readonly pool: SimulatedPool;
  readonly clock: ManualClock;
  readonly stage: Stage;

  constructor(index: number, pool: SimulatedPool, clock: ManualClock, stage: Stage) {
    this.index = index;
    this.pool = pool;
    this.clock = clock;
    this.stage = stage;
  }

  hand(items: readonly PoolItem<RunningItem>[], parallel = false): SimulatedBatch {
    const batch = new SimulatedBatch(this, items, parallel);
    this.batches.push(batch);
    if (this.batches.length === 1 || parallel) batch.next();
    return batch;
  }

  ended(batch: SimulatedBatch): void {
    this.batches.splice(this.batches.indexOf(batch), 1);
    if (!batch.parallel) this.batches[0]?.next();
    this.pool.listener.ready(this);
  }
}

class SimulatedBatch implements Batch<RunningItem> {
  readonly slot: SimulatedSlot;
  readonly items: readonly PoolItem<RunningItem>[];
  readonly parallel: boolean;
  readonly handedAt: number;
  readonly #places: Place[];
  #isOver = false;

  constructor(slot: SimulatedSlot, items: readonly PoolItem<RunningItem>[], parallel: boolean) {
    this.slot = slot;
    this.items = items;
    this.parallel = parallel;
    this.handedAt = slot.clock.monotonic();
    this.#places = items.map(() => 'waits');
  }

  /** Starts the next item, or ends. */
  next(): void {
    const at = this.#places.indexOf('waits');
    if (at < 0) {
      if (!this.#places.includes('runs')) this.#end();
      return;
    }
    this.#places[at] = 'runs';
    const token = this.items[at]!.token;
    const { clock, stage } = this.slot;
    const startedAt = clock.now();
    const { runMs, outcome } = stage.started(token);
    clock.arm(runMs, () => {
      this.#places[at] = 'over';
      stage.ended(token);
      this.slot.pool.listener.finished(this.slot, [
        { token, outcome, startedAt, runMs, thread: this.slot.index },
      ]);
      this.next();
    });
  }

  unstarted(): number {
    return this.#places.filter((place) => place === 'waits').length;
  }
  recall(index: number): boolean {
    if (this.#places[index] !== 'waits') return false;
    this.#places[index] = 'over';
    if (this.#places.every((place) => place === 'over')) this.#end();
    return true;
  }
  abort(): void {}

  /** Not inside a call into the pool. */
  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.slot.clock.arm(0, () => this.slot.ended(this));
  }
  isRunning(index: number): boolean {
    return this.#places[index] === 'runs';
  }
}

/** Some turns of the event loop, until all that follows from what happened has happened. */
export async function quiet(clock: ManualClock, isBusy: () => Promise<boolean>): Promise<void> {
  for (let turns = 0; turns < 4; turns++) {
    clock.advance(0);
    await nextTurn();
    while (await isBusy()) clock.advance(0);
  }
}
