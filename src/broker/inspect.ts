/**
 * The port that lists and counts. Optional: an engine that cannot says why in `lacks.inspect`. Counts are
 * kept in the same commit as what they count, so they cost nothing to read; lists come in pages with a
 * cursor.
 */
import type { TaskId, TaskState, TaskView } from '../task/task.js';

/**
 * How many tasks of a queue are in each state. `retrying` are also `scheduled`, `unhandled` are also `ready`.
 */
export interface QueueCounts {
  readonly scheduled: number;
  readonly retrying: number;
  readonly ready: number;
  readonly unhandled: number;
  readonly blocked: number;
  readonly running: number;
  readonly completed: number;
  readonly dead: number;
  readonly cancelled: number;
}
/** By queue name: the queues that tasks have been in. */
export type Counts = ReadonlyMap<string, QueueCounts>;

/** Which tasks are meant: those to which all that is given applies; without anything, all of them. */
export interface TaskFilter {
  readonly state?: TaskState;
  readonly queue?: string;
  readonly name?: string;
}

export interface Page {
  readonly tasks: readonly TaskView[];
  /**
   * Give it as `after` for the next page; absent at the end. A page may be short, even empty, before the end.
   */
  readonly after?: string;
}

/** `brief` views come without `body` and `result`, so that these are not read for nothing. */
export type Depth = 'whole' | 'brief';

export interface Inspect {
  /** `undefined` when unknown or pruned. */
  get(id: TaskId, depth?: Depth): Promise<TaskView | undefined>;
  /** At most `limit` tasks (1 to 1,000), and a bounded number of rows looked at. */
  list(filter: TaskFilter, limit: number, after?: string, depth?: Depth): Promise<Page>;
  counts(): Counts;
}
