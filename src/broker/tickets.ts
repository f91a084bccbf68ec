/**
 * What an enqueue leaves in the hands of its caller: a ticket for each task, many of them for a large batch,
 * and how a task has ended. Part of the port `Broker`.
 */
import type { StoredError } from '../task/stored-error.js';
import type { FinalState, NewTask, TaskId } from '../task/task.js';

/**
 * A large batch on its way in. Until it is accepted, `counts` shows its tasks as `blocked`, and nothing else
 * knows them: they have no ids, are not listed, and none of them runs. When the owner dies before, nothing of
 * it is left.
 *
 * Its tasks keep their order. They stand in their lines where the first of them was added; tasks that came in
 * meanwhile and are in memory when it is accepted start before them.
 */
export interface Stage {
  /**
   * One call at a time, of up to {@link MAX_BATCH_TASKS} tasks. Resolves when more may come. After a
   * rejection only `abandon` is right.
   * @throws (rejects) {UnsupportedError} for unique keys · {@link InvalidArgumentError} for more than
   *   {@link MAX_STAGED_TASKS} · {@link StoreFullError} {@link StoreFencedError}
   */
  add(tasks: readonly NewTask[]): Promise<void>;
  /** All of them become ready at once. Resolves when that is flushed, before the first of them starts. */
  accept(): Promise<Tickets>;
  /** Resolves when nothing of it is left; the next owner goes on with that. Idempotent. */
  abandon(): Promise<void>;
}

/** Tickets made when somebody asks, so that a million of them take little. */
export interface Tickets {
  readonly length: number;
  /** Of the task that was added at this place, from 0. */
  ticket(at: number): Ticket;
}

/** One accepted task, as the process that enqueued it sees it: cheaper than asking by id. */
export interface Ticket {
  /** Text made on first use. */
  readonly id: TaskId;
  /** False when a unique key with `'keep'` led to a task that was there before. */
  readonly isNew: boolean;
  /** As {@link Broker.settled}. */
  settled(): Promise<Settled>;
  /**
   * The same without a promise: told once, later than this call, how the task ended or why that is not known.
   */
  onSettled(listener: SettledListener): void;
}

/**
 * Told once: how the task ended, or why that will never be known here. An object, so that none is made per
 * wait.
 */
export interface SettledListener {
  told(settled: Settled | Error): void;
}

/** How a final task ended, its result still encoded. */
export interface Settled {
  readonly id: TaskId;
  readonly state: FinalState;
  /** Encoded result of a completed task. */
  readonly result?: Uint8Array;
  readonly reason?: string;
  /** The last attempt with an error, of a dead task. */
  readonly error?: StoredError;
}
