/**
 * Collects what one turn of the event loop enqueues into batches for the broker, so that thousands of single
 * `enqueue` calls cost one call into the store. Batches of the user's own, and tasks with a unique key (which may be
 * refused one by one), go through alone.
 */
import type { Broker, Settled, Ticket } from '../broker/broker.js';
import type { NewTask } from '../task/task.js';

/** A gathered batch is handed over at the latest at this size. */
const MAX_GATHERED = 1_024;

interface Waiting {
  readonly task: NewTask;
  readonly accepted: ((ticket: Ticket) => void) | undefined;
  readonly placed: ((ticket: Ticket) => void) | undefined;
  readonly failed: (error: unknown) => void;
}

export class Gather {
  readonly #broker: Broker;
  #waiting: Waiting[] = [];
  readonly #flush = (): void => this.flush();

  constructor(broker: Broker) {
    this.#broker = broker;
  }

  /** Resolves when the task is accepted. */
  enqueue(task: NewTask): Promise<Ticket> {
    return new Promise((accepted, failed) => this.#add({ task, accepted, placed: undefined, failed }));
  }

  /** Resolves when the task is settled; `placed` gets its ticket before. */
  run(task: NewTask, placed?: (ticket: Ticket) => void): Promise<Settled> {
    return new Promise((resolve, failed) => {
      const follow = (ticket: Ticket): void => {
        placed?.(ticket);
        ticket.settled().then(resolve, failed);
      };
      this.#add({ task, accepted: undefined, placed: follow, failed });
    });
  }

  /** Hands over what has been gathered; called at the end of the turn, and before anything that must come after it. */
  flush(): void {
    const batch = this.#waiting;
    if (batch.length === 0) return;
    this.#waiting = [];
    this.#hand(batch);
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
    try {
      const { tickets, accepted } = this.#broker.enqueue(batch.map((waiting) => waiting.task));
      let awaited = false;
      for (let at = 0; at < batch.length; at++) {
        batch[at]!.placed?.(tickets[at]!);
        awaited ||= batch[at]!.accepted !== undefined;
      }
      if (!awaited) return;
      accepted.then(
        () => {
          for (let at = 0; at < batch.length; at++) batch[at]!.accepted?.(tickets[at]!);
        },
        (error) => {
          for (const { failed } of batch) failed(error);
        },
      );
    } catch (error) {
      for (const { failed } of batch) failed(error);
    }
  }
}
