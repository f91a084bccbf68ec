/**
 * A desk whose owner may change: asks whoever owns the tasks now, and once more when that one has gone. While
 * nobody does, callers wait. What can be asked twice is; an enqueue that was sent and not answered is not, as
 * it may have been accepted: it rejects with {@link DisconnectedError}. Finding the owner is the business of
 * whoever moves it (`standby.ts`).
 */
import type { Settled } from '../broker/broker.js';
import type { Counts, Page, TaskFilter } from '../broker/inspect.js';
import { DisconnectedError, StoppedError } from '../errors.js';
import type { EnqueueOptions, RunOptions } from '../options/types.js';
import type { Desk, DeskItem } from '../run/desk.js';
import { EventQueue } from '../run/event-queue.js';
import type { EventFilter, RuntimeEvent } from '../run/events.js';
import { checkEventFilter, type PageRequest } from '../run/filters.js';
import type { EncodedTask } from '../run/front.js';
import type { LimitInForce } from '../run/limiting.js';
import type { Receipt } from '../run/receipt.js';
import { within } from '../run/within.js';
import type { AnyLimitRule, LimitScope } from '../task/limit-rule.js';
import type { TaskId, TaskState, TaskView } from '../task/task.js';
import { MovingFlows } from './flows/moving-flows.js';
import { runThrough } from './run-through.js';
import { MovingSchedules } from './schedules.js';
import { ownCopy, withoutTransfers } from './snapshot.js';

/** An owner's desk as a process needs it that may see several: a task is encoded once, and goes to any. */
export interface OwnersDesk extends Omit<Desk, 'enqueue' | 'run'> {
  /** Checks and encodes. @throws as `enqueue` */
  encode(name: string, payload: unknown, options: EnqueueOptions | undefined): EncodedTask;
  /** @param signal  Ends its wait for room. */
  accept(task: EncodedTask, signal?: AbortSignal): Promise<Receipt>;
}

const RECEIPTS_PER_TURN = 10_000;

/** Where the owner is reached for a while. */
interface Stay {
  readonly desk: OwnersDesk;
  /** The same desk, when the owner is this process until its end: nobody follows. */
  readonly own: Desk | undefined;
  /** Resolves when it has gone. */
  readonly over: Promise<void>;
}

interface Listener {
  readonly filter: EventFilter;
  readonly events: EventQueue;
  /** Tells the owner of now that nobody listens any more. */
  leave(): void;
}

