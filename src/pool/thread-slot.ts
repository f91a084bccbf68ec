/**
 * One slot of the thread pool over time: boots its thread, replaces it when it dies, when it is stuck in
 * native code, or when it is due for recycling (the spare boots first), and retires it. A slot never gives
 * up: deaths at boot are followed by another boot after a pause that grows to ten seconds.
 *
 * A replacement starts when the old thread has exited, or when it was terminated and has not exited within
 * `lostAfterMs`: then the slot goes on without it, while the task in it stays running until its thread is
 * really gone, so that no second attempt runs beside the first.
 */
import type { Clock, Disarm } from '../clock.js';
import { StoppedError, type TasksModuleError } from '../errors.js';
import type { Isolation } from '../task/task-options.js';
import type { PoolClock } from './batch.js';
import { Crew, type CrewBounds } from './crew.js';
import type {
  Batch,
  FinishedItem,
  HandlerInfo,
  PoolItem,
  PoolListener,
  RecycleRule,
  Slot,
  ThreadEvent,
} from './pool.js';
import { Station, type StationOwner } from './station.js';
import type { BootThread, Death, ThreadSetup } from './thread.js';

/** What all slots of a pool share. */
export interface SlotSetup<Token> extends CrewBounds {
  readonly clock: Clock;
  readonly time: PoolClock;
  readonly recycle: RecycleRule;
  readonly isolation: Isolation;
  readonly boot: BootThread;
  readonly listener: () => PoolListener<Token>;
  /** For a thread that boots now. */
  readonly threadSetup: () => ThreadSetup;
  /** A thread has imported modules. */
  readonly learn: (handlers: readonly HandlerInfo[]) => void;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;

export class ThreadSlot<Token> implements Slot<Token>, StationOwner<Token> {
  readonly index: number;
  readonly #setup: SlotSetup<Token>;
  /** Takes new batches. */
  #current: Crew<Token> | undefined;
  /** Every thread that has not exited. */
  readonly #crews = new Set<Crew<Token>>();
  /** Where batches go that nobody can take: they come back as released. */
  readonly #nowhere: Station<Token>;
  #isOpen = false;
  #booting: Crew<Token> | undefined;
  #dueFor: 'tasks' | 'heap' | undefined;
  /** Boots and idle lives that ended in a death, in a row. */
  #failures = 0;
  #disarm: Disarm | undefined;
  #waiting: { resolve(): void; reject(error: Error): void }[] = [];

  constructor(index: number, setup: SlotSetup<Token>) {
    this.index = index;
    this.#setup = setup;
    this.#nowhere = new Station(this, this, NO_THREAD, setup.clock, setup.time);
    this.#nowhere.bury({ expected: true, detail: 'there is no thread' });
  }

  get isolation(): Isolation {
    return this.#setup.isolation;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get isReady(): boolean {
    return this.#isOpen && this.#current?.station.canTake === true;
  }

