/**
 * Carries claims to threads and outcomes back: a claim becomes an item of a batch, its outcome a settlement.
 * Decides nothing itself: `transition` says what follows from an outcome, the dispatcher what goes where.
 */
import type { Broker, Claim, Settlement } from '../broker/broker.js';
import type { Clock } from '../clock.js';
import type { FinishedItem, ItemExtras, PoolListener, Slot, ThreadEvent } from '../pool/pool.js';
import type { ParentsPage, ParentsRequest } from '../task/parents.js';
import type { NewTask, TaskId } from '../task/task.js';
import { cancelUnstarted, completed, transition } from '../task/transition.js';
import type { Limiting } from './limiting.js';
import { Notes } from './notes.js';
import type { Registry } from './registry.js';
import { type RunningBatch, RunningItem } from './running-item.js';

export interface ExecutorHost {
  readonly broker: Broker;
  readonly registry: Registry;
  readonly limiting: Limiting;
  readonly clock: Clock;
  readonly random: () => number;
  /** Called with settlements of attempts, once they are flushed. */
  told(settlements: readonly Settlement[]): void;
  wantsTold(): boolean;
  /** This batch has just gone to its thread. */
  handed(running: RunningBatch): void;
  /** These claims have just ended. */
  settled(settlements: readonly Settlement[]): void;
  /** A slot can take more. */
  ready(slot: Slot<RunningItem>): void;
  /** A scheduled settlement is due then. */
  due(at: number): void;
  prepare(request: NonNullable<ItemExtras['enqueue']>[number], parent: Claim): NewTask;
  /** Whether such a payload is to be written to a file before its task is settled with the handler's own. */
  isLarge(body: Uint8Array): boolean;
  /** What stands for it then; itself when it cannot be written. Never rejects. */
  keepApart(body: Uint8Array): Promise<Uint8Array>;
  /** These have been enqueued by now, or never will be. */
  drop(body: Uint8Array): void;
  enqueueNow(task: NewTask): Promise<TaskId>;
  parents(claim: Claim, request: ParentsRequest): Promise<ParentsPage>;
  progress(claim: Claim, value: unknown): void;
  log(claim: Claim, at: number, message: string): void;
  threadEvent(event: ThreadEvent): void;
}

export class Executor implements PoolListener<RunningItem> {
  readonly #host: ExecutorHost;
  readonly notes: Notes;
  readonly batches = new Set<RunningBatch>();

  constructor(host: ExecutorHost) {
    this.#host = host;
    this.notes = new Notes(host.broker, host.clock);
    host.broker.isUnstarted = (claim) => {
      const item = claim.holder as RunningItem | undefined;
      return item?.batch !== undefined && !item.batch.batch.isRunning(item.index);
    };
  }

  /** Items that threads have, started or not. */
  get handedCount(): number {
    let count = 0;
    for (const batch of this.batches) count += batch.left;
    return count;
  }

  /** Claims that threads have and that have not ended. */
  *claims(): Iterable<Claim> {
    for (const { items } of this.batches) for (const { claim } of items) if (!claim.isOver) yield claim;
  }

  /** Hands claims to a slot as one batch. */
  hand(slot: Slot<RunningItem>, claims: readonly Claim[], isParallel: boolean): void {
    const { broker, registry } = this.#host;
    const items = claims.map((claim) => new RunningItem(claim, registry.entry(claim.name)));
    const hold = broker.hold(claims);
    let minRank = 9;
    for (const { rank } of claims) if (rank < minRank) minRank = rank;
    const batch = slot.hand(items, isParallel);
    const running = { batch, items, hold, queue: claims[0]!.queue, minRank, left: items.length };
    this.batches.add(running);
    items.forEach((item, index) => {
      item.batch = running;
      item.index = index;
    });
    this.#host.handed(running);
  }