export class MovingDesk implements Desk {
  readonly schedules: MovingSchedules = new MovingSchedules({
    settled: (id) => this.settled(id),
    ask: (question, times) => this.#ask(question, times),
  });
  readonly flows = new MovingFlows((question, times) => this.#ask((desk) => question(desk.flows), times));
  readonly #now: () => number;
  readonly #listeners = new Set<Listener>();
  #stay: Stay | undefined;
  #leave: () => void = () => {};
  #waiting: { resolve(stay: Stay): void; reject(error: Error): void }[] = [];
  #ended: Error | undefined;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** The owner is reached at `desk` now. @param own  The same, when it is this process until its end. */
  arrive(desk: OwnersDesk, own?: Desk): void {
    const over = new Promise<void>((resolve) => {
      this.#leave = resolve;
    });
    this.#stay = { desk, own, over };
    for (const listener of this.#listeners) void this.#listen(listener, this.#stay);
    for (const { resolve } of this.#takeWaiting()) resolve(this.#stay);
  }

  /** The owner has gone, or is about to. */
  depart(): void {
    this.#stay = undefined;
    this.#leave();
  }

  /** No owner can be reached or made: whoever waits is told why. Later calls wait again. */
  failed(error: Error): void {
    for (const { reject } of this.#takeWaiting()) reject(error);
  }

  /** For good. */
  end(error: Error): void {
    this.#ended = error;
    // The last owner still tells what it knows.
    if (this.#stay?.own === undefined) {
      this.depart();
      for (const { events } of this.#listeners) events.close();
    }
    this.#listeners.clear();
    this.failed(error);
  }

  async enqueue(name: string, payload: unknown, options: EnqueueOptions | undefined): Promise<Receipt> {
    const stay = this.#stay;
    if (stay?.own !== undefined) return stay.own.enqueue(name, payload, options);
    // What the caller does to the payload later is no matter, and it may be asked for again.
    let task = stay?.desk.encode(name, payload, options);
    const own = task === undefined ? ownCopy(payload, options) : undefined;
    const signal = options?.signal;
    const accept = (desk: OwnersDesk): Promise<Receipt> => {
      task ??= desk.encode(name, own?.payload, own?.options);
      signal?.throwIfAborted();
      return desk.accept(task, signal);
    };
    return new Followed(await this.#ask(accept, 'once', signal), this);
  }

  async enqueueBatch(batch: readonly DeskItem[]): Promise<readonly Receipt[]> {
    const stay = this.#stay;
    if (stay?.own !== undefined) return stay.own.enqueueBatch(batch);
    const items = withoutTransfers(batch);
    const receipts = await this.#ask((desk) => desk.enqueueBatch(items), 'once', signalOf(items));
    const followed: Receipt[] = [];
    for (const receipt of receipts) {
      // This process goes on while there are a million.
      if (followed.push(new Followed(receipt, this)) % RECEIPTS_PER_TURN === 0)
        await new Promise(setImmediate);
    }
    return followed;
  }

  run<Value>(
    name: string,
    payload: unknown,
    options: RunOptions | undefined,
    take: (settled: Settled) => Value,
  ): Promise<Value> {
    const own = this.#stay?.own;
    if (own !== undefined) return own.run(name, payload, options, take);
    return runThrough(this, name, payload, options, take);
  }

  settled(id: TaskId): Promise<Settled> {
    return this.#ask((desk) => desk.settled(id));
  }

  state(id: TaskId): Promise<TaskState> {
    return this.#ask((desk) => desk.state(id));
  }

  get(id: TaskId): Promise<TaskView | undefined> {
    return this.#ask((desk) => desk.get(id));
  }

  list(filter: TaskFilter, page: PageRequest): Promise<Page> {
    return this.#ask((desk) => desk.list(filter, page));
  }

  counts(): Promise<Counts> {
    return this.#ask((desk) => desk.counts());
  }

  cancel(what: TaskId | TaskFilter): Promise<number> {
    return this.#ask((desk) => desk.cancel(what));
  }

  redrive(what: TaskId | TaskFilter): Promise<number> {
    return this.#ask((desk) => desk.redrive(what), 'once');
  }

  delete(what: TaskId | TaskFilter): Promise<number> {
    return this.#ask((desk) => desk.delete(what), 'once');
  }

  setPaused(queue: string, isPaused: boolean): Promise<void> {
    return this.#ask((desk) => desk.setPaused(queue, isPaused));
  }

  setLimit(scope: LimitScope, rule: AnyLimitRule): Promise<void> {
    return this.#ask((desk) => desk.setLimit(scope, rule));
  }

  removeLimit(scope: LimitScope): Promise<boolean> {
    return this.#ask((desk) => desk.removeLimit(scope));
  }

  listLimits(): Promise<readonly LimitInForce[]> {
    return this.#ask((desk) => desk.listLimits());
  }

  resize(threads: number): Promise<void> {
    return this.#ask((desk) => desk.resize(threads));
  }

  /** An owner that stops lets its waiters go: they ask the next one. */
  async whenIdle(): Promise<void> {
    for (let isIdle = false; !isIdle; ) {
      isIdle = await this.#ask(async (desk) => {
        await desk.whenIdle();
        return this.#stay?.desk === desk;
      });
    }
  }

  /** Goes on with the next owner; what happens between two of them is not seen. */
  events(filter: EventFilter): AsyncIterableIterator<RuntimeEvent> {
    const checked = checkEventFilter(filter);
    const events = new EventQueue(checked.bound, this.#now);
    const listener: Listener = { filter: checked, events, leave: () => {} };
    if (this.#stay !== undefined) void this.#listen(listener, this.#stay);
    if (this.#ended === undefined) this.#listeners.add(listener);
    else if (this.#stay === undefined) events.close();
    return events.read(() => {
      this.#listeners.delete(listener);
      listener.leave();
    });
  }

  async #listen(listener: Listener, { desk, own }: Stay): Promise<void> {
    try {
      const events = desk.events(listener.filter);
      listener.leave = () => void events.return?.();
      for await (const event of events) listener.events.push(event);
    } catch {
      // The owner has gone in this moment; the next one is listened to.
    }
    if (own !== undefined) listener.events.close();
  }

  /**
   * @param times  `once`: not again after it was sent.
   * @param signal  Ends the wait for an owner; when there is one, that is the question's to do.
   */
  async #ask<Value>(
    question: (desk: OwnersDesk) => Promise<Value>,
    times: 'once' | 'again' = 'again',
    signal?: AbortSignal,
  ): Promise<Value> {
    for (;;) {
      const stay = this.#stay ?? (await unlessAborted(this.#here(), signal));
      try {
        return await question(stay.desk);
      } catch (error) {
        if (stay.own !== undefined || !mayAskAgain(error, times)) throw error;
      }
      await unlessAborted(stay.over, signal);
    }
  }

  #here(): Promise<Stay> {
    if (this.#stay !== undefined) return Promise.resolve(this.#stay);
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #takeWaiting(): { resolve(stay: Stay): void; reject(error: Error): void }[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    return waiting;
  }
}

/** A receipt that outlives the owner that gave it. The text of its id is made when somebody asks. */
class Followed implements Receipt {
  readonly #receipt: Receipt;
  readonly #desk: MovingDesk;

  constructor(receipt: Receipt, desk: MovingDesk) {
    this.#receipt = receipt;
    this.#desk = desk;
  }

  get id(): TaskId {
    return this.#receipt.id;
  }

  get isNew(): boolean {
    return this.#receipt.isNew;
  }

  settled(): Promise<Settled> {
    return this.#desk.settled(this.id);
  }
}

/** The first in a batch. */
function signalOf(batch: readonly DeskItem[]): AbortSignal | undefined {
  if (!Array.isArray(batch)) return undefined;
  return batch.find((item) => item?.options?.signal !== undefined)?.options?.signal;
}

/** Of a signal that is none the owner tells. */
function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal | undefined): Promise<Value> {
  if (!(signal instanceof AbortSignal)) return promise;
  return within(promise, 'An owner', Number.POSITIVE_INFINITY, signal);
}

/** An owner that is stopping has done nothing of what it refused. */
function mayAskAgain(error: unknown, times: 'once' | 'again'): boolean {
  return error instanceof StoppedError || (times === 'again' && error instanceof DisconnectedError);
}
