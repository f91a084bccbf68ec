/** The desk of the process that owns the tasks: each question goes to the role that answers it. */
import type { Settled, Ticket } from '../broker/broker.js';
import type { Counts, Page, TaskFilter } from '../broker/inspect.js';
import type { EnqueueOptions, RunOptions } from '../options/types.js';
import type { AnyLimitRule, LimitScope } from '../task/limit-rule.js';
import type { TaskId, TaskState, TaskView } from '../task/task.js';
import { Administration } from './administration.js';
import type { Desk, DeskItem } from './desk.js';
import type { DeskParts } from './desk-parts.js';
import type { EventFilter, RuntimeEvent } from './events.js';
import { checkEventFilter, type PageRequest } from './filters.js';
import { LocalFlows } from './flows/local-flows.js';
import type { EncodedTask } from './front.js';
import { Intake } from './intake.js';
import type { LimitInForce } from './limiting.js';
import { Pauses } from './pauses.js';
import { LocalSchedules } from './schedules/schedules.js';
import type { StagedBatch } from './staged-batch.js';

export class LocalDesk implements Desk {
  readonly schedules: LocalSchedules;
  readonly flows: LocalFlows;
  readonly #parts: DeskParts;
  readonly #administration: Administration;
  readonly #intake: Intake;
  readonly #pauses: Pauses;

  constructor(parts: DeskParts) {
    const { backend, coordinator, options } = parts;
    this.#parts = parts;
    this.#administration = new Administration(parts);
    this.#intake = new Intake(backend.broker, coordinator, (id) => this.cancel(id));
    const { concealed } = this.#administration;
    this.flows = new LocalFlows({ backend, coordinator, concealed });
    this.#pauses = new Pauses(backend.keyValue, coordinator, options);
    this.schedules = new LocalSchedules(parts);
    coordinator.scheduler.cancel = (id) => this.cancel(id);
  }

  /** Reads what earlier owners have left paused, and what they have set and used of limits. */
  async load(): Promise<void> {
    await this.#pauses.load();
    await this.#parts.coordinator.limiting.load();
  }

  enqueue(name: string, payload: unknown, options: EnqueueOptions | undefined): Promise<Ticket> {
    return this.#intake.enqueue(name, payload, options);
  }

  enqueueBatch(batch: readonly DeskItem[]): Promise<readonly Ticket[]> {
    return this.#intake.enqueueBatch(batch);
  }

  /** For {@link LocalDesk.accept}. @throws as `enqueue` */
  encode(name: string, payload: unknown, options: EnqueueOptions | undefined): EncodedTask {
    return this.#parts.coordinator.front.encode(name, payload, options);
  }

  /** A task that a client has encoded. @throws (rejects) as `enqueue` */
  accept(task: EncodedTask, signal?: AbortSignal): Promise<Ticket> {
    return this.#intake.accept(task, signal);
  }

  /** Tasks that a client has encoded, all or none of them. @throws (rejects) as `enqueueBatch` */
  acceptBatch(tasks: readonly EncodedTask[], signal?: AbortSignal): Promise<readonly Ticket[]> {
    return this.#intake.acceptBatch(tasks, signal);
  }

  /** A batch that a client sends in parts, of any size. @throws as `enqueueBatch` */
  stage(): StagedBatch {
    return this.#intake.stage();
  }

  run<Value>(
    name: string,
    payload: unknown,
    options: RunOptions | undefined,
    take: (settled: Settled) => Value,
  ): Promise<Value> {
    return this.#intake.run(name, payload, options, take);
  }

  async settled(id: TaskId): Promise<Settled> {
    const { backend, coordinator } = this.#parts;
    coordinator.checkReachable();
    coordinator.gather.flush();
    return backend.broker.settled(id);
  }

  state(id: TaskId): Promise<TaskState> {
    return this.#administration.stateOf(id);
  }

  get(id: TaskId): Promise<TaskView | undefined> {
    return this.#administration.get(id);
  }

  list(filter: TaskFilter, page: PageRequest): Promise<Page> {
    return this.#administration.list(filter, page);
  }

  async counts(): Promise<Counts> {
    return this.#administration.counts();
  }

  cancel(what: TaskId | TaskFilter): Promise<number> {
    return this.#administration.cancel(what);
  }

  redrive(what: TaskId | TaskFilter): Promise<number> {
    return this.#administration.redrive(what);
  }

  delete(what: TaskId | TaskFilter): Promise<number> {
    return this.#administration.delete(what);
  }

  setPaused(queue: string, isPaused: boolean): Promise<void> {
    return this.#pauses.set(queue, isPaused);
  }

  async setLimit(scope: LimitScope, rule: AnyLimitRule): Promise<void> {
    this.#parts.coordinator.checkReachable();
    return this.#parts.coordinator.limiting.set(scope, rule);
  }

  async removeLimit(scope: LimitScope): Promise<boolean> {
    this.#parts.coordinator.checkReachable();
    return this.#parts.coordinator.limiting.remove(scope);
  }

  async listLimits(): Promise<readonly LimitInForce[]> {
    this.#parts.coordinator.checkReachable();
    return this.#parts.coordinator.limiting.list();
  }

  async resize(threads: number): Promise<void> {
    const { coordinator, pool } = this.#parts;
    coordinator.checkOpen();
    await pool.resize(threads);
    coordinator.ready();
  }

  events(filter: EventFilter): AsyncIterableIterator<RuntimeEvent> {
    const { coordinator, options } = this.#parts;
    return coordinator.events.listen(checkEventFilter(filter), () => options.clock.now());
  }

  whenIdle(): Promise<void> {
    return this.#parts.coordinator.whenIdle();
  }
}
