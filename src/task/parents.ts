/**
 * The parents of a task: as its handler reads them, as host and worker tell each other, and what becomes of
 * it when they die. Types.
 */
import type { StoredError } from './stored-error.js';
import type { FinalState, TaskId, TaskState } from './task.js';

/**
 * What becomes of a task one of whose parents died or was cancelled: it is dead too (reason `parent-dead`),
 * it runs and is told, or it waits until the parent has been redriven and has completed.
 */
export type WhenParentDies = 'fail' | 'run' | 'wait';
export const WHEN_PARENT_DIES = ['fail', 'run', 'wait'] as const satisfies readonly WhenParentDies[];

/** What `context.parents` takes beside a label. */
export interface ParentsOptions {
  /** Yields a {@link ParentOutcome} for each parent, and throws nothing at one that died. */
  readonly outcomes?: boolean;
}

/** How a parent ended; plain data, as far as its result is. `error` is that of the last attempt. */
export type ParentOutcome<Result = unknown> =
  | { readonly id: TaskId; readonly state: 'completed'; readonly result: Result }
  | {
      readonly id: TaskId;
      readonly state: 'dead';
      readonly reason: string;
      readonly error: StoredError | undefined;
    }
  | { readonly id: TaskId; readonly state: 'cancelled'; readonly reason: string }
  /** It was enqueued without a flow and is no longer kept, or it has been redriven meanwhile. */
  | { readonly id: TaskId; readonly state: 'expired' | Exclude<TaskState, FinalState> };

/** What a worker asks its host for: the next of the parents under a label. */
export interface ParentsRequest {
  readonly label: string;
  /** From the page before. */
  readonly after?: string;
}

/** Some of the parents under a label, in order. */
export interface ParentsPage {
  readonly parents: readonly ParentView[];
  /** Give it as `after` for the next page; absent at the end. */
  readonly after?: string;
}

/** One parent as its child sees it. */
export interface ParentView {
  readonly id: TaskId;
  /** Not final when it was redriven meanwhile; `expired` when it is no member and was pruned or deleted. */
  readonly state: TaskState | 'expired';
  /** Encoded result of a completed one: the bytes, or a reference to them (`blob-ref.ts`). */
  readonly result?: Uint8Array;
  readonly reason?: string;
  /** Of the last attempt of a dead one. */
  readonly error?: StoredError;
}

/** The parents under one label, fetched while they are read. */
export interface ParentResults<Value> extends AsyncIterable<Value> {
  /** The first of them. @throws (rejects) {@link InvalidArgumentError} when there is none. */
  first(): Promise<Value>;
}
