/**
 * What can be asked of whoever owns the tasks. This process may own them itself (`local-desk.ts`), or ask the
 * owner over its socket (`src/remote`); runtime and client offer the same calls on top of it. Values that
 * were stored go through encoded, as they are: who asked decodes them.
 */
import type { Settled } from '../broker/broker.js';
import type { Counts, Page, TaskFilter } from '../broker/inspect.js';
import type { EnqueueOptions, RunOptions } from '../options/types.js';
import type { AnyLimitRule, LimitScope } from '../task/limit-rule.js';
import type { TaskId, TaskState, TaskView } from '../task/task.js';
import type { EventFilter, RuntimeEvent } from './events.js';
import type { PageRequest } from './filters.js';
import type { FlowDesk } from './flows/desk.js';
import type { LimitInForce } from './limiting.js';
import type { Receipt } from './receipt.js';
import type { ScheduleDesk } from './schedules/desk.js';

/** One task of a batch. */
export interface DeskItem {
  readonly name: string;
  readonly payload: unknown;
  readonly options?: EnqueueOptions;
}

/** Arguments come from callers unchecked; each call throws as the method of `Runtime` that has its name. */
export interface Desk {
  readonly flows: FlowDesk;
  enqueue(name: string, payload: unknown, options: EnqueueOptions | undefined): Promise<Receipt>;
  enqueueBatch(batch: readonly DeskItem[]): Promise<readonly Receipt[]>;
  /** @param take  What to make of the settled task. */
  run<Value>(
    name: string,
    payload: unknown,
    options: RunOptions | undefined,
    take: (settled: Settled) => Value,
  ): Promise<Value>;
  /** As `Broker.settled`. */
  settled(id: TaskId): Promise<Settled>;
  state(id: TaskId): Promise<TaskState>;
  /** Without payload and result where the task is sensitive. */
  get(id: TaskId): Promise<TaskView | undefined>;
  list(filter: TaskFilter, page: PageRequest): Promise<Page>;
  counts(): Promise<Counts>;
  cancel(what: TaskId | TaskFilter): Promise<number>;
  redrive(what: TaskId | TaskFilter): Promise<number>;
  delete(what: TaskId | TaskFilter): Promise<number>;
  setPaused(queue: string, isPaused: boolean): Promise<void>;
  setLimit(scope: LimitScope, rule: AnyLimitRule): Promise<void>;
  removeLimit(scope: LimitScope): Promise<boolean>;
  listLimits(): Promise<readonly LimitInForce[]>;
  /** Changes the number of threads of the owner. */
  resize(threads: number): Promise<void>;
  /** Listening begins with the call. */
  events(filter: EventFilter): AsyncIterableIterator<RuntimeEvent>;
  whenIdle(): Promise<void>;
  readonly schedules: ScheduleDesk;
}