  get batches(): readonly Batch<Token>[] {
    const all: Batch<Token>[] = [];
    for (const crew of this.#crews) if (!crew.isLost) all.push(...crew.station.batches);
    return all;
  }

  get listener(): PoolListener<Token> {
    return this.#setup.listener();
  }

  hand(items: readonly PoolItem<Token>[], parallel = false): Batch<Token> {
    const station = this.#isOpen ? this.#current?.station : undefined;
    return (station ?? this.#nowhere).hand(items, parallel);
  }

  /** Boots a thread if there is none. Resolves when the slot is ready; rejects when the next boot fails. */
  open(): Promise<void> {
    this.#isOpen = true;
    if (this.isReady) {
      queueMicrotask(() => this.#tellReady());
      return Promise.resolve();
    }
    if (this.#booting === undefined && this.#disarm === undefined) this.#boot();
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Takes no more, ends its threads when they are idle. Resolves when they have exited or are lost. */
  async retire(): Promise<void> {
    this.#close();
    await Promise.resolve();
    for (const crew of this.#crews) crew.station.releaseUnstarted();
    await Promise.all([...this.#crews].map((crew) => crew.whenIdle()));
    // It may have been opened again while the last task ran.
    if (this.#isOpen) return;
    this.#current = undefined;
    await Promise.all([...this.#crews].map((crew) => this.#dismiss(crew)));
  }

  /** See `Pool.stop`. Resolves with the number of its threads that are lost. */
  async stop(killMs: number): Promise<number> {
    this.#close();
    await Promise.resolve();
    const exits = await Promise.all([...this.#crews].map((crew) => crew.stop(killMs)));
    return exits.filter((exited) => !exited).length;
  }

  /** Has the live thread import `url`, which does nothing the second time; `undefined` when there is none. */
  register(url: string): Promise<readonly HandlerInfo[]> | undefined {
    return this.isReady ? this.#current?.thread.register(url) : undefined;
  }

  // What its stations say.

  finished(items: readonly FinishedItem<Token>[]): void {
    this.#failures = 0;
    this.listener.finished(this, items);
  }

  batchEnded(): void {
    this.#recycleIfDue();
    this.#tellReady();
  }

  killed(station: Station<Token>): void {
    this.#setup.clock.arm(this.#setup.lostAfterMs, () => {
      for (const crew of this.#crews) if (crew.station === station) this.#lose(crew);
    });
  }

  exited(crew: Crew<Token>, death: Death): void {
    this.#crews.delete(crew);
    const wasCurrent = crew === this.#current;
    if (wasCurrent) this.#current = undefined;
    crew.station.bury(death);
    const expected = death.expected && crew.failure === undefined;
    this.#tell({
      kind: 'exited',
      ...this.#who(crew),
      detail: crew.failure?.message ?? death.detail,
      cause: crew.failure?.message ?? death.cause ?? death.detail,
      expected,
    });
    if (!wasCurrent) return;
    // Reported items have set the count to 0 by now: only a thread that died for nothing is waited for.
    if (!death.expected) this.#failures++;
    this.#bootLater(this.#failures - 1);
  }

  // Its own doings.

  #boot(): void {
    const { boot, time } = this.#setup;
    const crew = new Crew(this, this, boot, this.#setup.threadSetup(), time, this.#setup);
    this.#crews.add(crew);
    this.#booting = crew;
    this.#load(crew).then(
      () => this.#booted(crew),
      (error: TasksModuleError) => this.#bootFailed(crew, error),
    );
  }

  /** Also the modules that were registered while it booted. */
  async #load(crew: Crew<Token>): Promise<void> {
    this.#setup.learn(await crew.thread.loaded);
    for (const url of this.#setup.threadSetup().modules) {
      if (!crew.thread.modules.has(url)) this.#setup.learn(await crew.thread.register(url));
    }
  }

  #booted(crew: Crew<Token>): void {
    crew.isBooted = true;
    this.#booting = undefined;
    if (!this.#isOpen || !crew.thread.isAlive) return;
    const before = this.#current;
    this.#current = crew;
    this.#tell({ kind: 'ready', ...this.#who(crew) });
    if (before !== undefined) {
      this.#tell({ kind: 'recycled', ...this.#who(before), why: this.#dueFor ?? 'tasks' });
      void this.#dismiss(before);
    }
    this.#dueFor = undefined;
    for (const { resolve } of this.#takeWaiting()) resolve();
    this.#tellReady();
  }

  #bootFailed(crew: Crew<Token>, error: Error): void {
    crew.failure = error;
    this.#booting = undefined;
    void crew.thread.end();
    this.#failures++;
    for (const { reject } of this.#takeWaiting()) reject(error);
    this.#bootLater(this.#failures);
  }

  #bootLater(failures: number): void {
    if (!this.#isOpen || this.#booting !== undefined || this.#disarm !== undefined) return;
    if (failures <= 0) {
      this.#boot();
      return;
    }
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS);
    this.#disarm = this.#setup.clock.arm(pauseMs, () => {
      this.#disarm = undefined;
      this.#boot();
    });
  }

  #recycleIfDue(): void {
    const crew = this.#current;
    if (crew === undefined || !this.#isOpen || this.#booting !== undefined || this.#disarm !== undefined)
      return;
    const { tasks, heapBytes } = this.#setup.recycle;
    if (crew.station.tasks >= tasks) this.#dueFor = 'tasks';
    else if (crew.thread.memoryBytes > heapBytes) this.#dueFor = 'heap';
    if (this.#dueFor !== undefined) this.#boot();
  }

  async #dismiss(crew: Crew<Token>): Promise<void> {
    if (!(await crew.retire())) this.#lose(crew);
  }

  #lose(crew: Crew<Token>): void {
    if (crew.isLost || crew.hasExited) return;
    crew.lose();
    this.#tell({ kind: 'lost', ...this.#who(crew) });
    if (crew !== this.#current) return;
    this.#current = undefined;
    this.#bootLater(0);
  }

  #close(): void {
    this.#isOpen = false;
    this.#disarm?.();
    this.#disarm = undefined;
    for (const { reject } of this.#takeWaiting()) reject(new StoppedError('The thread'));
  }

  #takeWaiting(): { resolve(): void; reject(error: Error): void }[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    return waiting;
  }

  #tellReady(): void {
    if (this.isReady) this.listener.ready(this);
  }

  #tell(event: ThreadEvent): void {
    this.listener.threadEvent(event);
  }

  #who(crew: Crew<Token>): Pick<ThreadEvent, 'slot' | 'threadId' | 'isolation'> {
    return { slot: this.index, threadId: crew.thread.threadId, isolation: this.isolation };
  }
}

const NO_THREAD = Object.freeze({
  threadId: -1,
  isAlive: false,
  run: () => Promise.reject(new StoppedError('The thread')),
  command: () => {},
  drain: () => {},
  end: () => {},
});
