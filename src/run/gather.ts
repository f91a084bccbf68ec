/**
 * Collects what one turn of the event loop enqueues into batches for the broker, so that thousands of single
 * `enqueue` calls cost one call into the store. Batches of the user's own, and tasks with a unique key (which
 * may be refused one by one), go through alone. A large payload is written to its file before its task is
 * handed over, so that a commit never waits for one that is still on its way.
 */
import type { Blobs } from '../broker/blobs.js';
import type { Broker, Settled, SettledListener, Ticket } from '../broker/broker.js';
import { InvalidArgumentError, QueueFullError, StoreFullError } from '../errors.js';
import type { NewTask } from '../task/task.js';
import type { Entrant } from './pressure/entrant.js';
import type { Pressure } from './pressure/pressure.js';

/** A gathered batch is handed over at the latest at this size. */
const MAX_GATHERED = 1_024;

type WithBody = Pick<NewTask, 'body'>;

/** A task on its way into the broker, and who is told of it. */
interface Waiting extends Entrant {
  placed(ticket: Ticket): void;
  accepted(ticket: Ticket): void;
  readonly awaitsAcceptance: boolean;
}

/** `enqueue`: told when the task is accepted. */
class Accepting implements Waiting {
  readonly task: NewTask;
  readonly accepted: (ticket: Ticket) => void;
  readonly failed: (error: unknown) => void;
  readonly awaitsAcceptance = true;

  constructor(task: NewTask, accepted: (ticket: Ticket) => void, failed: (error: unknown) => void) {
    this.task = task;
    this.accepted = accepted;
    this.failed = failed;
  }

  placed(): void {}
}

/** `run`: told when the task is settled. One object is item, listener and answer: this is the hot path. */
class Awaiting<Value> implements Waiting, SettledListener {
  readonly task: NewTask;
  readonly failed: (error: unknown) => void;
  readonly awaitsAcceptance = false;
  readonly #take: (settled: Settled) => Value;
  readonly #resolve: (value: Value) => void;
  readonly #placed: ((ticket: Ticket) => void) | undefined;

  constructor(
    task: NewTask,
    take: (settled: Settled) => Value,
    placed: ((ticket: Ticket) => void) | undefined,
    resolve: (value: Value) => void,
    failed: (error: unknown) => void,
  ) {
    this.task = task;
    this.failed = failed;
    this.#take = take;
    this.#placed = placed;
    this.#resolve = resolve;
  }

  accepted(): void {}

  placed(ticket: Ticket): void {
    this.#placed?.(ticket);
    ticket.onSettled(this);
  }

  told(settled: Settled | Error): void {
    if (settled instanceof Error) {
      this.failed(settled);
      return;
    }
    try {
      this.#resolve(this.#take(settled));
    } catch (error) {
      this.failed(error);
    }
  }
}

export class Gather {
  readonly #broker: Broker;
  readonly #blobs: Blobs | undefined;
  readonly #leastBlobBytes: number;
  readonly #pressure: Pressure;
  #waiting: Waiting[] = [];
  readonly #flush = (): void => this.flush();

  constructor(broker: Broker, blobs: Blobs | undefined, pressure: Pressure) {
    this.#broker = broker;
    this.#blobs = blobs;
    this.#pressure = pressure;
    this.#leastBlobBytes = blobs?.leastBytes ?? Number.POSITIVE_INFINITY;
  }

