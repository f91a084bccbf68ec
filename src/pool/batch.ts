/**
 * One batch on the host's side: reads its page, takes items back, asks running ones to stop, and turns what
 * the page says into finished items. It reports each item once, by returning it from `harvest`,
 * `releaseUnstarted` or `bury`; whom to tell, and when to look, is the station's business.
 */
import { ABORT_REASONS, FLAG, type Page, STATE } from '../../workers/page.js';
import type { Command, Note } from '../../workers/protocol.js';
import type { ServiceCall } from '../task/define-types.js';
import { formatId, ID_BYTES } from '../task/id.js';
import { outcomeOf, RELEASED } from './outcome.js';
import type { AbortReason, Batch, FinishedItem, ItemExtras, ItemOutcome, PoolItem, Slot } from './pool.js';
import { Sayings } from './sayings.js';

/** What a batch needs of the thread that runs it. */
export interface Runner {
  readonly threadId: number;
  command(command: Command): void;
  /** Delivers the notes that have arrived, without waiting for their turn. */
  drain(): void;
}

/** The clock shared with the thread, milliseconds, and wall time. */
export interface PoolClock {
  now(): number;
  wallNow(): number;
}

/** An abort under way. */
export interface AbortOrder {
  readonly reason: AbortReason;
  /** When the thread is to end if the handler has not, on the shared clock. */
  readonly killAt: number;
}

export interface BatchSetup<Token> {
  readonly slot: Slot<Token>;
  readonly items: readonly PoolItem<Token>[];
  readonly parallel: boolean;
  readonly page: Page;
  readonly runner: Runner;
  readonly time: PoolClock;
  readonly handedAt: number;
  /** Told of every abort, so that the watch is set. */
  readonly aborted: (order: AbortOrder) => void;
}

export class PoolBatch<Token> implements Batch<Token> {
  readonly slot: Slot<Token>;
  readonly items: readonly PoolItem<Token>[];
  readonly handedAt: number;
  readonly parallel: boolean;
  readonly page: Page;
  readonly #setup: BatchSetup<Token>;
  /** 1 for items that were reported or recalled. */
  readonly #gone: Uint8Array;
  /** All items before this one are gone. */
  #first = 0;
  #left: number;
  #leastTimeoutMs: number | undefined;
  #orders: Map<number, AbortOrder> | undefined;
  #sayings: Sayings | undefined;
  /** Of items that have called a service. */
  #signals: Map<number, AbortController> | undefined;

  constructor(setup: BatchSetup<Token>) {
    this.slot = setup.slot;
    this.items = setup.items;
    this.handedAt = setup.handedAt;
    this.parallel = setup.parallel;
    this.page = setup.page;
    this.#setup = setup;
    this.#gone = new Uint8Array(setup.items.length);
    this.#left = setup.items.length;
  }

  // The port.

