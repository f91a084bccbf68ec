/**
 * The calls by which a runtime and a client look at what is there and change it: tasks by id or filter,
 * queues, threads, events. They know nothing of the module's types.
 */
import type { Counts, TaskFilter } from './broker/inspect.js';
import { describeTask, type TaskInfo } from './run/describe.js';
import type { Desk } from './run/desk.js';
import type { EventFilter, RuntimeEvent } from './run/events.js';
import type { PageRequest } from './run/filters.js';
import type { Codec } from './task/codec.js';
import type { TaskId } from './task/task.js';

/** Some of the tasks that a list has. */
export interface TaskPage {
  readonly tasks: readonly TaskInfo[];
  /** Absent at the end. */
  readonly after?: string;
}

/** The calls of a runtime and a client that need no types of the tasks module. */
export class Control {
  readonly #desk: Desk;
  readonly #codecs: ReadonlyMap<string, Codec>;

  constructor(desk: Desk, codecs: ReadonlyMap<string, Codec>) {
    this.#desk = desk;
    this.#codecs = codecs;
  }

  /** Everything known of a task; `undefined` when it never existed or is no longer kept. */
  async get(id: TaskId): Promise<TaskInfo | undefined> {
    const view = await this.#desk.get(id);
    return view === undefined ? undefined : describeTask(view, this.#codecs);
  }

  /** At most `limit` (1 to 1,000, default 100) tasks; give `after` back for the next page. */
  async list(filter: TaskFilter = {}, page: PageRequest = {}): Promise<TaskPage> {
    const { tasks: views, after } = await this.#desk.list(filter, page);
    const tasks = views.map((view) => describeTask(view, this.#codecs));
    return after === undefined ? { tasks } : { tasks, after };
  }

  /** How many tasks of each queue are in each state. Costs little: the counters are kept with the tasks. */
  counts(): Promise<Counts> {
    return this.#desk.counts();
  }

  /** Cancels one task or all that a filter names, in whatever state. @returns how many were not final yet. */
  cancel(what: TaskId | TaskFilter): Promise<number> {
    return this.#desk.cancel(what);
  }

  /**
   * Sends a dead or cancelled task, or all dead ones that a filter names, round again with fresh counts.
   * @returns how many. @throws {WrongStateError} {@link UnknownTaskError} for a single one.
   */
  redrive(what: TaskId | TaskFilter): Promise<number> {
    return this.#desk.redrive(what);
  }

  /** Removes a final task, or all dead ones that a filter names, and their results. @returns how many. */
  delete(what: TaskId | TaskFilter): Promise<number> {
    return this.#desk.delete(what);
  }

  /** No task of this queue starts until `resume`, also after a restart. Running ones go on. */
  pause(queue: string): Promise<void> {
    return this.#desk.setPaused(queue, true);
  }

  resume(queue: string): Promise<void> {
    return this.#desk.setPaused(queue, false);
  }

  /** Changes the number of the owner's threads; running tasks are not disturbed. */
  resize(threads: number): Promise<void> {
    return this.#desk.resize(threads);
  }

  /** What happens from now on, as an async iterator that drops the oldest when its reader is too slow. */
  events(filter: EventFilter = {}): AsyncIterableIterator<RuntimeEvent> {
    return this.#desk.events(filter);
  }

  /** Resolves when nothing is ready, running, blocked or waiting for a retry, and all results are flushed. */
  whenIdle(): Promise<void> {
    return this.#desk.whenIdle();
  }
}
