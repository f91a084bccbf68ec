/**
 * One thread with everything that was handed to it: its pages, names and batches, and the watch over their
 * deadlines. Reports items as they finish and decides whom a thread's death is charged to. Replacing the
 * thread is the slot's business (`thread-slot.ts`).
 */
import type { BatchMessage, Note } from '../../workers/protocol.js';
import type { Clock } from '../clock.js';
import { encodeValue } from '../task/codec.js';
import type { ServiceCall } from '../task/define-types.js';
import { storeError } from '../task/stored-error.js';
import { type Asked, answerOf } from './answers.js';
import { PoolBatch, type PoolClock } from './batch.js';
import { blame } from './blame.js';
import { RELEASED } from './outcome.js';
import { firesOf, NameTable, packRows, TRANSFER_BYTES } from './pack.js';
import { Pages } from './pages.js';
import type { FinishedItem, ItemOutcome, PoolItem, PoolListener, Slot } from './pool.js';
import type { Death, StationThread } from './thread.js';
import { ThreadFiles } from './thread-files.js';
import { type Sighting, Watchdog } from './watchdog.js';

/** What a station tells its slot. */
export interface StationOwner<Token> {
  readonly listener: PoolListener<Token>;
  finished(items: readonly FinishedItem<Token>[]): void;
  batchEnded(): void;
  /** Its thread is to end because an item did not obey. */
  killed(station: Station<Token>): void;
}

export class Station<Token> {
  readonly thread: StationThread;
  readonly #slot: Slot<Token>;
  readonly #owner: StationOwner<Token>;
  readonly #clock: Clock;
  readonly #time: PoolClock;
  readonly #files: ThreadFiles;
  readonly #pages = new Pages();
  readonly #names = new NameTable();
  readonly #byPage = new Map<number, PoolBatch<Token>>();
  readonly #watch: Watchdog;
  #batches: readonly PoolBatch<Token>[] = [];
  #isEnding = false;
  #isGone = false;
  #tasks = 0;
  #onEmpty: (() => void)[] = [];

  constructor(
    slot: Slot<Token>,
    owner: StationOwner<Token>,
    thread: StationThread,
    clock: Clock,
    time: PoolClock,
    files: ThreadFiles = new ThreadFiles(),
  ) {
    this.#slot = slot;
    this.#owner = owner;
    this.thread = thread;
    this.#clock = clock;
    this.#time = time;
    this.#files = files;
    this.#watch = new Watchdog(clock, () => this.#look());
  }

  get batches(): readonly PoolBatch<Token>[] {
    return this.#batches;
  }

  /** Items handed to this thread so far. */
  get tasks(): number {
    return this.#tasks;
  }

  get canTake(): boolean {
    return this.thread.isAlive && !this.#isEnding;
  }