  /** Resolves when the task is accepted. */
  enqueue(task: NewTask): Promise<Ticket> {
    if (this.isLarge(task)) return this.#withBlob(task, (small) => this.enqueue(small));
    return new Promise((accepted, failed) => this.#add(new Accepting(task, accepted, failed)));
  }

  /**
   * Resolves with what `take` makes of the settled task.
   * @param placed  Gets the ticket before.
   */
  run<Value>(
    task: NewTask,
    take: (settled: Settled) => Value,
    placed?: (ticket: Ticket) => void,
  ): Promise<Value> {
    if (this.isLarge(task)) {
      return this.#withBlob(task, (small) => this.run(small, take, placed));
    }
    return new Promise((resolve, failed) => this.#add(new Awaiting(task, take, placed, resolve, failed)));
  }

  /**
   * Hands over what has been gathered; called at the end of the turn, and before anything that must come
   * after it.
   */
  flush(): void {
    const batch = this.#waiting;
    if (batch.length === 0) return;
    this.#waiting = [];
    this.#hand(batch);
  }

  /**
   * The task as it goes into a batch of the caller's own: a large payload is in its file already.
   * @throws (rejects) as {@link Blobs.write}
   */
  async apart<Task extends WithBody>(task: Task): Promise<Task> {
    return this.isLarge(task) ? { ...task, body: await this.#blobs!.write(task.body) } : task;
  }

  /** As {@link Gather.apart}. A task that waits for room does so for that of its payload, too. */
  async written(task: NewTask): Promise<NewTask> {
    for (;;) {
      try {
        return await this.apart(task);
      } catch (error) {
        await this.#pressure.again([task], error);
      }
    }
  }

  isLarge({ body }: WithBody): boolean {
    return body.length >= this.#leastBlobBytes;
  }

  /** These are not going to be enqueued, as far as they were not. */
  drop(tasks: readonly WithBody[]): void {
    for (const { body } of tasks) this.#blobs?.drop(body);
  }

  async #withBlob<Result>(task: NewTask, go: (small: NewTask) => Promise<Result>): Promise<Result> {
    if (this.#pressure.isOn) await this.#pressure.before(task);
    const small = await this.written(task);
    try {
      return await go(small);
    } catch (error) {
      this.drop([small]);
      throw error;
    }
  }

  #add(waiting: Waiting): void {
    if (waiting.task.unique !== undefined) {
      this.flush();
      this.#hand([waiting]);
      return;
    }
    if (this.#waiting.push(waiting) === 1) queueMicrotask(this.#flush);
    else if (this.#waiting.length >= MAX_GATHERED) this.flush();
  }

  #hand(batch: readonly Waiting[]): void {
    this.#place(this.#pressure.isOn ? this.#pressure.admit(batch) : batch);
  }

  /** Those who were kept out before, all of whom came from here. */
  place(entrants: readonly Entrant[]): void {
    this.#place(entrants as readonly Waiting[]);
  }

  /**
   * The callers know nothing of each other: what is too much for the broker together goes in parts, as far as
   * it fits. @returns false when the broker takes no more now.
   */
  #place(batch: readonly Waiting[]): boolean {
    if (batch.length === 0) return true;
    try {
      this.#enqueue(batch);
      return true;
    } catch (error) {
      const isFull = error instanceof QueueFullError || error instanceof StoreFullError;
      const isTooMuch = isFull || error instanceof InvalidArgumentError;
      if (batch.length > 1 && isTooMuch) {
        const half = batch.length >> 1;
        if (this.#place(batch.slice(0, half))) return this.#place(batch.slice(half));
        for (const waiting of batch.slice(half)) this.#pressure.refused(waiting, error);
        return false;
      }
      for (const waiting of batch) this.#pressure.refused(waiting, error);
      return !isFull;
    }
  }

  /** @throws as {@link Broker.enqueue}; nothing is stored then. */
  #enqueue(batch: readonly Waiting[]): void {
    const { tickets, accepted } = this.#broker.enqueue(batch.map((waiting) => waiting.task));
    let awaited = false;
    for (let at = 0; at < batch.length; at++) {
      batch[at]!.placed(tickets[at]!);
      awaited ||= batch[at]!.awaitsAcceptance;
    }
    if (!awaited) return;
    accepted.then(
      () => {
        for (let at = 0; at < batch.length; at++) batch[at]!.accepted(tickets[at]!);
      },
      (error) => {
        for (const { failed } of batch) failed(error);
      },
    );
  }
}