  /**
   * Takes unstarted items back that `wanted` names, from the end; they are ready again in their old order.
   */
  recall(
    running: RunningBatch,
    wanted: (item: RunningItem) => boolean,
    most = Number.POSITIVE_INFINITY,
  ): number {
    const settlements: Settlement[] = [];
    for (let at = running.items.length - 1; at >= 0 && settlements.length < most; at--) {
      const item = running.items[at]!;
      if (!wanted(item) || !running.batch.recall(at)) continue;
      settlements.push({ claim: item.claim, kind: 'released', suspect: item.claim.suspect });
    }
    if (settlements.length > 0) {
      this.#ended(running, settlements.length);
      const endings: Settlement[] = [];
      this.#host.broker
        .settle(settlements, (_released, ending) => endings.push(ending))
        .then(
          () => (endings.length > 0 ? this.#host.told(endings) : undefined),
          () => {},
        );
      this.#neverStarted(settlements);
    }
    return settlements.length;
  }

  /** Cancels a claimed task: taken back when it has not started, else aborted. */
  cancel(claim: Claim, reason: string): void {
    const item = claim.holder as RunningItem | undefined;
    if (item === undefined) return;
    if (item.batch.batch.recall(item.index)) {
      this.#ended(item.batch, 1);
      const settlements = [cancelUnstarted(claim, reason, item.rules, this.#host.clock.now())];
      this.#settle(settlements);
      this.#neverStarted(settlements);
      return;
    }
    item.cancelReason = reason;
    item.batch.batch.abort(item.index, 'cancelled');
  }

  /** Settles claims that are too old to start. */
  cancelStale(claims: readonly Claim[]): void {
    const now = this.#host.clock.now();
    const settlements = claims.map((claim) => {
      const rules = this.#host.registry.entry(claim.name).rulesOf(claim.queue, claim.options);
      return cancelUnstarted(claim, 'stale', rules, now);
    });
    this.#settle(settlements);
    this.#neverStarted(settlements);
  }

  finished(_slot: Slot<RunningItem>, finished: readonly FinishedItem<RunningItem>[]): void {
    const now = this.#host.clock.now();
    const settlements: Settlement[] = [];
    let lastBatch: RunningBatch | undefined;
    let count = 0;
    for (const done of finished) {
      const item = done.token;
      if (done.extras?.enqueue?.some(({ body }) => this.#host.isLarge(body)) === true) {
        void this.#finishApart(done, done.extras);
        continue;
      }
      if (item.batch !== lastBatch) {
        if (lastBatch !== undefined) this.#ended(lastBatch, count);
        lastBatch = item.batch;
        count = 0;
      }
      count++;
      settlements.push(this.#settlementOf(item, done, now));
    }
    if (lastBatch !== undefined) this.#ended(lastBatch, count);
    this.#settle(settlements);
  }

  /** One that has enqueued large payloads: it counts as handed over until these are in their files. */
  async #finishApart(done: FinishedItem<RunningItem>, extras: ItemExtras): Promise<void> {
    const item = done.token;
    const enqueue = await Promise.all(
      extras.enqueue!.map(async (request) => ({
        ...request,
        body: this.#host.isLarge(request.body) ? await this.#host.keepApart(request.body) : request.body,
      })),
    );
    const whole = { ...done, extras: { ...extras, enqueue } };
    this.#ended(item.batch, 1);
    this.#settle([this.#settlementOf(item, whole, this.#host.clock.now())]);
    for (const { body } of enqueue) this.#host.drop(body);
  }

  ready(slot: Slot<RunningItem>): void {
    this.#host.ready(slot);
  }

  progress(item: RunningItem, value: unknown): void {
    this.#host.progress(item.claim, value);
    item.setProgress(value);
    this.notes.changed(item);
  }

  log(item: RunningItem, at: number, message: string): void {
    item.addLog(at, message);
    this.#host.log(item.claim, at, message);
    this.notes.changed(item);
  }

  async enqueue(item: RunningItem, request: NonNullable<ItemExtras['enqueue']>[number]): Promise<TaskId> {
    return this.#host.enqueueNow(this.#host.prepare(request, item.claim));
  }

  parents(item: RunningItem, request: ParentsRequest): Promise<ParentsPage> {
    return this.#host.parents(item.claim, request);
  }

  threadEvent(event: ThreadEvent): void {
    this.#host.threadEvent(event);
  }

  #settlementOf(item: RunningItem, done: FinishedItem<RunningItem>, now: number): Settlement {
    const { claim, entry, rules } = item;
    const { outcome } = done;
    if (this.#host.limiting.isUsed) {
      this.#host.limiting.limits.ended(claim, outcome.kind !== 'released' || outcome.started);
    }
    if (outcome.kind === 'completed') {
      entry.measured(done.runMs);
      if (done.extras === undefined) return completed(claim, outcome.result, done, rules, now);
    }
    const next = outcome.kind === 'completed' ? this.#nextOf(item, done) : undefined;
    const settlement = transition({
      claim,
      item: done,
      options: rules,
      ...(entry.hooks?.backoff === undefined ? {} : { customBackoff: entry.hooks.backoff }),
      ...(next === undefined ? {} : { next }),
      now,
      random: this.#host.random,
    });
    if (settlement.kind === 'scheduled') this.#host.due(settlement.runAt);
    if (settlement.kind === 'cancelled' && item.cancelReason !== undefined) {
      return { ...settlement, reason: item.cancelReason };
    }
    return settlement;
  }

  /**
   * What the handler enqueued with its completion; a request that is not sound is dropped with the reason
   * logged.
   */
  #nextOf(item: RunningItem, done: FinishedItem<RunningItem>): NewTask[] | undefined {
    const requests = done.extras?.enqueue;
    if (requests === undefined) return undefined;
    const next: NewTask[] = [];
    for (const request of requests) {
      try {
        next.push(this.#host.prepare(request, item.claim));
      } catch (error) {
        this.log(
          item,
          done.startedAt,
          `context.enqueue(${request.name}) was refused: ${(error as Error).message}`,
        );
      }
    }
    return next;
  }

  #settle(settlements: readonly Settlement[]): void {
    if (settlements.length === 0) return;
    let endings = settlements;
    const flushed = this.#host.broker.settle(settlements, (given, ending) => {
      endings = endings.map((each) => (each === given ? ending : each));
    });
    this.#host.settled(endings);
    if (!this.#host.wantsTold()) {
      flushed.catch(() => {});
      return;
    }
    flushed.then(
      () => this.#host.told(endings),
      () => {},
    );
  }

  /** What they have taken of their limits is there again. */
  #neverStarted(settlements: readonly Settlement[]): void {
    const { isUsed, limits } = this.#host.limiting;
    if (isUsed) for (const { claim } of settlements) limits.ended(claim, false);
  }

  #ended(running: RunningBatch, count: number): void {
    running.left -= count;
    if (running.left > 0) return;
    running.hold.release();
    this.batches.delete(running);
  }
}