  /** A batch that cannot reach its thread is reported as released, later. */
  hand(items: readonly PoolItem<Token>[], parallel: boolean): PoolBatch<Token> {
    const { page, memory } = this.#pages.take(items.length, parallel);
    const batch = new PoolBatch({
      slot: this.#slot,
      items,
      parallel,
      page,
      runner: this.thread,
      time: this.#time,
      handedAt: this.#clock.monotonic(),
      aborted: ({ killAt }) => this.#watch.within(Math.max(0, killAt - this.#time.now())),
    });
    this.#byPage.set(page.id, batch);
    this.#batches = [...this.#batches, batch];
    this.#tasks += items.length;
    this.#names.makeRoom(items.length);
    const rows = packRows(items, (name) => this.#names.indexOf(name));
    const moved = items.length === 1 ? items[0]!.moved : undefined;
    const fires = firesOf(items);
    const blobs = this.#files.first();
    const message: BatchMessage = {
      kind: 'batch',
      page: page.id,
      parallel,
      count: items.length,
      rows,
      ...this.#names.takeNews(),
      ...(memory === undefined ? {} : { memory }),
      ...(moved === undefined ? {} : { moved: { value: moved.value } }),
      ...(fires === undefined ? {} : { fires }),
      ...(blobs === undefined ? {} : { blobs }),
    };
    const list = rows.length >= TRANSFER_BYTES ? [rows.buffer as ArrayBuffer] : [];
    const sent = this.canTake
      ? this.thread.run(message, moved === undefined ? list : [...list, ...moved.list])
      : Promise.reject(new Error('the thread has ended'));
    sent.then(
      () => this.#ended(batch),
      (error) => this.#refused(batch, error),
    );
    this.#watch.wake();
    return batch;
  }

  /** Resolves when nothing is handed over any more. */
  whenEmpty(): Promise<void> {
    if (this.#batches.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onEmpty.push(resolve));
  }

  /** Reports what has not started as released. */
  releaseUnstarted(): void {
    this.#report(this.#batches.flatMap((batch) => batch.releaseUnstarted()));
  }

  /** Asks everything that runs to stop; see `Pool.stop`. */
  abortAll(graceMs: number): void {
    for (const batch of this.#batches) {
      if (batch.running >= 0) batch.abortWithin(batch.running, 'stopped', graceMs);
    }
  }

  /** Terminates the thread. What has not started is released before, what runs settles when it has exited. */
  kill(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.releaseUnstarted();
    this.thread.end();
    this.#owner.killed(this);
  }

  /** The thread has exited, or is given up: reports everything that is left. */
  bury(death: Death): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#watch.off();
    const finished = this.#batches.flatMap((batch) => batch.harvest());
    const running = this.#batches.filter((batch) => batch.running >= 0).length;
    const ran = { now: running, ever: this.#tasks };
    for (const batch of this.#batches) {
      finished.push(...batch.bury((index, wasRunning) => blame(batch, index, wasRunning, death, ran)));
    }
    this.#batches = [];
    this.#byPage.clear();
    this.#report(finished);
    this.#tellEmpty();
  }

  note(note: Note): void {
    if (note.kind === 'files') {
      // Not in the midst of a look, which delivers notes, too. All results in those files are told first.
      queueMicrotask(() => {
        this.#report(this.#harvest());
        this.#files.close(note.before);
      });
      return;
    }
    const batch = this.#byPage.get(note.page);
    const item = batch?.items[note.index];
    if (batch === undefined || item === undefined) return;
    const { listener } = this.#owner;
    const asked = answerOf(note, item.token, listener);
    if (asked !== undefined) {
      this.#answer(asked);
      return;
    }
    const kept = batch.keep(note);
    if (!kept) return;
    if (note.kind === 'log') listener.log(item.token, note.at, note.message);
    else if (note.kind === 'progress') listener.progress(item.token, batch.progressOf(note.index));
  }

  /** Who calls a service from this place; `undefined` when the item there has ended. */
  callerAt(page: number, index: number): ServiceCall | undefined {
    return this.#byPage.get(page)?.callerAt(index);
  }

  /** What a handler asked is answered, or refused with what the answering throws. */
  #answer({ call, answer }: Asked): void {
    answer()
      .then((command) => this.thread.command(command))
      .catch((error) => this.thread.command({ kind: 'refused', call, error: storeError(error) }));
  }

  #ended(batch: PoolBatch<Token>): void {
    if (this.#isGone) return;
    const finished = batch.harvest();
    if (batch.left > 0) finished.push(...batch.bury(() => UNACCOUNTED));
    this.#pages.give(batch.page);
    this.#remove(batch, finished);
  }

  /** A dead thread's items wait for its exit; a living one refused the message for what was moved into it. */
  #refused(batch: PoolBatch<Token>, error: unknown): void {
    if (this.#isGone)
      this.#remove(
        batch,
        batch.bury(() => RELEASED),
      );
    else if (this.canTake) {
      const bytes = encodeValue(storeError(error)).slice();
      const outcome: ItemOutcome = { kind: 'failed', error: bytes, retryable: false, invalidPayload: true };
      this.#remove(
        batch,
        batch.bury(() => outcome),
      );
    }
  }

  #remove(batch: PoolBatch<Token>, finished: readonly FinishedItem<Token>[]): void {
    this.#batches = this.#batches.filter((each) => each !== batch);
    this.#byPage.delete(batch.page.id);
    this.#report(finished);
    this.#owner.batchEnded();
    if (this.#batches.length === 0) this.#tellEmpty();
  }

  #report(finished: readonly FinishedItem<Token>[]): void {
    if (finished.length > 0) this.#owner.finished(finished);
  }

  #tellEmpty(): void {
    const waiting = this.#onEmpty;
    this.#onEmpty = [];
    for (const resolve of waiting) resolve();
  }

  /**
   * What has finished by now. While a serial batch has items left, those behind it are not looked at: the
   * thread may have gone on to them meanwhile, and they would be reported before what came first.
   */
  #harvest(): FinishedItem<Token>[] {
    const finished: FinishedItem<Token>[] = [];
    let isBlocked = false;
    for (const batch of this.#batches) {
      if (isBlocked && !batch.parallel) continue;
      finished.push(...batch.harvest());
      if (!batch.parallel && batch.left > 0) isBlocked = true;
    }
    return finished;
  }

  /** The watchdog's look: reports what has finished, aborts what is over its time, ends who does not obey. */
  #look(): Sighting {
    const finished = this.#harvest();
    const now = this.#time.now();
    let dueInMs = Number.POSITIVE_INFINITY;
    let leastTimeoutMs = Number.POSITIVE_INFINITY;
    let mustEnd = false;
    for (const batch of this.#batches) {
      const index = batch.running;
      leastTimeoutMs = Math.min(leastTimeoutMs, batch.leastTimeoutMs);
      if (index < 0) continue;
      const { timeoutMs, killGraceMs } = batch.items[index]!;
      if (batch.orderOf(index) === undefined && batch.startedAt(index) + timeoutMs <= now) {
        batch.abortWithin(index, 'timed-out', killGraceMs);
      }
      const endsAt = batch.orderOf(index)?.killAt ?? batch.startedAt(index) + timeoutMs;
      if (batch.orderOf(index) !== undefined && endsAt <= now) mustEnd = true;
      else dueInMs = Math.min(dueInMs, endsAt - now);
    }
    this.#report(finished);
    if (mustEnd) this.kill();
    const isIdle = this.#batches.length === 0 || this.#isEnding;
    return { isIdle, hasChanged: finished.length > 0, dueInMs, leastTimeoutMs };
  }
}

/** A thread that answers without having run its items is broken in a way that must not stay hidden. */
const UNACCOUNTED: ItemOutcome = Object.freeze({
  kind: 'crashed',
  detail: 'the thread ended its batch without this item',
});
