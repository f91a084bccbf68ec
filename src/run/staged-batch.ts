/**
 * A batch that is larger than one commit on its way in. Takes tasks one by one and hands them to the broker
 * in parts, between which the host's event loop turns. Of each task it keeps its name and queue, for events.
 */
import type { Stage, Ticket } from '../broker/broker.js';
import type { EpochMs } from '../clock.js';
import type { NewTask } from '../task/task.js';
import type { Coordinator } from './coordinator.js';
import type { EncodedTask } from './front.js';

/** A part ends at so many tasks or bytes: about the time that the host can spare in one turn. */
const PART_TASKS = 1_000;
const PART_BYTES = 1024 * 1024;
/** Tickets made, or events told, in one turn. */
const PER_TURN = 10_000;

export class StagedBatch {
  readonly #coordinator: Coordinator;
  readonly #stage: Stage;
  readonly #names: string[] = [];
  readonly #queues: string[] = [];
  #part: NewTask[] = [];
  #bytes = 0;
  #dueAt: EpochMs = Number.POSITIVE_INFINITY;

  /** @throws {QueueFullError} {@link StoppedError} {@link StoreFencedError} */
  constructor(coordinator: Coordinator) {
    coordinator.checkOpen();
    // What was enqueued before in the same turn stands before it.
    coordinator.gather.flush();
    this.#coordinator = coordinator;
    this.#stage = coordinator.broker.stage();
  }

  /** One call at a time. A promise only where the next task has to wait. */
  add(task: NewTask): Promise<void> | undefined {
    this.#names.push(task.name);
    this.#queues.push(task.queue);
    if (task.runAt !== undefined && task.runAt < this.#dueAt) this.#dueAt = task.runAt;
    this.#bytes += task.body.length;
    const isFull = this.#part.push(task) >= PART_TASKS || this.#bytes >= PART_BYTES;
    return isFull ? this.#flush() : undefined;
  }

  /** Tasks that a client has encoded. */
  async addEncoded(tasks: readonly EncodedTask[]): Promise<void> {
    for (const encoded of tasks) {
      const prepared = this.#coordinator.front.fromClient(encoded);
      const full = this.add(prepared instanceof Promise ? await prepared : prepared);
      if (full !== undefined) await full;
    }
  }

  /** Resolves when all of it is accepted. `abandon` it when it is not. */
  async accept(): Promise<readonly Ticket[]> {
    await this.#flush();
    this.#coordinator.checkOpen();
    const accepted = await this.#stage.accept();
    const { promoter, idle } = this.#coordinator;
    if (Number.isFinite(this.#dueAt)) promoter.due(this.#dueAt);
    idle.look();
    const tickets: Ticket[] = [];
    for (let at = 0; at < accepted.length; at++) {
      if (at % PER_TURN === PER_TURN - 1) await new Promise(setImmediate);
      tickets.push(accepted.ticket(at));
    }
    await this.#tell(tickets);
    return tickets;
  }

  /** Resolves when nothing of it is left; does nothing once it is accepted. */
  async abandon(): Promise<void> {
    this.#part = [];
    await this.#stage.abandon();
    this.#coordinator.idle.look();
  }

  async #flush(): Promise<void> {
    const part = this.#part;
    this.#part = [];
    this.#bytes = 0;
    const { gather } = this.#coordinator;
    try {
      for (const [at, task] of part.entries()) if (gather.isLarge(task)) part[at] = await gather.apart(task);
      this.#coordinator.checkOpen();
      this.#coordinator.pressure.checkStaged(part);
      await this.#stage.add(part);
    } catch (error) {
      gather.drop(part);
      throw error;
    }
    await new Promise(setImmediate);
  }

  async #tell(tickets: readonly Ticket[]): Promise<void> {
    const { events, clock } = this.#coordinator;
    for (let of = 0; of < tickets.length && events.wants('enqueued'); of++) {
      if (of % PER_TURN === PER_TURN - 1) await new Promise(setImmediate);
      const [taskId, name, queue] = [tickets[of]!.id, this.#names[of]!, this.#queues[of]!];
      events.tell({ kind: 'enqueued', taskId, name, queue, at: clock.now() });
    }
  }
}