  unstarted(): number {
    let count = 0;
    for (let index = this.#first; index < this.items.length; index++) {
      if (this.#gone[index] === 0 && this.#state(index) === STATE.handed) count++;
    }
    return count;
  }

  recall(index: number): boolean {
    if (this.#gone[index] !== 0) return false;
    const state = Atomics.compareExchange(this.page.ints, index, STATE.handed, STATE.recalled);
    if (state !== STATE.handed) return false;
    this.#leave(index);
    return true;
  }

  isRunning(index: number): boolean {
    return this.#gone[index] === 0 && this.#state(index) === STATE.started;
  }

  abort(index: number, reason: AbortReason): void {
    this.abortWithin(index, reason, this.items[index]?.killGraceMs ?? 0);
  }

  // For the station.

  /** The first reason stays; a later call can only bring the end of the thread nearer. */
  abortWithin(index: number, reason: AbortReason, graceMs: number): void {
    if (!this.isRunning(index)) return;
    this.#orders ??= new Map();
    const before = this.#orders.get(index);
    const killAt = Math.min(this.#setup.time.now() + graceMs, before?.killAt ?? Number.POSITIVE_INFINITY);
    const order = { reason: before?.reason ?? reason, killAt };
    this.#orders.set(index, order);
    if (before === undefined) {
      Atomics.store(this.page.ints, this.page.abort + index, ABORT_REASONS.indexOf(reason) + 1);
      this.#setup.runner.command({ kind: 'abort', page: this.page.id, index });
      this.#signals?.get(index)?.abort();
    }
    this.#setup.aborted(order);
  }

  orderOf(index: number): AbortOrder | undefined {
    return this.#orders?.get(index);
  }

  /** Items neither reported nor recalled. */
  get left(): number {
    return this.#left;
  }

  /** Shortest timeout of all its items, milliseconds. */
  get leastTimeoutMs(): number {
    this.#leastTimeoutMs ??= this.items.reduce(
      (least, { timeoutMs }) => Math.min(least, timeoutMs),
      Number.POSITIVE_INFINITY,
    );
    return this.#leastTimeoutMs;
  }

  /** Index of the item that runs now, or -1: a batch runs its items one after the other. */
  get running(): number {
    for (let index = this.#first; index < this.items.length; index++) {
      if (this.#gone[index] !== 0) continue;
      const state = this.#state(index);
      if (state === STATE.started) return index;
      if (state === STATE.handed) return -1;
    }
    return -1;
  }

  /** On the clock shared with the thread. */
  startedAt(index: number): number {
    return this.page.floats[index]!;
  }

  /**
   * Keeps what a note says until its item is reported; false when it was. Requests with a `call` are not for
   * it.
   */
  keep(note: Note): boolean {
    if (this.#gone[note.index] !== 0) return false;
    this.#sayings ??= new Sayings();
    this.#sayings.keep(note);
    return true;
  }

  /** The last progress that was kept. */
  progressOf(index: number): unknown {
    return this.#sayings?.progressOf(index);
  }

  /** For a service called by this item; `undefined` when it is not running. */
  callerAt(index: number): ServiceCall | undefined {
    if (!this.isRunning(index)) return undefined;
    this.#signals ??= new Map();
    let controller = this.#signals.get(index);
    if (controller === undefined) {
      controller = new AbortController();
      if (this.orderOf(index) !== undefined) controller.abort();
      this.#signals.set(index, controller);
    }
    const id = new Uint8Array(ID_BYTES);
    this.items[index]!.writeId(id, 0);
    return { taskId: formatId(id), signal: controller.signal };
  }

  /** Takes the items that have finished since the last look. */
  harvest(): FinishedItem<Token>[] {
    const indexes: number[] = [];
    for (let index = this.#first; index < this.items.length; index++) {
      if (this.#gone[index] !== 0) continue;
      const state = this.#state(index);
      if (state === STATE.finished) indexes.push(index);
      else if (state !== STATE.recalled) break;
    }
    return indexes.length === 0 ? [] : this.#collect(indexes);
  }

  /** Takes back every item that has not started, to be reported as released. */
  releaseUnstarted(): FinishedItem<Token>[] {
    const released: FinishedItem<Token>[] = [];
    for (let index = this.#first; index < this.items.length; index++) {
      if (this.recall(index)) released.push(this.#finished(index, RELEASED, 0, 0));
    }
    return released;
  }

  /** Takes every item that is left, with the outcome that `blame` finds. For batches whose thread is gone. */
  bury(blame: (index: number, wasRunning: boolean) => ItemOutcome): FinishedItem<Token>[] {
    const buried: FinishedItem<Token>[] = [];
    const now = this.#setup.time.now();
    const wallOffset = this.#wallOffset();
    for (let index = 0; index < this.items.length; index++) {
      if (this.#gone[index] !== 0) continue;
      const wasRunning = this.#state(index) !== STATE.handed;
      const runMs = wasRunning ? Math.max(0, now - this.startedAt(index)) : 0;
      const finished = this.#finished(index, blame(index, wasRunning), runMs, wallOffset);
      this.#leave(index);
      buried.push(finished);
    }
    return buried;
  }

  #state(index: number): number {
    return Atomics.load(this.page.ints, index);
  }

  #leave(index: number): void {
    this.#gone[index] = 1;
    this.#left--;
    this.#signals?.get(index)?.abort();
    while (this.#first < this.items.length && this.#gone[this.#first] !== 0) this.#first++;
  }

  /** One copy of the page for all results, which are then views of it. */
  #collect(indexes: readonly number[]): FinishedItem<Token>[] {
    const { ints, floats, kind, offset, length, endedAt, bytes } = this.page;
    let from = Number.POSITIVE_INFINITY;
    let to = 0;
    let kinds = 0;
    for (const index of indexes) {
      const at = ints[offset + index]!;
      const size = ints[length + index]!;
      kinds |= ints[kind + index]!;
      if (size > 0 && at < from) from = at;
      if (size > 0 && at + size > to) to = at + size;
    }
    if ((kinds & FLAG.noted) !== 0) this.#setup.runner.drain();
    const copy = to === 0 ? NOTHING : bytes.slice(from, to);
    const wallOffset = this.#wallOffset();
    const finished: FinishedItem<Token>[] = [];
    for (const index of indexes) {
      const size = ints[length + index]!;
      const at = ints[offset + index]! - from;
      const own = size === 0 ? this.#sayings?.bytesOf(index) : copy.subarray(at, at + size);
      const runMs = floats[endedAt + index]! - floats[index]!;
      finished.push(this.#finished(index, outcomeOf(this.page, index, own), runMs, wallOffset));
      this.#leave(index);
    }
    return finished;
  }

  #finished(index: number, outcome: ItemOutcome, runMs: number, wallOffset: number): FinishedItem<Token> {
    const { token } = this.items[index]!;
    const { threadId: thread } = this.#setup.runner;
    const hasStarted = outcome.kind !== 'released' || outcome.started;
    const startedAt = hasStarted ? Math.round(this.startedAt(index) + wallOffset) : 0;
    const extras: ItemExtras | undefined = this.#sayings?.take(index, outcome.kind === 'completed');
    if (extras === undefined) return { token, outcome, startedAt, runMs, thread };
    return { token, outcome, startedAt, runMs, thread, extras };
  }

  /** From the shared clock to wall time. */
  #wallOffset(): number {
    return this.#setup.time.wallNow() - this.#setup.time.now();
  }
}

const NOTHING = new Uint8Array(0);
