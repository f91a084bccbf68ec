/** How callers put tasks in: one, a batch, or one whose result they wait for. */
import { type Broker, type Enqueued, MAX_BATCH_TASKS, type Settled, type Ticket } from '../broker/broker.js';
import type { EnqueueOptions, RunOptions } from '../options/types.js';
import { validateRunOptions } from '../options.js';
import type { NewTask, TaskId } from '../task/task.js';
import type { Coordinator } from './coordinator.js';
import type { DeskItem } from './desk.js';
import { checkBatch, checkItem, checkLargeBatch } from './filters.js';
import type { EncodedTask } from './front.js';
import { StagedBatch } from './staged-batch.js';
import { within } from './within.js';

export class Intake {
  readonly #broker: Broker;
  readonly #coordinator: Coordinator;
  readonly #cancel: (id: TaskId) => Promise<unknown>;

  constructor(broker: Broker, coordinator: Coordinator, cancel: (id: TaskId) => Promise<unknown>) {
    this.#broker = broker;
    this.#coordinator = coordinator;
    this.#cancel = cancel;
  }

  async enqueue(name: string, payload: unknown, options: EnqueueOptions | undefined): Promise<Ticket> {
    // Before anything is moved out of the caller's hands.
    this.#coordinator.checkOpen();
    const prepared = this.#coordinator.front.prepare(name, payload, options);
    const task = prepared instanceof Promise ? await prepared : prepared;
    this.#admit(task);
    const ticket = await this.#coordinator.gather.enqueue(task);
    this.#tell([ticket], [task]);
    return ticket;
  }

  /** A task that a client has encoded. @param signal  Ends its wait for room. */
  async accept(encoded: EncodedTask, signal?: AbortSignal): Promise<Ticket> {
    const prepared = this.#coordinator.front.fromClient(encoded);
    const sent = prepared instanceof Promise ? await prepared : prepared;
    const task = signal === undefined ? sent : { ...sent, signal };
    this.#admit(task);
    const ticket = await this.#coordinator.gather.enqueue(task);
    this.#tell([ticket], [task]);
    return ticket;
  }

  /** Tasks that a client has encoded. @param signal  Ends their wait for room. */
  async acceptBatch(batch: readonly EncodedTask[], signal?: AbortSignal): Promise<readonly Ticket[]> {
    return this.#enqueueAll(batch, (encoded) => this.#coordinator.front.fromClient(encoded), signal);
  }

