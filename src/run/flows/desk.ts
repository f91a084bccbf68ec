/**
 * What can be asked of whoever owns the tasks about flows: the part of a desk that is about them, see
 * `desk.ts`. Arguments come from callers unchecked, but for plans, which the builder has made.
 */
import type { FlowId, FlowPage, FlowView, SettledFlow } from '../../broker/flows.js';
import type { Page } from '../../broker/inspect.js';
import type { FlowOptions, FlowPlan } from '../../flow/types.js';
import type { TaskId } from '../../task/task.js';
import type { PageRequest } from '../filters.js';

/** A member as its caller holds it; `isNew` is false when a unique key led to another task. */
export interface Member {
  readonly id: TaskId;
  readonly isNew: boolean;
}

export interface FlowReceipt {
  readonly id: FlowId;
  /** What the builder function returned. */
  readonly returned: ReadonlyMap<string, Member | readonly Member[]>;
}

/** Each call throws as the method of `Runtime.flows` that has its name. */
export interface FlowDesk {
  enqueue(plan: FlowPlan, options: FlowOptions): Promise<FlowReceipt>;
  get(id: FlowId): Promise<FlowView | undefined>;
  list(page: PageRequest): Promise<FlowPage>;
  /** Without payload and result where the task is sensitive. */
  tasks(id: FlowId, page: PageRequest): Promise<Page>;
  /** As `Flows.settled`. */
  settled(id: FlowId): Promise<SettledFlow>;
  /** @returns false when it had ended before. */
  cancel(id: FlowId): Promise<boolean>;
  redrive(id: FlowId): Promise<void>;
  delete(id: FlowId): Promise<void>;
}