  async enqueueBatch(batch: readonly DeskItem[]): Promise<readonly Ticket[]> {
    checkBatch(batch);
    if (batch.length > MAX_BATCH_TASKS) return this.#enqueueLarge(batch);
    return this.#enqueueAll(batch, (item, at) => {
      checkItem(item, at);
      const { name, payload, options } = item;
      return this.#coordinator.front.prepare(name, payload, options);
    });
  }

  /** Bit by bit, and all or nothing. */
  async #enqueueLarge(batch: readonly DeskItem[]): Promise<readonly Ticket[]> {
    checkLargeBatch(batch);
    const staged = this.stage();
    try {
      for (let at = 0; at < batch.length; at++) {
        checkItem(batch[at], at);
        const { name, payload, options } = batch[at]!;
        const prepared = this.#coordinator.front.prepare(name, payload, options);
        const task = prepared instanceof Promise ? await prepared : prepared;
        task.signal?.throwIfAborted();
        const full = staged.add(task);
        if (full !== undefined) await full;
      }
      return await staged.accept();
    } catch (error) {
      // What cannot be taken away now is hidden, and taken away by the next owner.
      await staged.abandon().catch(() => {});
      throw error;
    }
  }

  /** A batch of any size that a client sends in parts. @throws as {@link StagedBatch} */
  stage(): StagedBatch {
    return new StagedBatch(this.#coordinator);
  }

  async #enqueueAll<Item>(
    batch: readonly Item[],
    prepare: (item: Item, at: number) => NewTask | Promise<NewTask>,
    signal?: AbortSignal,
  ): Promise<readonly Ticket[]> {
    const { gather } = this.#coordinator;
    const tasks: NewTask[] = [];
    try {
      for (const [at, item] of batch.entries()) {
        const prepared = prepare(item, at);
        tasks.push(prepared instanceof Promise ? await prepared : prepared);
      }
      if (tasks.length === 0) return [];
      if (signal !== undefined) tasks[0] = { ...tasks[0]!, signal };
      this.#coordinator.checkOpen();
      for (const [at, task] of tasks.entries())
        if (gather.isLarge(task)) tasks[at] = await gather.written(task);
      const place = (): Enqueued => {
        this.#coordinator.checkOpen();
        gather.flush();
        for (const task of tasks) {
          task.signal?.throwIfAborted();
          this.#due(task);
        }
        return this.#broker.enqueue(tasks);
      };
      gather.flush();
      const { tickets, accepted } = await this.#coordinator.pressure.batch(tasks, place);
      await accepted;
      this.#tell(tickets, tasks);
      return tickets;
    } catch (error) {
      gather.drop(tasks);
      throw error;
    }
  }

  /**
   * Resolves with what `take` makes of the settled task. Rejects with the abort's reason, and cancels the
   * task, when `signal` aborts.
   */
  run<Value>(
    name: string,
    payload: unknown,
    options: RunOptions | undefined,
    take: (settled: Settled) => Value,
  ): Promise<Value> {
    if (options !== undefined) return this.#runWith(name, payload, options, take);
    try {
      const prepared = this.#coordinator.front.prepare(name, payload, undefined);
      this.#coordinator.checkOpen();
      return prepared instanceof Promise
        ? prepared.then((task) => this.#await(task, take))
        : this.#await(prepared, take);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #runWith<Value>(
    name: string,
    payload: unknown,
    options: RunOptions,
    take: (settled: Settled) => Value,
  ): Promise<Value> {
    const { front, gather } = this.#coordinator;
    const { signal, waitMs, ...own } = validateRunOptions(options, 'options');
    signal?.throwIfAborted();
    const prepared = await front.prepare(name, payload, own);
    const task = signal === undefined ? prepared : { ...prepared, signal };
    signal?.throwIfAborted();
    this.#coordinator.checkOpen();
    this.#due(task);
    let id: TaskId | undefined;
    const cancel = (): void => {
      gather.flush();
      if (id !== undefined) this.#cancel(id).catch(() => {});
    };
    const settled = this.#await(task, take, (ticket) => {
      id = ticket.id;
      if (signal?.aborted) cancel();
    });
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      return await within(settled, `Task ${name}`, waitMs, signal);
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  /** When somebody listens, the acceptance is told before the end is. */
  async #tellAndAwait<Value>(
    task: NewTask,
    take: (settled: Settled) => Value,
    placed?: (ticket: Ticket) => void,
  ): Promise<Value> {
    const ticket = await this.#coordinator.gather.enqueue(task);
    placed?.(ticket);
    this.#tell([ticket], [task]);
    return take(await ticket.settled());
  }

  #await<Value>(
    task: NewTask,
    take: (settled: Settled) => Value,
    placed?: (ticket: Ticket) => void,
  ): Promise<Value> {
    const { events, gather } = this.#coordinator;
    return events.wants('enqueued') ? this.#tellAndAwait(task, take, placed) : gather.run(task, take, placed);
  }

  #admit(task: NewTask): void {
    this.#coordinator.checkOpen();
    task.signal?.throwIfAborted();
    this.#due(task);
  }

  #due({ runAt }: NewTask): void {
    if (runAt !== undefined) this.#coordinator.promoter.due(runAt);
  }

  #tell(tickets: readonly Ticket[], tasks: readonly NewTask[]): void {
    this.#coordinator.telling.enqueued(tickets, tasks);
  }
}
